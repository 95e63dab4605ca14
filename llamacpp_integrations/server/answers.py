"""Running one request on a model, to a whole answer or to a stream, within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from llamacpp_integrations.server.desk import Desk
from llamacpp_integrations.server.errors import Problem
from llamacpp_integrations.server.stream import EventStream

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["Answers", "Chunks"]

Chunks = AsyncGenerator[Mapping[str, Any], None]


class Answers:
    """Runs requests.

    Args:
        desk: Gives out the models.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def limited(self, max_tokens: Any) -> Any:
        """The bound on an answer: the request's, or the server's where that is lower or the only one."""
        limit = self.desk.settings.max_tokens
        if limit is None or isinstance(max_tokens, bool) or not isinstance(max_tokens, int | None):
            return max_tokens  # what is not a number is refused where all arguments are checked
        return limit if max_tokens is None or max_tokens <= 0 else min(limit, max_tokens)

    async def whole(
        self, name: str, n: Any, work: Callable[[Llama], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """A whole answer.

        Args:
            name: The model.
            n: How many answers the request asks for.
            work: Makes the answer.
        """
        async with asyncio.timeout(self.desk.settings.timeout), self.desk.use(name, _answers(n)) as llm:
            answer = await work(llm)
        self.desk.count_usage(name, answer.get("usage"))
        return answer

    async def streamed(
        self,
        name: str,
        n: Any,
        start: Callable[[Llama], Awaitable[Chunks]],
        encode: Callable[[Chunks], AsyncIterator[bytes]],
        on_error: Callable[[Problem], bytes],
    ) -> EventStream:
        """A response that streams. What is wrong with the request is raised before it begins.

        Args:
            name: The model.
            n: How many answers the request asks for.
            start: Starts the request.
            encode: Makes events of the chunks.
            on_error: The event that tells of a problem on the way.
        """
        settings, began = self.desk.settings, time.monotonic()
        timeout = settings.timeout
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with AsyncExitStack() as resources:
            async with asyncio.timeout_at(deadline):
                llm = await resources.enter_async_context(self.desk.use(name, _answers(n)))
                chunks = await start(llm)
            resources.push_async_callback(chunks.aclose)
            events = encode(self._counted(chunks, name, began))
            return EventStream(
                events,
                resources.pop_all(),
                deadline=deadline,
                on_error=on_error,
                pause=settings.keep_alive_seconds,
            )

    async def _counted(self, chunks: Chunks, name: str, began: float) -> Chunks:
        """The chunks, while their first one's time and their usage are counted."""
        first = True
        async for chunk in chunks:
            if first:
                first = False
                seconds = time.monotonic() - began
                self.desk.metrics.observe("llamacpp_first_token_seconds", seconds, model=name)
            self.desk.count_usage(name, chunk.get("usage"))
            yield chunk


def _answers(n: Any) -> int:
    return n if isinstance(n, int) and n > 1 else 1
