"""Sampling parameters: the fields that chat and text completion share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llamacpp_core.request.sampling import EXTRA_FIELDS, sampling_fields
from llamacpp_integrations._time_limits import read_timeout
from llamacpp_integrations.langchain._errors import translated_errors

__all__ = ["Sampling"]


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class Sampling(BaseModel):
    """Sampling parameters, defaults as in :class:`~llamacpp_core.Llama`; each can also be given per call."""

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=(), extra="ignore")

    temperature: float = 0.2
    """0 picks the likeliest token; higher is more random."""

    top_p: float = 0.95
    """Keep the likeliest tokens that together reach this probability."""

    top_k: int = 40
    """Keep this many likeliest tokens; 0 turns it off."""

    min_p: float = 0.05
    """Drop tokens less likely than this fraction of the likeliest."""

    typical_p: float = 1.0
    """Locally typical sampling; 1 turns it off."""

    repeat_penalty: float = 1.0
    """Divide the logits of recent tokens by this; 1 turns it off."""

    presence_penalty: float = 0.0
    """Lower a token's logit by this once it occurred."""

    frequency_penalty: float = 0.0
    """Lower a token's logit by this for each time it occurred."""

    mirostat_mode: int = 0
    """0, 1 or 2."""

    mirostat_tau: float = 5.0
    """Mirostat's target entropy."""

    mirostat_eta: float = 0.1
    """Mirostat's learning rate."""

    max_tokens: int | None = None
    """Tokens to generate at most. None, 0 or less: to the end of the context."""

    stop: Annotated[list[str] | None, BeforeValidator(_listed)] = None
    """Strings that end the answer; ``stop`` of a call takes their place."""

    seed: int | None = None
    """Makes the answer repeatable. None: a new one each time."""

    logit_bias: dict[int, float] | None = None
    """From token id to a number to add to its logit."""

    grammar: Any = None
    """A LlamaGrammar, or GBNF text, that the answer has to follow."""

    n: int = 1
    """Answers to generate for each input; ``generate`` returns all of them, streams allow one."""

    timeout: float | None = None
    """Seconds after which a call is cancelled with a :class:`TimeoutError`. None: no limit."""

    sampling: dict[str, Any] = Field(default_factory=dict)
    """Any other sampling field of :mod:`llamacpp_core.request.sampling`, such as ``dry_multiplier`` or
    ``xtc_probability``; each may also be given as a keyword. ``lora`` names adapters of :meth:`load_lora`."""

    _collected: ClassVar[Mapping[str, str]] = dict.fromkeys(EXTRA_FIELDS, "sampling")

    _sampling_names: ClassVar[tuple[str, ...]] = (
        "frequency_penalty",
        "grammar",
        "logit_bias",
        "max_tokens",
        "min_p",
        "mirostat_eta",
        "mirostat_mode",
        "mirostat_tau",
        "n",
        "presence_penalty",
        "repeat_penalty",
        "seed",
        "stop",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    )

    def _settled(self, name: str, value: Any) -> Any:
        # As a call does, so that a mistake shows where it was made.
        if name == "timeout":
            self._time_limit({"timeout": value})
        elif (name in self._sampling_names and name != "grammar") or name == "sampling":
            given = value if name == "sampling" else {name: value}
            sampling_fields(
                {key: one for key, one in given.items() if one is not None and one != [] and key != "lora"},
                n_vocab=self.client.info.n_vocab,  # type: ignore[attr-defined]
            )
        return super()._settled(name, value)  # type: ignore[misc]

    def _time_limit(self, given: Mapping[str, Any]) -> float | None:
        """Seconds that a call may take; None: no limit.

        Raises:
            InvalidParameterError: It is not a number above 0.
        """
        timeout = given.get("timeout", self.timeout)
        with translated_errors():
            return read_timeout(timeout)

    @property
    def _sampling_params(self) -> dict[str, Any]:
        """The configured parameters under the engine's names; what is None is left out."""
        values = {name: getattr(self, name) for name in self._sampling_names}
        return {
            name: value for name, value in values.items() if value is not None and value != []
        } | self.sampling
