"""The consumer's end of a request that runs in Python: the same methods as of one that the engine runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from functools import cache
from typing import TYPE_CHECKING

from llamacpp_core.engine.events import Event
from llamacpp_core.errors import EngineError, RequestCancelledError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["CustomRequest", "python_executor"]


class CustomRequest:
    """A request whose events are computed when somebody asks for the next one.

    Args:
        events: Computes the events; closing it gives its context back.
        cancelled: Set to make it give up.
    """

    def __init__(self, events: Generator[Event, None, None], cancelled: threading.Event) -> None:
        self._events = events
        self._cancelled = cancelled
        self._running = threading.Lock()
        self._ended = False

    def __del__(self) -> None:
        if not getattr(self, "_ended", True):
            self.cancel()

    def next(self) -> Event:
        """Computes the next event on this thread.

        Raises:
            LlamaCppError: The request failed, was cancelled, or the model was closed.
        """
        if self._running.locked():
            raise EngineError("this request already has a consumer that waits for its next result")
        try:
            with self._running:  # taken and given back by steps of C: Ctrl-C cannot leave it taken
                if self._cancelled.is_set():
                    raise RequestCancelledError("the request was cancelled")
                return next(self._events)
        except StopIteration:
            self._ended = True
            raise EngineError("this request has ended and has no further results") from None
        except BaseException:
            self._ended = True
            raise
        finally:
            self._close_if_cancelled()

    async def anext(self) -> Event:
        """Computes the next event on another thread; cancelling the coroutine cancels the request.

        Raises:
            LlamaCppError: The request failed, was cancelled, or the model was closed.
        """
        from asyncio import get_running_loop

        try:
            return await get_running_loop().run_in_executor(python_executor(), self.next)
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Gives the context back, at the latest after the token that is being computed."""
        if not self._ended:
            self._cancelled.set()
            self._close_if_cancelled()

    def _close_if_cancelled(self) -> None:
        if self._cancelled.is_set() and not self._running.locked():
            with self._running:
                self._ended = True
                self._events.close()


@cache
def python_executor() -> ThreadPoolExecutor:
    """Threads for coroutines that wait for Python code and low-level contexts."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(32, "llamacpp-python")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=python_executor.cache_clear)  # its threads stay in the parent
