"""The parameters of one generation: checked here, then llama-server's fields.

The native layer clamps, ignores or accepts nonsense, so every field is typed and bounded here and an
unknown name is an error.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llamacpp_core._checks import (
    RANDOM_SEED,
    Check,
    boolean,
    check_text,
    choice,
    integer,
    number,
    seed,
    shown,
    text,
    unknown_name,
)
from llamacpp_core.errors import InvalidParameterError

__all__ = ["EXTRA_FIELDS", "SAMPLER_NAMES", "sampling_fields", "stop_strings"]

#: llama.cpp reserves memory for every token of the past that a penalty looks at.
MAX_LOOKBACK = 2**20
#: Beyond it, sums of logits and penalties leave the range of float32.
_BIAS = number(-1e9, 1e9)
_TOKEN = integer()
_MAX_BREAKER_BYTES = 40
# "infill" compares every pair of candidates: one of these has to leave few of them.
_TRUNCATING = {"top_k", "top_p", "min_p", "typ_p", "top_n_sigma"}

SAMPLER_NAMES = (
    "adaptive_p",
    "dry",
    "infill",
    "min_p",
    "penalties",
    "temperature",
    "top_k",
    "top_n_sigma",
    "top_p",
    "typ_p",
    "xtc",
)


def _neutral(value: float, why: str) -> Check:
    def check(name: str, given: Any) -> None:
        if number()(name, given) != value:
            raise InvalidParameterError(
                f"{name} must stay at its neutral value {value:g}: {why}", parameter=name
            )

    return check


def _seed(name: str, value: Any) -> int:
    checked = seed(name, value)
    return RANDOM_SEED if checked is None else checked


def _samplers(name: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidParameterError(f"{name} must be a list of sampler names", parameter=name)
    for i, entry in enumerate(value):
        if entry not in SAMPLER_NAMES:
            error = unknown_name(str(entry), SAMPLER_NAMES, "sampler")
            raise InvalidParameterError(f"{name}[{i}]: {error}", parameter=f"{name}[{i}]")
        if entry == "infill" and _TRUNCATING.isdisjoint(value[:i]):
            raise InvalidParameterError(
                f"{name}[{i}]: 'infill' compares every pair of candidates: put 'top_k' before it",
                parameter=f"{name}[{i}]",
            )
    return list(value)


def _breakers(name: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidParameterError(f"{name} must be a list of at least one string", parameter=name)
    out = [text(f"{name}[{i}]", v) for i, v in enumerate(value)]
    for i, breaker in enumerate(out):
        if not 0 < len(breaker.encode()) <= _MAX_BREAKER_BYTES:
            raise InvalidParameterError(
                f"{name}[{i}] must have 1 to {_MAX_BREAKER_BYTES} bytes: llama.cpp cuts longer ones",
                parameter=f"{name}[{i}]",
            )
    return out


# name -> (llama-server's name, check); None as a value means "not given".
_FIELDS: dict[str, tuple[str, Check]] = {
    "temperature": ("temperature", number(0)),
    "top_k": ("top_k", integer()),
    "top_p": ("top_p", number(0, 1)),
    "min_p": ("min_p", number(0, 1)),
    "typical_p": ("typical_p", number(0, 1)),
    "repeat_penalty": ("repeat_penalty", number(0, above=True)),
    "presence_penalty": ("presence_penalty", number()),
    "frequency_penalty": ("frequency_penalty", number()),
    "mirostat_mode": ("mirostat", choice(0, 1, 2)),
    "mirostat_tau": ("mirostat_tau", number(0)),
    "mirostat_eta": ("mirostat_eta", number(0)),
    "tfs_z": ("", _neutral(1.0, "llama.cpp no longer has tail-free sampling; use min_p or typical_p")),
    "seed": ("seed", _seed),
    "repeat_last_n": ("repeat_last_n", integer(0, MAX_LOOKBACK)),
    "dynatemp_range": ("dynatemp_range", number(0)),
    "dynatemp_exponent": ("dynatemp_exponent", number(0, above=True)),
    "xtc_probability": ("xtc_probability", number(0, 1)),
    "xtc_threshold": ("xtc_threshold", number(0, 1)),
    "top_n_sigma": ("top_n_sigma", number()),
    "dry_multiplier": ("dry_multiplier", number(0)),
    "dry_base": ("dry_base", number(1)),
    "dry_allowed_length": ("dry_allowed_length", integer(0)),
    "dry_penalty_last_n": ("dry_penalty_last_n", integer(0, MAX_LOOKBACK)),
    "dry_sequence_breakers": ("dry_sequence_breakers", _breakers),
    "adaptive_target": ("adaptive_target", number(-1, 1)),
    "adaptive_decay": ("adaptive_decay", number(0, 0.99)),
    "min_keep": ("min_keep", integer(0)),
    "samplers": ("samplers", _samplers),
    "ignore_eos": ("ignore_eos", boolean),
    "cache_prompt": ("cache_prompt", boolean),
    "deterministic": ("deterministic", boolean),
    "n_keep": ("n_keep", integer(-1)),
    "n_indent": ("n_indent", integer(0)),
    "t_max_predict_ms": ("t_max_predict_ms", integer(-1)),
    "post_sampling_probs": ("post_sampling_probs", boolean),
    "return_progress": ("return_progress", boolean),
}

_NAMED = (
    "frequency_penalty",
    "min_p",
    "mirostat_eta",
    "mirostat_mode",
    "mirostat_tau",
    "presence_penalty",
    "repeat_penalty",
    "seed",
    "temperature",
    "tfs_z",
    "top_k",
    "top_p",
    "typical_p",
)

#: Sampling fields accepted beyond the named parameters of the public methods.
EXTRA_FIELDS: tuple[str, ...] = tuple(sorted(set(_FIELDS) - set(_NAMED)))


def sampling_fields(
    values: Mapping[str, Any],
    *,
    n_vocab: int,
    lora: Collection[int] = (),
    known: Sequence[str] = (),
) -> dict[str, Any]:
    """Checks the sampling parameters of a request and renames them to llama-server's fields.

    Args:
        values: The parameters by name. None means not given.
        n_vocab: Size of the vocabulary, for ``logit_bias``.
        lora: The numbers of the LoRA adapters that are loaded.
        known: More names to suggest when a name is unknown.

    Raises:
        InvalidParameterError: An unknown name, or a value that cannot work.
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        if name == "logit_bias":
            out["logit_bias"] = _logit_bias(value, n_vocab)
        elif name == "stop":
            out["stop"] = stop_strings(value)
        elif name == "max_tokens":
            tokens = integer()(name, value)
            out["n_predict"] = tokens if tokens > 0 else -1
        elif name == "n":
            out["n"] = integer(1, 1024)(name, value)
        elif name == "lora":
            out["lora"] = _lora(value, lora)
        elif name in _FIELDS:
            field, check = _FIELDS[name]
            checked = check(name, value)
            if field:
                out[field] = max(checked, 0) if field == "top_k" else checked
        else:
            raise unknown_name(
                name, [*_FIELDS, *known, "logit_bias", "stop", "max_tokens", "n", "lora"], "parameter"
            )
    if out.get("deterministic"):
        out.setdefault("seed", 0)
    if out.get("mirostat") and out.get("mirostat_tau") == 0:
        raise InvalidParameterError(
            "mirostat_tau must be greater than 0: it is the surprise aimed at, in bits",
            parameter="mirostat_tau",
        )
    return out


