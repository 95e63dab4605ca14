"""Arguments of samplers, checked and in llama.cpp's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llamacpp_core._checks import integer, number, token_ids
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.native import ffi, lib

__all__ = ["Kept", "breakers", "grammar", "logit_bias", "seed", "share", "triggers"]

_MAX_BREAKER_BYTES = 40  # llama.cpp cuts longer ones
_MAX_PATTERN_BYTES = 4096  # std::regex is recursive
_MAX_BIAS = 1e9


@dataclass(frozen=True)
class Kept:
    """A native pointer together with what must stay alive while it is used."""

    pointer: Any
    keeps: object


def seed(value: int | None) -> int:
    """A seed in llama.cpp's form: None is its own mark for a random one."""
    if value is None:
        return int(lib.LLAMA_DEFAULT_SEED)
    return int(integer(0, lib.LLAMA_DEFAULT_SEED - 1)("seed", value))


def share(p: float, min_keep: int) -> tuple[float, int]:
    """A probability and a number of candidates to keep."""
    return number(0, 1)("p", p), integer(0)("min_keep", min_keep)


def grammar(text: str, root: str) -> tuple[bytes, bytes]:
    """A grammar that llama.cpp can parse, and its start rule."""
    from llamacpp_core.grammar.gbnf import parse_gbnf

    parse_gbnf(text, root=root)
    return text.encode(), root.encode()


def triggers(patterns: Iterable[str], tokens: Iterable[int], n_vocab: int) -> tuple[Kept, int, Kept, int]:
    """Triggers of a lazy grammar: patterns, their number, tokens, their number."""
    texts = _texts(patterns, "trigger_patterns", _MAX_PATTERN_BYTES)
    ids = token_ids("trigger_tokens", tokens, n_vocab)
    if not texts and not ids:
        raise InvalidParameterError("a lazy grammar needs trigger_patterns or trigger_tokens")
    return _strings(texts), len(texts), Kept(ffi.new("llama_token[]", ids), None), len(ids)


def breakers(texts: Iterable[str]) -> tuple[Kept, int]:
    """Sequence breakers of DRY, and their number."""
    found = _texts(texts, "sequence_breakers", _MAX_BREAKER_BYTES)
    return _strings(found), len(found)


def logit_bias(bias: Mapping[int, float], n_vocab: int) -> tuple[int, Any]:
    """Number of biases, and the biases."""
    if not bias:
        raise InvalidParameterError("bias is empty", parameter="bias")
    ids = token_ids("bias", list(bias), n_vocab)
    values = [
        value if value == float("-inf") else number(-_MAX_BIAS, _MAX_BIAS)(f"bias[{token}]", value)
        for token, value in bias.items()
    ]
    return len(ids), ffi.new("llama_logit_bias[]", list(zip(ids, values, strict=True)))


def _texts(texts: Iterable[str], name: str, limit: int) -> list[bytes]:
    if isinstance(texts, str):
        raise InvalidParameterError(f"{name} must be a list of texts, not one text", parameter=name)
    found = [text.encode() for text in texts]
    for index, data in enumerate(found):
        if not 0 < len(data) <= limit or b"\0" in data:
            raise InvalidParameterError(
                f"{name}[{index}] must have 1 to {limit} bytes, none of them NUL",
                parameter=f"{name}[{index}]",
            )
    return found


def _strings(texts: list[bytes]) -> Kept:
    strings = [ffi.new("char[]", text) for text in texts]
    return Kept(ffi.new("const char *[]", strings), strings)
