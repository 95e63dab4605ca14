"""The tokens of an answer, coloured by how likely each was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llamacpp_core.display.markup import Html, escape, fragment, terminal_text
from llamacpp_core.errors import InvalidParameterError

__all__ = ["TokenChoice", "token_choices", "tokens_html", "visible"]

_NONE = (
    "the response holds no log-probabilities: ask for them with logprobs=True, top_logprobs=5 (chat) or "
    "logprobs=5 (completion)"
)


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """One token of an answer, and what else was likely in its place.

    Attributes:
        token: Its text.
        logprob: The natural logarithm of its probability; None for the first token of a prompt.
        alternatives: Texts and log-probabilities of the likeliest tokens there, the likeliest first; the
            chosen one is usually among them.
    """

    token: str
    logprob: float | None
    alternatives: tuple[tuple[str, float], ...] = ()

    @property
    def probability(self) -> float | None:
        """The probability, 0 to 1."""
        return None if self.logprob is None else math.exp(self.logprob)


def token_choices(
    response: Mapping[str, Any] | Sequence[Mapping[str, Any]], index: int = 0
) -> list[TokenChoice]:
    """The tokens of a response with log-probabilities.

    Args:
        response: A chat or text completion, whole, or the chunks of a streamed one.
        index: Which answer, of several.

    Raises:
        InvalidParameterError: It holds no log-probabilities, or no such answer.
    """
    several = isinstance(response, Iterable) and not isinstance(response, Mapping)
    responses: Any = response if several else [response]
    out: list[TokenChoice] = []
    found = False
    for one in responses:
        if not isinstance(one, Mapping) or "choices" not in one:
            raise InvalidParameterError(
                "response must be what create_chat_completion or create_completion returns",
                parameter="response",
            )
        for choice in one["choices"]:
            if choice.get("index") == index:
                found = True
                out += _entries(choice.get("logprobs") or {})
    if not found:
        raise InvalidParameterError(f"the response has no answer with index={index}", parameter="index")
    if not out:
        raise InvalidParameterError(_NONE, parameter="response")
    return out


def _entries(logprobs: Mapping[str, Any]) -> list[TokenChoice]:
    if "content" in logprobs:
        return [
            TokenChoice(
                entry["token"],
                entry["logprob"],
                tuple((top["token"], top["logprob"]) for top in entry.get("top_logprobs") or ()),
            )
            for entry in logprobs["content"] or ()
        ]
    tokens = logprobs.get("tokens") or ()
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return (
        [
            TokenChoice(token, logprob, tuple(sorted((top or {}).items(), key=lambda item: -item[1])))
            for token, logprob, top in zip(tokens, logprobs["token_logprobs"], tops, strict=True)
        ]
        if tokens
        else []
    )


def tokens_html(response: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, index: int = 0) -> Html:
    """The tokens of an answer as a strip coloured by probability, with the alternatives on hover.

    Args:
        response: As for :func:`token_choices`.
        index: Which answer, of several.

    Raises:
        InvalidParameterError: It holds no log-probabilities, or no such answer.
    """
    tokens = token_choices(response, index)
    rows = max(len(_ranked(token)) for token in tokens)
    known = [token.logprob for token in tokens if token.logprob is not None]
    first = tokens[[token.logprob for token in tokens].index(min(known))] if known else None
    strip = "".join(_token(token, first is token) for token in tokens)
    body = (
        f'<div class="lcpp-dim">{escape(_summary(tokens))}</div>'
        f'<div class="lcpp-strip" style="padding-bottom:{1.4 * rows + 0.7:.1f}em">'
        f'<div class="lcpp-toks" dir="auto">{strip}</div></div>'
        f'<div class="lcpp-dim">unlikely<span class="lcpp-scale"></span>likely'
        f"{' &middot; point at a token to see what else was likely' if rows > 1 else ''}</div>"
    )
    return fragment(body, _plain(tokens))


def _summary(tokens: list[TokenChoice]) -> str:
    known = [token.logprob for token in tokens if token.logprob is not None]
    if not known:
        return f"{len(tokens)} tokens"
    mean = sum(known) / len(known)
    return (
        f"{len(tokens)} tokens · perplexity {math.exp(min(-mean, 700)):.3g} · "
        f"least likely {_percent(math.exp(min(known)))}"
    )


def _percent(probability: float) -> str:
    percent = 100 * probability
    return f"{percent:.0f}%" if percent >= 99.5 else f"{percent:.1f}%" if percent >= 0.1 else "<0.1%"


def _colour(probability: float | None) -> str:
    """Orange below one half, blue above, the stronger the further away."""
    if probability is None:
        return "none"
    if probability < 0.5:
        return f"rgba(var(--l-low),{0.75 * (1 - 2 * probability):.2f})"
    return f"rgba(var(--l-high),{0.45 * (2 * probability - 1):.2f})"


def _ranked(token: TokenChoice) -> list[tuple[str, float]]:
    """The alternatives and the chosen token, likeliest first."""
    rows = list(token.alternatives)
    if token.logprob is not None and all(text != token.token for text, _ in rows):
        rows.append((token.token, token.logprob))
    return sorted(rows, key=lambda row: -row[1])


def visible(token: str) -> str:
    """A token's text with white space that can be seen."""
    if not token:
        return "(no text)"  # a control token, such as the one that ends an answer
    shown = token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    lead, trail = len(shown) - len(shown.lstrip(" ")), len(shown) - len(shown.rstrip(" "))
    if lead == len(shown):
        return "␣" * lead
    return "␣" * lead + shown[lead : len(shown) - trail] + "␣" * trail


def _token(token: TokenChoice, first: bool) -> str:
    text = escape(token.token or "∎").replace("\n", "↵\n").replace("\t", "⇥\t")
    rows = []
    for text_of, logprob in _ranked(token):
        probability = math.exp(logprob)
        chosen = text_of == token.token
        name = f"<b>{escape(visible(text_of))}</b>" if chosen else escape(visible(text_of))
        low = " lcpp-low" if probability < 0.5 else ""
        rows.append(
            f"<span>{name}</span>"
            f'<span class="lcpp-track"><span class="lcpp-bar{low}" style="width:{100 * probability:.1f}%">'
            f"</span></span><span>{escape(_percent(probability))}</span>"
            f"<span>{'chosen' if chosen else ''}</span>"
        )
    panel = f'<span class="lcpp-alt" hidden>{"".join(rows)}</span>' if rows else ""
    more = " lcpp-first" if first else ""
    return (
        f'<span class="lcpp-tok{more}" style="background:{_colour(token.probability)}">{text}{panel}</span>'
    )


def _plain(tokens: list[TokenChoice]) -> str:
    width = min(24, max(len(visible(token.token)) for token in tokens))
    lines = [_summary(tokens)]
    for token in tokens:
        others = "  ".join(
            f"{visible(text)} {_percent(math.exp(logprob))}"
            for text, logprob in _ranked(token)
            if text != token.token
        )
        chance = "" if token.probability is None else _percent(token.probability)
        lines.append(f"{visible(token.token):<{width}} {chance:>6}  {others}".rstrip())
    return terminal_text("\n".join(lines))
