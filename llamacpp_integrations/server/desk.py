"""Who may use which model now: names, the queue's length, and what is counted."""

from __future__ import annotations

import difflib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.errors import RefusedError
from llamacpp_integrations.server.metrics import Metrics
from llamacpp_integrations.server.models import Lender, LoadedModels, Models
from llamacpp_integrations.server.settings import ServerSettings

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelInfo

__all__ = ["Desk"]

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
