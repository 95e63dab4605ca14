"""One generation: reading its stream, limiting its time, and checking that it is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from langchain_core.outputs import ChatGenerationChunk

from llamacpp_core.response.cut_off import MessageSoFar, check_complete
from llamacpp_integrations.langchain._batch import run_in_loop
from llamacpp_integrations.langchain._errors import GenerationTimeoutError
from llamacpp_integrations.langchain._messages import final_chunk, stream_chunk

__all__ = ["StreamReader", "anext_timed", "atimed", "check_response", "timed", "timed_stream"]

T = TypeVar("T")


class StreamReader:
    """Turns the chunks of one chat completion into LangChain's.

    Args:
        params: The arguments of the completion.
        blocks: Give the content as standard content blocks.

    Attributes:
        params: The arguments of the completion.
    """

    def __init__(self, params: dict[str, Any], *, blocks: bool) -> None:
        self.params = params
        self._blocks = blocks
        self._so_far = MessageSoFar()

    def read(self, chunk: Mapping[str, Any]) -> list[ChatGenerationChunk]:
        """What a chunk adds.

        Raises:
            IncompleteOutputError: The answer was cut off where only a whole one is of use.
        """
        if not chunk["choices"]:
            return []
        choice = chunk["choices"][0]
        delta = choice["delta"]
        self._so_far.add(delta)
        piece = stream_chunk(delta, choice.get("logprobs"), blocks=self._blocks)
        out = [] if piece is None else [piece]
        reason = choice["finish_reason"]
        if reason is not None:
            check_complete(self._so_far.message, reason, self.params)
            out.append(final_chunk(chunk, reason, blocks=self._blocks))
        return out


def check_response(response: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Makes sure that answers that are only of use as a whole are whole.

    Raises:
        IncompleteOutputError: One was cut off.
    """
    for choice in response["choices"]:
        check_complete(choice["message"], choice["finish_reason"], params)


# Time limits


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
