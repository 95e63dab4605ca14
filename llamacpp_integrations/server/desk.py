"""Who may use which model now: names, the queue's length, and what is counted."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError, LlamaCppError, ModelLoadError, ModelNotFoundError
from llamacpp_integrations.server.errors import RefusedError
from llamacpp_integrations.server.metrics import Metrics
from llamacpp_integrations.server.models import Lender, LoadedModels, Models
from llamacpp_integrations.server.settings import ServerSettings

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["Desk"]

_LOGGER = logging.getLogger(__name__)

_RETRY_AFTER = 2
#: Requests that a model which was not loaded yet may be able to run at once.
_MOST_SLOTS = 64


class Desk:
    """Gives requests their model, or refuses them.

    Attributes:
        models: The models by name.
        settings: The limits.
        metrics: What is counted.
        in_flight: Requests that wait or run, by model.
        facts: What is known of the models that are loaded, or were in use since the start.
    """

    def __init__(self, models: Models, settings: ServerSettings) -> None:
        self.models = models
        self.settings = settings
        self.metrics = Metrics()
        self._lender = Lender(models)
        self._adapters: dict[str, dict[str, tuple[Path, float]]] = {one: {} for one in models.names}
        self._given: dict[str, list[str]] = {one: [] for one in models.names}
        self._bringing = {one: asyncio.Lock() for one in models.names}
        self.in_flight = dict.fromkeys(models.names, 0)
        self.facts: dict[str, ModelInfo] = models.infos if isinstance(models, LoadedModels) else {}

    def name_of(self, wanted: Any) -> str:
        """The name of the model that a request asks for; the only one where it asks for none.

        Raises:
            RefusedError: There is no such model.
            InvalidParameterError: No model is named, and there are several.
        """
        names = list(self.models.names)
        if wanted is None and len(names) == 1:
            return names[0]
        if wanted is None:
            raise InvalidParameterError(
                f"model is missing: give one of {', '.join(names)}", parameter="model"
            )
        if not isinstance(wanted, str):
            raise InvalidParameterError("model must be a string", parameter="model")
        if wanted in names:
            return wanted
        near = difflib.get_close_matches(wanted, names, n=1) or names
        raise RefusedError(
            404,
            f"there is no model {wanted!r} here; there is {', '.join(near)}",
            "model_not_found",
            parameter="model",
        )

    def asked(self, body: dict[str, Any]) -> tuple[str, str]:
        """The model that a request asks for, and what it calls it. Takes ``model`` out of the request.

        A name like "model:adapter" becomes the model, with the LoRA adapter in the request's ``lora``.

        Raises:
            RefusedError: There is no such model.
            InvalidParameterError: No model is named and there are several, or two adapters are named.
        """
        wanted = body.pop("model", None)
        if isinstance(wanted, str) and wanted not in self.models.names:
            name, _, adapter = wanted.rpartition(":")
            if name in self.models.names and adapter in self.adapters(name):
                if body.get("lora") is not None:
                    raise InvalidParameterError(
                        "give the adapter in model or in lora, not both", parameter="lora"
                    )
                body["lora"] = adapter
                return name, wanted
        name = self.name_of(wanted)
        return name, name

    def adapters(self, name: str) -> list[str]:
        """The names of a model's LoRA adapters."""
        loaded = self.models.adapters(name) if isinstance(self.models, LoadedModels) else self._given[name]
        return list(dict.fromkeys([*loaded, *self._adapters[name]]))

    def load_adapter(self, name: str, llm: Llama, adapter: str, path: Path, scale: float) -> None:
        """Loads a LoRA adapter, now and whenever the model is loaded again.

        Raises:
            LlamaCppError: As :meth:`Llama.load_lora <llamacpp_core.Llama.load_lora>` does.
        """
        llm.load_lora(path, adapter, scale)
        self._adapters[name][adapter] = path, scale

    def unload_adapter(self, name: str, llm: Llama, adapter: str) -> None:
        """Unloads a LoRA adapter.

        Raises:
            LlamaCppError: As :meth:`Llama.unload_lora <llamacpp_core.Llama.unload_lora>` does.
        """
        kept = self._adapters[name].pop(adapter, None)  # first: a request must not bring it back meanwhile
        try:
            llm.unload_lora(adapter)
        except BaseException:
            if kept is not None:
                self._adapters[name][adapter] = kept
            raise

    async def _bring_adapters(self, name: str, llm: Llama) -> None:
        """Loads what a model had before it was unloaded to make room for another."""
        async with self._bringing[name]:
            there = {one.name for one in llm.loras}
            for adapter, (path, scale) in list(self._adapters[name].items()):
                if adapter in there:
                    continue
                try:
                    await asyncio.to_thread(llm.load_lora, path, adapter, scale)
                except (ModelNotFoundError, ModelLoadError) as error:
                    _LOGGER.warning("the adapter %s of %s is gone: %s", adapter, name, error)
                    self._adapters[name].pop(adapter, None)
                except LlamaCppError as error:
                    _LOGGER.warning("the adapter %s of %s is not there for now: %s", adapter, name, error)

    @asynccontextmanager
    async def use(self, name: str, n: int = 1) -> AsyncGenerator[Llama, None]:
        """A loaded model for one request, which counts as one of those that wait or run until it ends.

        Args:
            name: A name of :meth:`name_of`.
            n: How many answers the request will run at once.

        Raises:
            InvalidParameterError: The request alone is more than the server takes.
            RefusedError: Too many requests wait for this model.
        """
        known = self.facts.get(name)
        room = self.settings.max_waiting + (known.n_parallel if known else 1)
        if n > room and (known or n > room + _MOST_SLOTS):
            raise InvalidParameterError(
                f"n asks for {n} answers at once; this server takes {room}", parameter="n"
            )
        if self.in_flight[name] and self.in_flight[name] + n > room:
            self.metrics.add("llamacpp_refused_total", model=name)
            raise RefusedError(
                429,
                f"{self.in_flight[name]} requests wait for or run on {name}, and this server takes {room}: "
                "try again later",
                "queue_full",
                retry_after=_RETRY_AFTER,
            )
        self._count(name, n)
        try:
            async with self._lender.lend(name) as llm:
                there = llm.loras
                self._given[name] = [one.name for one in there if one.at_start]
                if not self._adapters[name].keys() <= {one.name for one in there}:
                    await self._bring_adapters(name, llm)
                self.facts[name] = llm.info
                yield llm
        finally:
            self._count(name, -n)

    def _count(self, name: str, n: int) -> None:
        self.in_flight[name] += n
        self.metrics.add("llamacpp_requests_in_flight", n, model=name)

    def count_usage(self, name: str, usage: Mapping[str, Any] | None) -> None:
        """Adds the tokens of an answer to the metrics."""
        if not usage:
            return
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        for metric, amount in (
            ("llamacpp_prompt_tokens_total", usage.get("prompt_tokens", 0)),
            ("llamacpp_cached_tokens_total", cached),
            ("llamacpp_generated_tokens_total", usage.get("completion_tokens", 0)),
        ):
            self.metrics.add(metric, amount, model=name)
