"""numpy views of native memory that keep the memory alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamacpp_core.native import ffi

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.lowlevel._owned import NativeHandle

__all__ = ["NativeFloats"]


class NativeFloats:
    """Tells numpy where float32 values lie; the array that numpy makes keeps this object."""

    __slots__ = ("__array_interface__", "__weakref__", "_keeps")

    def __init__(self, pointer: Any, shape: tuple[int, ...], keeps: NativeHandle) -> None:
        self._keeps = keeps
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f4" if _LITTLE_ENDIAN else ">f4",
            "data": (int(ffi.cast("uintptr_t", pointer)), True),  # True: read-only
        }

    def array(self) -> NDArray[np.float32]:
        """The view."""
        import numpy as np

        return np.asarray(self)


_LITTLE_ENDIAN = bytes(ffi.buffer(ffi.new("int16_t *", 1)))[0] == 1
