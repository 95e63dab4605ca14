"""llama-server's sampling fields as a chain of llama.cpp's samplers.

The order and the defaults are those of llama.cpp's ``common_sampler_init``, so that a request draws the
same tokens here as in the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import GenerationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.lowlevel import Candidates, Model, Sampler

__all__ = ["TokenChooser"]

DEFAULT_ORDER = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)

_DEFAULTS: dict[str, Any] = {
    "temperature": 0.8,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 64,
    "dry_sequence_breakers": ("\n", ":", '"', "*"),
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
    "min_keep": 0,
    "samplers": DEFAULT_ORDER,
}

_PREFILLED_GRAMMARS = ("tool_calls", "output_format")


class TokenChooser:
    """Chooses the tokens of one answer.

    Args:
        model: The model.
        fields: llama-server's fields.
        seed: The seed; None for a new one.
        forbidden: Tokens that may not come.
    """

    def __init__(
        self,
        model: Model,
        fields: Mapping[str, Any],
        *,
        seed: int | None,
        forbidden: tuple[int, ...],
    ) -> None:
        self._model = model
        self._settings = _DEFAULTS | {k: v for k, v in fields.items() if k in _DEFAULTS and v is not None}
        self._seed = seed
        from llamacpp_core.lowlevel import Sampler

        self._grammar: Sampler | None = None
        self._chain = Sampler(model)
        try:
            self._fill_chain(_bias(fields, forbidden))
            self._grammar = _grammar(model, fields)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Frees the samplers."""
        self._chain.close()
        if self._grammar is not None:
            self._grammar.close()

    def read_prompt(self, tokens: list[int]) -> None:
        """Lets the penalties see what came before the answer."""
        for token in tokens:
            self._chain.accept(token)

    def choose(self, logits: NDArray[np.float32], n_left: int) -> int:
        """The next token.

        Args:
            logits: float32 of shape [n_vocab].
            n_left: Tokens that the answer may still have, this one included.

        Raises:
            GenerationError: Every token is forbidden.
        """
        from llamacpp_core.lowlevel import Candidates

        candidates = Candidates.from_logits(logits)
        self._chain.apply(candidates)
        token = self._selected(candidates)
        if self._grammar is None:
            return self._accept(token)
        self._grammar.limit_grammar(n_left)
        # Most tokens fit: asking the grammar about one is far cheaper than about the whole vocabulary.
        alone = Candidates.from_logits(logits[token : token + 1])
        alone.ids[0] = token
        self._grammar.apply(alone)
        if not _possible(alone):
            candidates = Candidates.from_logits(logits)
            self._grammar.apply(candidates)
            if not _possible(candidates):
                raise GenerationError("no token is left: the grammar and the logits forbid every one")
            self._chain.apply(candidates)
            token = self._selected(candidates)
        self._grammar.accept(token)
        return self._accept(token)

    def _selected(self, candidates: Candidates) -> int:
        token = candidates.selected
        if token is None or not _possible(candidates):
            raise GenerationError("no token is left: every one is forbidden by a bias or a logits processor")
        return token

    def _accept(self, token: int) -> int:
        self._chain.accept(token)
        return token

    def _fill_chain(self, bias: dict[int, float]) -> None:
        chain, s = self._chain, self._settings
        if bias:
            chain.logit_bias(bias)
        if s["mirostat"]:
            chain.temp(s["temperature"])
            if s["mirostat"] == 1:
                chain.mirostat(self._seed, s["mirostat_tau"], s["mirostat_eta"])
            else:
                chain.mirostat_v2(self._seed, s["mirostat_tau"], s["mirostat_eta"])
            return
        for name in s["samplers"]:
            self._add(chain, name)
        if "adaptive_p" in s["samplers"] and s["adaptive_target"] >= 0:
            chain.adaptive_p(s["adaptive_target"], s["adaptive_decay"], self._seed)
        else:
            chain.dist(self._seed)

    def _add(self, chain: Sampler, name: str) -> None:
        """Adds one sampler, unless it would do nothing."""
        s = self._settings
        keep = s["min_keep"]
        if name == "penalties":
            if (s["repeat_penalty"], s["frequency_penalty"], s["presence_penalty"]) != (1.0, 0.0, 0.0):
                chain.penalties(
                    s["repeat_last_n"],
                    repeat=s["repeat_penalty"],
                    frequency=s["frequency_penalty"],
                    presence=s["presence_penalty"],
                )
        elif name == "dry":
            if s["dry_multiplier"] > 0:
                chain.dry(
                    s["dry_multiplier"],
                    base=s["dry_base"],
                    allowed_length=s["dry_allowed_length"],
                    last_n=s["dry_penalty_last_n"],
                    sequence_breakers=s["dry_sequence_breakers"],
                )
        elif name == "top_n_sigma" and s["top_n_sigma"] > 0:
            chain.top_n_sigma(s["top_n_sigma"])
        elif name == "top_k" and s["top_k"] > 0:
            chain.top_k(s["top_k"])
        elif name == "typ_p" and s["typical_p"] < 1:
            chain.typical(s["typical_p"], keep)
        elif name == "top_p" and s["top_p"] < 1:
            chain.top_p(s["top_p"], keep)
        elif name == "min_p" and s["min_p"] > 0:
            chain.min_p(s["min_p"], keep)
        elif name == "xtc" and s["xtc_probability"] > 0 and s["xtc_threshold"] <= 0.5:
            chain.xtc(s["xtc_probability"], s["xtc_threshold"], keep, self._seed)
        elif name == "temperature":
            chain.temp_ext(s["temperature"], s["dynatemp_range"], s["dynatemp_exponent"])
        elif name == "infill":
            chain.infill()


