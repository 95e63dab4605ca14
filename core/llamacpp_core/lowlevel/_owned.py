"""Ownership of native objects: who frees what, when, and what happens to the objects built on it.

A :class:`NativeHandle` owns one native pointer and keeps the handles that it needs alive; it frees the
pointer when nothing refers to it any more. A :class:`NativeObject` is what users hold: closing it lets
go of the handle and closes the objects built on it. The split lets a numpy view outlive the object that
it came from: the view keeps the handle.
"""

from __future__ import annotations

import operator
import threading
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np

from llamacpp_core.errors import EngineClosedError, EngineError
from llamacpp_core.native import ffi

__all__ = ["NativeHandle", "NativeObject", "because"]


# Taking a lock if it is free, and giving it back; the latter is a RuntimeError where the former took none.
_TRY_LOCK = (operator.methodcaller("acquire", False), operator.methodcaller("release"))


def _unseen(keeps: tuple[object, ...]) -> Any:
    """A box that the collector does not see into: in a cycle it would free a parent before its child."""
    box = np.empty(1, object)
    box[0] = keeps
    return box


class NativeHandle:
    """Frees a native pointer once nothing needs it.

    Args:
        pointer: The native object.
        free: A function of C, called with the pointer at the end; None for a borrowed pointer.
        keeps: What must outlive the pointer.
    """

    __slots__ = ("__weakref__", "_keeps", "pointer")

    def __init__(self, pointer: Any, free: Callable[[Any], object] | None, *keeps: object) -> None:
        self._keeps = _unseen(keeps)
        if free is not None:
            # Without a line of Python at the end, where Ctrl-C would leave the pointer alone and be ignored.
            # What must outlive the pointer hangs on the destructor too, for whoever holds the pointer alone.
            destructor = partial(free)
            vars(destructor)["keeps"] = self._keeps
            pointer = ffi.gc(pointer, destructor)
        self.pointer = pointer


class NativeObject:
    """A native object with an owner: close it, use it in a ``with`` block, or get a ResourceWarning."""

    def __init__(
        self, handle: NativeHandle, parent: NativeObject | None = None, *, borrowed: bool = False
    ) -> None:
        self._handle: NativeHandle | None = handle
        self._parent = parent
        self._borrowed = borrowed
        self._children: weakref.WeakSet[NativeObject] = weakref.WeakSet()
        self._lock = threading.RLock()
        if parent is not None:
            parent._children.add(self)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._handle is None

    def close(self) -> None:
        """Closes this object and everything built on it; safe to call again.

        Raises:
            EngineError: Another thread is using it at this moment, or the call that led here.
        """
        if self._handle is None:
            return
        with self._exclusive(alone=True):
            for child in list(self._children):
                child.close()
            self._handle = None

    def __enter__(self) -> Self:
        self._pointer  # noqa: B018  # raises when closed
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is None:
            return
        if not self._borrowed:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)
        self._handle = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<llamacpp_core.lowlevel.{type(self).__name__} {state} at {id(self):#x}>"

    @property
    def _pointer(self) -> Any:
        """The native pointer, checked: every use goes through here."""
        handle = self._handle
        if handle is None:
            raise EngineClosedError(f"this {type(self).__name__} is closed")
        return handle.pointer

    def _exclusive(self, *, alone: bool = False) -> Any:
        """The lock under which this object is used, for a ``with``: llama.cpp does not lock.

        A lock's own ``with`` is one step of C at each end, so that Ctrl-C cannot leave it taken.

        Args:
            alone: Refuse a use inside another use by this thread, in what native code calls back.

        Raises:
            EngineError: Another thread is using this object at this moment.
        """
        if alone and self._lock._is_owned():  # type: ignore[attr-defined]
            raise EngineError(
                f"this {type(self).__name__} is in use by the call that led here: do this after it"
            )
        try:
            list(map(operator.call, _TRY_LOCK, (self._lock, self._lock)))  # one step of C, too
        except RuntimeError:
            raise EngineError(
                f"another thread is using this {type(self).__name__}: "
                "share it under a lock, or use one per thread"
            ) from None
        return self._lock


def because(reasons: list[str]) -> str:
    """The end of an error message: what llama.cpp logged about a failure."""
    found = "; ".join(reason.strip() for reason in reasons if reason.strip())
    return f": {found}" if found else ""
