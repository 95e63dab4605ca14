"""Which models a server has: what the rest of it needs from them, and a fixed set of loaded ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from llamacpp_core._checks import text
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["Lender", "LoadedModels", "Models"]


class Models(Protocol):
    """Models by name, each of which is loaded while somebody uses it."""

    @property
    def names(self) -> Sequence[str]:
        """The names that requests may give."""

    def use(self, name: str) -> AbstractContextManager[Llama]:
        """A loaded model, which stays loaded in the ``with`` block; entering it may take a while."""


class LoadedModels:
    """Models that are loaded already and stay so.

    Args:
        models: Loaded models by the names that requests give.

    Raises:
        InvalidParameterError: There is none, or a name is no text.
    """

    def __init__(self, models: Mapping[str, Llama]) -> None:
        if not models:
            raise InvalidParameterError("give at least one model", parameter="models")
        for name in models:
            text("models", name)
        self._models = dict(models)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that requests may give."""
        return tuple(self._models)

    @property
    def infos(self) -> dict[str, ModelInfo]:
        """Facts about the models, by name."""
        return {name: llm.info for name, llm in self._models.items()}

    @contextmanager
    def use(self, name: str) -> Generator[Llama, None, None]:
        """The model of this name."""
        yield self._models[name]

    def adapters(self, name: str) -> list[str]:
        """The names of a model's LoRA adapters."""
        return [one.name for one in self._models[name].loras]

    def close(self) -> None:
        """Closes all models."""
        for llm in self._models.values():
            llm.close()


class Lender:
    """Gives models to coroutines. What may block, loading and closing, happens on other threads.

    One thread at a time waits for each model, however many requests want it and whichever of them give up
    meanwhile, so that waiting for one model never keeps others from theirs.

    Args:
        models: The models.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._turns = {name: asyncio.Lock() for name in models.names}
        self._entering = ThreadPoolExecutor(max(1, len(self._turns)), "llamacpp-models")
        # Apart from those that wait for memory: leaving a model is what may give it to them.
        self._leaving = ThreadPoolExecutor(1, "llamacpp-models-left")

    @asynccontextmanager
    async def lend(self, name: str) -> AsyncGenerator[Llama, None]:
        """A model that stays loaded in the block.

        A coroutine that is cancelled while it waits leaves at once; the model is given back when it is there.
        """
        use = self._models.use(name)
        if isinstance(self._models, LoadedModels):
            with use as llm:
                yield llm
            return
        llm = await self._enter(name, use)
        try:
            yield llm
        finally:
            self._leaving.submit(use.__exit__, None, None, None)

    async def _enter(self, name: str, use: AbstractContextManager[Llama]) -> Llama:
        turn = self._turns[name]
        await turn.acquire()
        entering = asyncio.get_running_loop().run_in_executor(self._entering, use.__enter__)
        entering.add_done_callback(lambda _: turn.release())
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(partial(self._give_back, use))
            raise

    def _give_back(self, use: AbstractContextManager[Llama], entered: asyncio.Future[Llama]) -> None:
        if not entered.cancelled() and entered.exception() is None:
            self._leaving.submit(use.__exit__, None, None, None)
