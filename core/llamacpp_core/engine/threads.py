"""Threads whose start is an error where there is no memory for their first steps.

``threading.Thread.start`` of CPython waits for a sign of the new thread, also where that has ended before it
could give one. These look from time to time whether it is still there.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Thread", "Timer"]

#: Seconds between two looks.
_LOOK = 0.05


class _First:
    """What a new thread calls: over when the thread has ended, or garbage if it could not even be called."""

    __slots__ = ("__weakref__", "_run", "over")

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self.over = False

    def __call__(self) -> None:
        try:
            self._run()
        finally:
            self.over = True


class _Started(threading.Event):
    """Set by the new thread."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Callable[[], _First | None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_LOOK):
            first = self.first()
            if (first is None or first.over) and not self.is_set():
                raise MemoryError("a thread could not be started: there is not enough memory")
        return True


class _Watched(threading.Thread):
    # The names are CPython's, from 3.11 to 3.14; with others a thread starts as usual.
    _started: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if hasattr(self, "_started"):
            self._started = _Started()

    def start(self) -> None:
        try:
            super().start()
        except MemoryError:
            getattr(threading, "_limbo", {}).pop(self, None)  # it is no thread that starts
            raise

    @property
    def _bootstrap(self) -> Callable[[], None]:
        first = _First(super()._bootstrap)  # type: ignore[misc]
        self._started.first = weakref.ref(first)
        return first


class Thread(_Watched):
    """A thread as of :mod:`threading`; :meth:`start` raises :class:`MemoryError`."""


class Timer(_Watched, threading.Timer):
    """A timer as of :mod:`threading`; :meth:`start` raises :class:`MemoryError`."""