def stop_strings(value: Any) -> list[str]:
    """Checks the texts that end an answer: one, or several."""
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, Sequence):
        raise InvalidParameterError("stop must be a string or a list of strings", parameter="stop")
    for i, entry in enumerate(stops):
        if not isinstance(entry, str) or not entry:
            raise InvalidParameterError(
                f"stop[{i}] must be a string that is not empty, got {shown(entry)}: an empty one would end "
                "every answer at once",
                parameter=f"stop[{i}]",
            )
        check_text(f"stop[{i}]", entry)
    return list(stops)


def _logit_bias(value: Any, n_vocab: int) -> list[list[Any]]:
    if not isinstance(value, Mapping):
        raise InvalidParameterError(
            "logit_bias must be a dict from token id to a number to add to the token's logit",
            parameter="logit_bias",
        )
    out: dict[int, Any] = {}
    for key, bias in value.items():
        token = _token_id(key)
        if token is None or not 0 <= token < n_vocab:
            raise InvalidParameterError(
                f"logit_bias names the token {key!r}, but token ids go from 0 to {n_vocab - 1}",
                parameter="logit_bias",
            )
        if token in out:
            raise InvalidParameterError(f"logit_bias names the token {token} twice", parameter="logit_bias")
        out[token] = False if _bans(bias) else _BIAS(f"logit_bias[{key}]", bias)
    if len(out) == n_vocab and all(bias is False for bias in out.values()):
        raise InvalidParameterError("logit_bias bans every token: none is left", parameter="logit_bias")
    return [[token, bias] for token, bias in out.items()]


def _bans(bias: Any) -> bool:
    try:
        return bias is False or (not isinstance(bias, bool | str) and float(bias) == -math.inf)
    except (OverflowError, TypeError, ValueError):
        return False


def _token_id(key: Any) -> int | None:
    """A token id given as a whole number, or as text, as JSON has it."""
    if isinstance(key, str):
        return int(key) if key.isascii() and key.isdigit() else None
    try:
        return _TOKEN("logit_bias", key)  # type: ignore[no-any-return]
    except InvalidParameterError:
        return None


def _lora(value: Any, loaded: Collection[int]) -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise InvalidParameterError(
            "lora must be the name of an adapter, a list of names, or a dict from names or positions to "
            "scales",
            parameter="lora",
        )
    scales: dict[int, float] = {}
    for key, scale in value.items():
        number_of = integer(0)(f"lora[{key!r}]", key)
        if number_of not in loaded:
            raise InvalidParameterError(
                f"lora names adapter {number_of}, which is not loaded", parameter="lora"
            )
        scales[number_of] = number()(f"lora[{number_of}]", scale)
    return [{"id": of, "scale": scale} for of, scale in sorted(scales.items())]
