"""Blocking Python code for coroutines: on threads, so that the event loop goes on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

from llamacpp_core.engine.python_loop.in_flight import python_executor

__all__ = ["on_thread", "stream_on_thread"]

T = TypeVar("T")


async def on_thread(work: Callable[[], T]) -> T:
    """Runs a function on another thread and waits for its result."""
    from asyncio import get_running_loop

    return await get_running_loop().run_in_executor(python_executor(), work)


async def stream_on_thread(items: Iterator[Any]) -> AsyncGenerator[Any, None]:
    """Takes each item of an iterator on another thread; closes the iterator at the end."""
    end = object()
    try:
        while (item := await on_thread(lambda: next(items, end))) is not end:
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):  # it works on an item still: then it ends as garbage
                close()
