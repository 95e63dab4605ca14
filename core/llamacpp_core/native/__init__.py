"""The one import point of the native extension.

Everything else takes ``ffi`` and ``lib`` from here, so that what the extension offers, and how its
failures become Python exceptions, is in one place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llamacpp_core.native.cpu_check import Refusal, refusal
from llamacpp_core.native.cpu_level import import_native

if TYPE_CHECKING:
    from llamacpp_core.native._native import ffi, lib
elif (_reason := refusal()) is None:
    _native = import_native()
    ffi, lib = _native.ffi, _native.lib
else:
    ffi = lib = Refusal(str(_reason))

__all__ = ["checked", "ffi", "lib", "text"]


def text(pointer: Any) -> str:
    """Returns a native UTF-8 string as ``str``; "" for a null pointer.

    What is not UTF-8 (llama.cpp passes on what a model file holds) becomes U+FFFD.
    """
    if pointer == ffi.NULL:
        return ""
    found: bytes = ffi.string(pointer)
    return found.decode("utf-8", errors="replace")


def checked(error: type[Exception], function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of llama.cpp's C API and raises ``error`` if it threw a C++ exception.

    The binding catches every C++ exception and keeps it per thread; without this check a failed call
    looks like one that returned zero.
    """
    lib.lc_take_error()
    result = function(*arguments)
    report = lib.lc_take_error()
    if report != ffi.NULL:
        raise error(f"llama.cpp: {json.loads(text(report))['message']}")
    return result
