"""Log-probabilities: from llama-server's form to OpenAI's, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["chat_logprob", "completion_logprobs", "mean_logprob"]

#: What OpenAI reports for a probability of zero.
_NEVER = -9999.0


def chat_logprob(
    entry: dict[str, Any], top: int, piece: Callable[[int], bytes] | None = None
) -> dict[str, Any]:
    """One token of llama-server's ``probs`` in the form of a chat completion.

    Args:
        entry: The token.
        top: Alternatives to report.
        piece: The bytes of a token. llama-server reports in their place the text that it sent with the token:
            none while a stop string may have begun, then that of several tokens.
    """
    alternatives = entry.get("top_logprobs", entry.get("top_probs", []))[:top]
    text, data = entry["token"], entry["bytes"]
    if piece is not None and (own := piece(entry["id"])):
        with suppress(UnicodeDecodeError):  # the end of a character, which llama-server reports as a whole
            text, data = own.decode(), list(own)
    return {
        "token": text,
        "bytes": data,
        "logprob": _value(entry),
        "top_logprobs": [
            {"token": t["token"], "bytes": t["bytes"], "logprob": _value(t)} for t in alternatives
        ],
    }


def _value(item: dict[str, Any]) -> float | None:
    from math import log

    if "logprob" in item:
        return None if item["logprob"] is None else float(item["logprob"])
    return log(item["prob"]) if item["prob"] > 0 else _NEVER


def completion_logprobs(entries: Sequence[dict[str, Any]], offset: int) -> dict[str, Any]:
    """OpenAI's older form: parallel lists over the tokens.

    Args:
        entries: Tokens as :func:`chat_logprob` gives them. One without a log-probability (the first of a
            prompt) has null in its place.
        offset: Where the first token begins, in characters from the beginning of the prompt.
    """
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "text_offset": offsets,
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [None if entry["logprob"] is None else _top(entry) for entry in entries],
    }


def _top(entry: dict[str, Any]) -> dict[str, float]:
    """The likeliest tokens and the one chosen. Several tokens may have one text: the likeliest counts."""
    top: dict[str, float] = {}
    for other in (*entry["top_logprobs"], entry):
        top.setdefault(other["token"], other["logprob"])
    return top


def mean_logprob(entries: Iterable[dict[str, Any]]) -> float:
    """How likely an answer is, per token; -inf for an empty one."""
    values = [entry["logprob"] for entry in entries if entry["logprob"] is not None]
    return sum(values) / len(values) if values else float("-inf")
