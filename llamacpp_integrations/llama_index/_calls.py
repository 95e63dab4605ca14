"""One request of the engine, made in the four ways in which the framework asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, TypeVar

from llamacpp_integrations._time_limits import anext_timed, atimed, timed, timed_stream

__all__ = ["Call"]

R = TypeVar("R")


class Call:
    """A request that is ready to be made.

    Args:
        method: What makes it.
        amethod: The same for coroutines.
        prompt: Messages or text.
        params: The arguments.
        timeout: Seconds that it may take; None for no limit.

    Attributes:
        params: The arguments.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        amethod: Callable[..., Any],
        prompt: Any,
        params: Mapping[str, Any],
        timeout: float | None,
    ) -> None:
        self._method, self._amethod, self._prompt = method, amethod, prompt
        self.params = params
        self._timeout = timeout

    def run(self) -> Any:
        """The whole answer.

        Raises:
            GenerationTimeoutError: The time was over.
        """
        if self._timeout is None:
            return self._method(self._prompt, **self.params)
        return timed(lambda: self._amethod(self._prompt, **self.params), self._timeout)

    async def arun(self) -> Any:
        """:meth:`run` for coroutines."""
        async with atimed(self._timeout):
            return await self._amethod(self._prompt, **self.params)

    def stream(self, add: Callable[[Any], R | None]) -> Generator[R, None, None]:
        """The answer in pieces; without a limit, the request begins at once.

        Args:
            add: What a chunk becomes; None for one that adds nothing.

        Raises:
            GenerationTimeoutError: The time was over.
        """
        chunks: Any
        if self._timeout is None:
            chunks = self._method(self._prompt, **self.params, stream=True)
        else:
            begin = lambda: self._amethod(self._prompt, **self.params, stream=True)  # noqa: E731
            chunks = timed_stream(begin, self._timeout)

        def responses() -> Generator[R, None, None]:
            try:
                for chunk in chunks:
                    if (response := add(chunk)) is not None:
                        yield response
            finally:
                chunks.close()

        return responses()

    async def astream(self, add: Callable[[Any], R | None]) -> AsyncGenerator[R, None]:
        """:meth:`stream` for coroutines."""
        timeout = self._timeout
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with atimed(timeout):
            chunks: Any = await self._amethod(self._prompt, **self.params, stream=True)

        async def responses() -> AsyncGenerator[R, None]:
            try:
                while (chunk := await anext_timed(chunks, deadline)) is not None:
                    if (response := add(chunk)) is not None:
                        yield response
            finally:
                await chunks.aclose()

        return responses()
