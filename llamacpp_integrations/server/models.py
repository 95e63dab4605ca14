"""Which models a server has: what the rest of it needs from them, and a fixed set of loaded ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

from llamacpp_core._checks import text
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["LoadedModels", "Models", "borrowed"]


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

    def close(self) -> None:
        """Closes all models."""
        for llm in self._models.values():
            llm.close()


@asynccontextmanager
async def borrowed(models: Models, name: str) -> AsyncGenerator[Llama, None]:
    """A model in use, for coroutines: entered on another thread, since that may load it.

    A coroutine that is cancelled meanwhile leaves at once; the model is given back as soon as it is there.
    """
    use = models.use(name)
    if isinstance(models, LoadedModels):
        llm = use.__enter__()
    else:
        entering = asyncio.get_running_loop().run_in_executor(None, use.__enter__)
        try:
            llm = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(lambda done: done.exception() or use.__exit__(None, None, None))
            raise
    try:
        yield llm
    finally:
        use.__exit__(None, None, None)
