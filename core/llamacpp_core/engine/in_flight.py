"""One request in flight: events come in from the delivery thread, one consumer takes them out.

The consumer may be a thread or a coroutine, of any event loop, and may change between events.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llamacpp_core.engine.events import Event, NativeEvent
from llamacpp_core.errors import EngineError, ForkedProcessError, RequestCancelledError
from llamacpp_core.native.failures import error_from_report

if TYPE_CHECKING:
    import asyncio

__all__ = ["Request", "Running", "wake_all"]


class Running(Protocol):
    """A request in flight: :class:`Request`, or several with the same methods."""

    def next(self) -> Event:
        """Waits for the next event on this thread."""

    async def anext(self) -> Event:
        """Waits for the next event in this coroutine."""

    def cancel(self) -> None:
        """Ends the request; does nothing to one that has ended."""


class _Future(NamedTuple):
    """A coroutine that waits."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]


# Requests that coroutines wait for. An event loop holds its tasks weakly, and the engine its requests:
# without this, a task that nobody else keeps would be collected with the future it waits for.
_awaited: set[Request] = set()


def wake_all(waiters: Sequence[Any]) -> None:
    """Wakes waiting consumers; those of one event loop with a single call into it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if isinstance(waiter, _Future):
            by_loop.setdefault(waiter.loop, []).append(waiter.future)
        else:
            waiter.release()
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, futures)
        except RuntimeError:
            continue  # the loop was closed under its consumers: nobody waits any more


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Request:
    """The consumer's end of a request.

    Dropping the last reference cancels the request.

    Args:
        number: The request's number in the engine.
        cancel: Tells the engine to drop the request of that number. Being a method of the engine, it
            keeps the engine alive as long as somebody waits for its results.
    """

    _ended = True  # until __init__ is through

    def __init__(self, number: int, cancel: Callable[[int], None]) -> None:
        self.number = number
        self._pid = os.getpid()
        self._cancel = cancel
        self._lock = threading.Lock()
        self._events: deque[NativeEvent] = deque()
        self._waiter: Any = None
        self._error: BaseException | None = None
        self._ended = False

    def __del__(self) -> None:
        if not getattr(self, "_ended", True) and self._pid == os.getpid():
            self.cancel()

    def deliver(self, event: NativeEvent) -> Any:
        """Called by the delivery thread; returns the consumer to wake, if one waits."""
        with self._lock:
            if event.is_error:
                self._error = error_from_report(event.report)
            else:
                self._events.append(event)
            if event.is_last:
                self._ended = True
            return self._waiter_to_wake()

    def fail(self, error: BaseException) -> Any:
        """Ends the request with an error; returns the consumer to wake, if one waits."""
        with self._lock:
            if not self._ended:
                self._error = error
                self._ended = True
            return self._waiter_to_wake()

    def cancel(self) -> None:
        """Frees the request's slot within one token. Whoever waits gets :class:`RequestCancelledError`."""
        if self._pid != os.getpid():
            return  # the parent's request; its lock may have been held at the fork
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._error = RequestCancelledError("the request was cancelled")
            waiter = self._waiter_to_wake()
        self._cancel(self.number)
        if waiter is not None:
            wake_all([waiter])

    def _waiter_to_wake(self) -> Any:
        """The consumer that waits, if one does, taken out of its place. Call with the lock held."""
        waiter, self._waiter = self._waiter, None
        _awaited.discard(self)
        return waiter

    def _take(self, waiter: Any) -> NativeEvent | None:
        """The next event, or None after putting the waiter in place. Call with the lock held."""
        if self._events:
            return self._events.popleft()
        if self._pid != os.getpid():
            raise ForkedProcessError(
                "this request was made before a fork and its results go to the parent process"
            )
        if self._error is not None:
            raise self._error
        if self._ended:
            raise EngineError("this request has ended and has no further results")
        if self._waiter is not None:
            raise EngineError("this request already has a consumer that waits for its next result")
        self._waiter = waiter
        if isinstance(waiter, _Future):
            _awaited.add(self)
        return None

    def next(self) -> Event:
        """Waits for the next event on this thread.

        Raises:
            LlamaCppError: The request failed, was cancelled, or the engine was closed.
        """
        while True:
            signal = threading.Lock()
            signal.acquire()
            with self._lock:
                event = self._take(signal)
            if event is not None:
                return event.read()
            try:
                signal.acquire()
            except BaseException:
                self.cancel()  # Ctrl-C while waiting
                raise

    async def anext(self) -> Event:
        """Waits for the next event in this coroutine; cancelling it cancels the request.

        Raises:
            LlamaCppError: The request failed, was cancelled, or the engine was closed.
        """
        from asyncio import get_running_loop

        while True:
            loop = get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            with self._lock:
                event = self._take(_Future(loop, future))
            if event is not None:
                return event.read()
            try:
                await future
            except BaseException:
                self.cancel()
                raise
