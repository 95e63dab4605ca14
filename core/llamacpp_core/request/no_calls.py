"""Answers that must not call a tool, after turns that did: a model likes to go on in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.request.call_probe import CallForm
from llamacpp_core.response.tool_calls import CALL_OPEN

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["called_names", "fields_without_calls", "openings"]


def called_names(messages: Any) -> list[str]:
    """The names of the tools that a conversation has called."""
    calls: list[Any] = []
    for message in messages if isinstance(messages, Sequence) else ():
        if isinstance(message, Mapping):
            calls += [call.get("function") for call in message.get("tool_calls") or ()]
            calls.append(message.get("function_call"))
    return sorted({str(call["name"]) for call in calls if isinstance(call, Mapping) and "name" in call})


def openings(form: CallForm | None, names: Sequence[str]) -> tuple[str, ...]:
    """The texts with which a call can begin.

    Args:
        form: How the template writes calls; None for our own form.
        names: The tools that the conversation has called, for forms whose calls begin like other text.
    """
    if form is None:
        return (CALL_OPEN,)
    if form.triggers:
        return tuple(dict.fromkeys(stripped for word in form.triggers if (stripped := word.strip())))
    return tuple(form.head + name for name in names) if form.head else ()


def fields_without_calls(words: Sequence[str], vocab: Vocabulary, bias: Sequence[Any]) -> dict[str, Any]:
    """The fields of a request that keep some texts out of its answer.

    Args:
        words: The texts. One that is a single token is banned; a grammar leaves the others out.
        vocab: The model's vocabulary.
        bias: The ``logit_bias`` that the request has.
    """
    from llamacpp_core.grammar.without import text_without_gbnf

    tokens = {word: vocab.tokenize(word, add_special=False, parse_special=True) for word in words}
    banned = {ids[0] for ids in tokens.values() if len(ids) == 1}
    fields: dict[str, Any] = {}
    if banned:
        kept = [pair for pair in bias if pair[0] not in banned]
        fields["logit_bias"] = [*kept, *([token, False] for token in sorted(banned))]
    if rest := tuple(word for word in words if len(tokens[word]) > 1):
        fields |= {
            "grammar": text_without_gbnf(rest),
            "grammar_type": "user",
            "grammar_lazy": False,
            "grammar_triggers": None,
        }
    return fields
