"""Runs many calls as coroutines of one event loop, so that all of them share the engine's batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from llamacpp_integrations._time_limits import run_in_loop

__all__ = ["SharedBatch", "gather"]

T = TypeVar("T")


async def gather(calls: Sequence[Callable[[], Coroutine[Any, Any, T]]], limit: int | None = None) -> list[T]:
    """Runs calls at once and returns their results, ``limit`` at a time; one failure cancels the others."""
    semaphore = asyncio.Semaphore(limit) if limit else None

    async def one(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if semaphore is None:
            return await call()
        async with semaphore:
            return await call()

    tasks = [asyncio.ensure_future(one(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class SharedBatch:
    """``batch`` and ``abatch`` without a thread per call; to be mixed into a Runnable, before it."""

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Runs all inputs at once in the engine's batch.

        Args:
            inputs: The inputs.
            config: One configuration, or one per input; ``max_concurrency`` limits how many run at once.
            return_exceptions: Put an exception in the place of its result instead of raising the first one.
            kwargs: Further arguments of every call.
        """
        return run_in_loop(lambda: self.abatch(inputs, config, return_exceptions=return_exceptions, **kwargs))

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """:meth:`batch` for coroutines. A failure that is raised cancels the other calls."""
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))

        def call(value: Any, its_config: RunnableConfig) -> Callable[[], Coroutine[Any, Any, Any]]:
            async def run() -> Any:
                try:
                    return await self.ainvoke(value, its_config, **kwargs)  # type: ignore[attr-defined]
                except Exception as error:
                    if return_exceptions:
                        return error
                    raise

            return run

        calls = [call(value, its_config) for value, its_config in zip(inputs, configs, strict=True)]
        return await gather(calls, configs[0].get("max_concurrency"))
