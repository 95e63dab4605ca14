"""Runs a prepared request to its end, as a response or as a stream, for threads and coroutines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llamacpp_core.engine.in_flight import Running
from llamacpp_core.engine.plan import Plan
from llamacpp_core.request.reasoning_first import AnswerPart, ReasoningFirst
from llamacpp_core.request.speed import SpeedWatch
from llamacpp_core.response.assemblers import ChatAssembler, CompletionAssembler

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["Prepared", "Runs", "aoff_loop", "arun", "astream", "run", "stream"]

T = TypeVar("T")

#: Inputs above this many characters are prepared off the event loop.
_LARGE = 8_000


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A request that only has to be submitted.

    Attributes:
        plan: The prompt and its constraint.
        kind: The engine's task.
        params: llama-server's sampling fields.
        assembler: Makes the response.
        answer: What follows when this was only the reasoning; None when it is everything.
        processors: Functions of (token ids so far, logits) that return logits.
        criteria: Functions of (token ids so far, logits) that say whether to stop.
        prompt_logprobs: The log-probabilities of the prompt are wanted, too.
        watch: Compares its speed with that of others; None for no comparison.
        held: What has to stay in memory until it has ended.
    """

    plan: Plan
    kind: int
    params: dict[str, Any]
    assembler: ChatAssembler | CompletionAssembler
    answer: AnswerPart | None = None
    processors: tuple[Callable[..., Any], ...] = ()
    criteria: tuple[Callable[..., Any], ...] = ()
    prompt_logprobs: bool = False
    watch: SpeedWatch | None = None
    held: Any = None

    @property
    def streamed(self) -> bool:
        """Whether the answer comes in chunks."""
        return bool(self.params["stream"])

    @property
    def needs_python(self) -> bool:
        """Whether Python takes part in every token, which the engine's batch cannot wait for."""
        return bool(self.processors or self.criteria or self.prompt_logprobs)


class Runs(Protocol):
    """What runs requests: the engine, or a loop of its own."""

    def submit(self, plan: Plan, kind: int, params: dict[str, Any]) -> Running:
        """Starts a planned request."""


def _submit(engine: Runs, prepared: Prepared) -> Running:
    running = engine.submit(prepared.plan, prepared.kind, prepared.params)
    if prepared.answer is None:
        return running
    kind = prepared.kind
    return ReasoningFirst(
        lambda plan, params: engine.submit(plan, kind, params),
        running,
        prepared.params.get("n", 1),
        prepared.answer,
    )


@contextmanager
def _running(request: Running, prepared: Prepared) -> Iterator[None]:
    """Ends the request with the block, and notes how fast it was."""
    watch, assembler = prepared.watch, prepared.assembler
    watched = None
    try:
        watched = None if watch is None else watch.begin()
        yield
    finally:
        request.cancel()
        if watch is not None and watched is not None:
            watch.end(watched, assembler.timings() if assembler.done else None)


def run(engine: Runs, prepared: Prepared) -> dict[str, Any]:
    """Waits for the whole response on this thread."""
    request = _submit(engine, prepared)
    with _running(request, prepared):
        while not prepared.assembler.done:
            prepared.assembler.add(request.next())
    return prepared.assembler.response()


async def arun(engine: Runs, prepared: Prepared) -> dict[str, Any]:
    """Waits for the whole response in this coroutine."""
    request = _submit(engine, prepared)
    with _running(request, prepared):
        while not prepared.assembler.done:
            prepared.assembler.add(await request.anext())
    return prepared.assembler.response()


def stream(engine: Runs, prepared: Prepared) -> Generator[dict[str, Any], None, None]:
    """Submits at once; the chunks come from an iterator whose ``close()`` frees the slot."""
    return _chunks(_submit(engine, prepared), prepared)


def _chunks(request: Running, prepared: Prepared) -> Generator[dict[str, Any], None, None]:
    with _running(request, prepared):
        while not prepared.assembler.done:
            yield from prepared.assembler.chunks(request.next())


def astream(engine: Runs, prepared: Prepared) -> AsyncGenerator[dict[str, Any], None]:
    """Submits at once; the chunks come from an async iterator whose ``aclose()`` frees the slot."""
    return _achunks(_submit(engine, prepared), prepared)


async def _achunks(request: Running, prepared: Prepared) -> AsyncGenerator[dict[str, Any], None]:
    with _running(request, prepared):
        while not prepared.assembler.done:
            for chunk in prepared.assembler.chunks(await request.anext()):
                yield chunk


@cache
def _executor() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, "llamacpp-prepare")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.cache_clear)  # its thread stays in the parent


async def aoff_loop(work: Callable[[], T], size: int) -> T:
    """Runs CPU work that prepares a request so that the event loop stays responsive.

    Small inputs run here, between two turns of the loop; large ones on one thread that all requests share.
    """
    import asyncio

    if size > _LARGE:
        return await asyncio.get_running_loop().run_in_executor(_executor(), work)
    await asyncio.sleep(0)
    return work()
