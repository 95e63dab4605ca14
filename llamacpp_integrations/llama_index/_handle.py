"""A share in a loaded model, carried by its configuration only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from llamacpp_core.errors import EngineClosedError

if TYPE_CHECKING:
    from llamacpp_core import Llama
    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.llama.lease import Lease

__all__ = ["ModelHandle"]


class ModelHandle:
    """A share in a loaded model.

    A pickle of it holds the name and the load options; the copy loads, or shares, the model on first use.
    Copies within this process are this same object.

    Args:
        model: What to load, as for :class:`~llamacpp_core.Llama`.
        options: Load options, and ``progress``.
        llama: A loaded model to use as it is; it stays its owner's to close.
    """

    def __init__(self, model: str, options: Mapping[str, Any], llama: Llama | None = None) -> None:
        self._model = model
        self._options = dict(options)
        self._given = llama
        self._lease: Lease | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def llama(self) -> Llama:
        """The loaded model.

        Raises:
            EngineClosedError: The object was closed.
        """
        if self._given is not None and not self._closed:
            return self._given
        lease = self._lease
        return lease.llama if lease is not None else self._load()

    @property
    def info(self) -> ModelInfo:
        """Facts about the model."""
        return self.llama.info

    @property
    def given(self) -> bool:
        """Whether the model was given as ``llama=``, loaded by somebody else."""
        return self._given is not None

    def _load(self) -> Llama:
        from llamacpp_core.llama.lease import lease

        with self._lock:
            if self._closed:
                raise EngineClosedError("this object was closed: make a new one")
            if self._lease is None:
                self._lease = lease(self._model, **self._options)
            return self._lease.llama

    def close(self) -> None:
        """Gives the share back; the model is freed with the last one."""
        with self._lock:
            self._closed = True
            if self._lease is not None:
                self._lease.release()
                self._lease = None

    def __getstate__(self) -> dict[str, Any]:
        if self._given is not None:
            from llamacpp_core import Llama

            if not isinstance(self._given, Llama):
                raise TypeError(
                    f"an object made with llama={self._given!r} cannot be pickled: give it model="
                )
        return {"model": self._model, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"], state["options"])  # type: ignore[misc]

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
