"""Calls with a time limit, for coroutines and for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from llamacpp_core._checks import number
from llamacpp_core.errors import EngineError

__all__ = [
    "GenerationTimeoutError",
    "anext_timed",
    "atimed",
    "read_timeout",
    "run_in_loop",
    "timed",
    "timed_stream",
]

T = TypeVar("T")

_SECONDS = number(0, above=True)


class GenerationTimeoutError(EngineError, TimeoutError):
    """The answer was not complete within ``timeout``; the request was cancelled."""


def read_timeout(value: Any) -> float | None:
    """Seconds that a call may take; None: no limit.

    Raises:
        InvalidParameterError: It is not a number above 0.
    """
    return None if value is None else float(_SECONDS("timeout", value))


def run_in_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to completion for a synchronous caller.

    The loop lives on this thread, or, where a loop is running here already, as in a notebook, on one thread
    of its own. The thread's current event loop is left as it was.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "llamacpp-batch") as pool:
        return pool.submit(copy_context().run, _run, work).result()


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work())
    finally:
        try:
            if left := asyncio.all_tasks(loop):  # Ctrl-C came in between: free their slots
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


@asynccontextmanager
async def atimed(seconds: float | None) -> AsyncIterator[None]:
    """Cancels what happens inside the block after that time; None: no limit.

    Raises:
        GenerationTimeoutError: The time was over.
    """
    if seconds is None:
        yield
        return
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            yield
    except TimeoutError:
        raise GenerationTimeoutError(
            "the answer was not complete within `timeout`, so the request was cancelled: raise timeout or "
            "lower max_tokens"
        ) from None


async def anext_timed(source: AsyncIterator[T], deadline: float | None) -> T | None:
    """The next item, or None at the end.

    Args:
        source: Where it comes from.
        deadline: The event loop's time at which to give up; None: never.
    """
    async with atimed(None if deadline is None else deadline - asyncio.get_running_loop().time()):
        return await anext(source, None)


def timed(work: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
    """Runs a coroutine for a synchronous caller, with a time limit."""

    async def run() -> T:
        async with atimed(seconds):
            return await work()

    return run_in_loop(run)


def timed_stream(work: Callable[[], Coroutine[Any, Any, AsyncIterator[T]]], seconds: float) -> Iterator[T]:
    """Iterates over an async iterator for a synchronous caller, with a time limit for the whole stream."""
    from concurrent.futures import ThreadPoolExecutor

    # The loop runs on a thread of its own: the caller may be inside another one.
    with ThreadPoolExecutor(1, "llamacpp-stream") as pool:
        loop = asyncio.new_event_loop()
        deadline = loop.time() + seconds

        async def start() -> AsyncIterator[T]:
            async with atimed(deadline - loop.time()):
                return await work()

        async def step(source: Any) -> Any:
            async with atimed(deadline - loop.time()):
                return await anext(source, _END)

        try:
            source: Any = pool.submit(loop.run_until_complete, start()).result()
            try:
                while (item := pool.submit(loop.run_until_complete, step(source)).result()) is not _END:
                    yield item
            finally:
                pool.submit(loop.run_until_complete, source.aclose()).result()
        finally:
            loop.close()


_END: Any = object()