def _possible(candidates: Candidates) -> bool:
    return bool(candidates.logits.max() > float("-inf"))


def _bias(fields: Mapping[str, Any], forbidden: tuple[int, ...]) -> dict[int, float]:
    bias: dict[int, float] = {}
    for token, value in fields.get("logit_bias") or ():
        bias[token] = float("-inf") if value is False else float(value)
    return bias | dict.fromkeys(forbidden, float("-inf"))


def _grammar(model: Model, fields: Mapping[str, Any]) -> Sampler | None:
    text = fields.get("grammar")
    if not text:
        return None
    from llamacpp_core.lowlevel import Sampler

    sampler = Sampler(model)
    try:
        if fields.get("grammar_lazy"):
            patterns, tokens = _triggers(model, fields)
            return sampler.grammar_lazy_patterns(text, trigger_patterns=patterns, trigger_tokens=tokens)
        sampler.grammar(text)
    except BaseException:
        sampler.close()
        raise
    start = fields.get("generation_prompt")
    if start and fields.get("grammar_type") in _PREFILLED_GRAMMARS:
        # This grammar describes the answer from where the template begins it.
        for token in model.tokenize(start, add_special=False, parse_special=True):
            sampler.accept(token)
    return sampler


def _triggers(model: Model, fields: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """The triggers of a lazy grammar, by llama.cpp's numbers for their kinds."""
    token_kind, word_kind, pattern_kind = 0, 1, 2
    preserved = set(fields.get("preserved_tokens") or ())
    patterns: list[str] = []
    tokens: list[int] = []
    for trigger in fields.get("grammar_triggers") or ():
        kind, value = trigger["type"], trigger["value"]
        if kind == token_kind:
            tokens.append(trigger["token"])
        elif kind == word_kind:
            ids = model.tokenize(value, add_special=False, parse_special=True)
            if len(ids) == 1 and value in preserved:
                tokens.append(ids[0])
            else:
                patterns.append(re.sub(r"[.^$|()*+?\[\]{}\\]", r"\\\g<0>", value))
        elif kind == pattern_kind:
            patterns.append(value)
        else:
            patterns.append(f"{'' if value[:1] == '^' else '^'}{value}{'' if value[-1:] == '$' else '$'}")
    return patterns, tokens
