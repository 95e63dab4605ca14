"""What an answer may be, and how its text is read: the constraint and the parser of a chat request.

Where we force something (a call, a schema, a grammar) the grammar holds from the first token, or from the
end of the reasoning where that was asked for, and we read the text ourselves. Where the model is free, the
template's own format is read: by a linear splitter as long as only reasoning and content come, by
llama.cpp's parser from the first sign of a call on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from llamacpp_core.engine import Plan
from llamacpp_core.parsers import (
    CallsAfterTrigger,
    NativeParser,
    ReasoningSplitter,
    Tags,
    Then,
    splits_like_native,
)
from llamacpp_core.results import OutputParser
from llamacpp_core.tool_calls import CALL_CLOSE, CALL_OPEN, ForcedCallParser, TaggedCallParser

__all__ = ["AnswerFormat", "Constraint", "FreeFormats", "constrained", "reasoning_tags", "until_gbnf"]

#: How llama.cpp numbers the kinds of grammar triggers.
TRIGGER_TOKEN, TRIGGER_WORD = 0, 1


class Constraint(NamedTuple):
    """What an answer has to be.

    Attributes:
        gbnf: The grammar.
        tagged: The grammar admits calls between ``<tool_call>`` tags, beside other text.
        calls: The grammar admits calls and nothing else.
        lazy: The grammar holds only from the first ``<tool_call>`` on.
    """

    gbnf: str
    tagged: bool = False
    calls: bool = False
    lazy: bool = False


class AnswerFormat(NamedTuple):
    """The fields that constrain a request, and the parser of each of its answers; None for plain text."""

    fields: dict[str, Any]
    new_parser: Callable[[], OutputParser] | None


def reasoning_tags(info: Mapping[str, Any]) -> Tags | None:
    """The tags around reasoning in a template's format, and whether the answer begins inside."""
    ends = info.get("reasoning_budget_end_tags") or ()
    start = info.get("reasoning_budget_start_tag") or ""
    if not ends:
        return None
    prompt = info.get("generation_prompt") or ""
    at = prompt.rfind(start) if start else -1
    is_open = at >= 0 and not any(end in prompt[at:] for end in ends)
    return Tags(start, tuple(ends), is_open)


def until_gbnf(tag: str, rule: str) -> str:
    """Rules for any text that ends with the first occurrence of a tag.

    The automaton of Knuth, Morris and Pratt (1977), a rule for each of its states.
    """
    fail = [0] * len(tag)
    for i in range(1, len(tag)):
        k = fail[i - 1]
        while k and tag[i] != tag[k]:
            k = fail[k - 1]
        fail[i] = k + (tag[i] == tag[k])
    lines = []
    for state in range(len(tag)):
        moves: dict[str, int] = {}
        k = state
        while True:
            moves.setdefault(tag[k], k + 1)
            if not k:
                break
            k = fail[k - 1]
        ways = [
            f"{_literal(char)}" + (f" {rule}-{to}" if to < len(tag) else "") for char, to in moves.items()
        ]
        others = "".join(_in_class(char) for char in moves)
        ways.append(f"[^{others}] {rule}-0")
        lines.append(f"{rule}-{state} ::= {' | '.join(ways)}")
    return "\n".join([f"{rule} ::= {rule}-0", *lines])


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _in_class(char: str) -> str:
    return f"\\{char}" if char in "]\\^-[" else {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char, char)


def constrained(constraint: Constraint, tags: Tags | None, *, think: bool) -> AnswerFormat:
    """An answer that a grammar of ours holds.

    Args:
        constraint: What the answer has to be.
        tags: The template's reasoning tags.
        think: Let the model reason before the constraint begins.
    """
    gbnf = constraint.gbnf
    lazy = constraint.lazy
    if think and tags is not None and not lazy:
        answer = gbnf.replace("root ::=", "answer ::=", 1) if gbnf.startswith("root ::=") else None
        answer = answer or "\n".join(
            "answer" + line[4:] if line.startswith("root ") else line for line in gbnf.splitlines()
        )
        opening = "" if tags.is_open else f"{_literal(tags.start)} "
        gbnf = (
            f"{answer}\n{until_gbnf(tags.ends[0], 'reasoning')}\nroot ::= {opening}reasoning [ \\n]* answer"
        )
    fields: dict[str, Any] = {
        "grammar": gbnf,
        "grammar_type": "user",
        "grammar_lazy": lazy,
        "grammar_triggers": [{"type": TRIGGER_WORD, "value": CALL_OPEN}] if lazy else None,
        "chat_format": 0,
        "chat_parser": None,
        "generation_prompt": None,
    }
    if lazy or constraint.tagged:
        fields["preserved_tokens"] = [CALL_OPEN, CALL_CLOSE]

    def content() -> OutputParser | None:
        if constraint.calls:
            return ForcedCallParser()
        return TaggedCallParser() if constraint.tagged or lazy else None

    if tags is not None and (think or lazy):
        return AnswerFormat(fields, lambda: Then(ReasoningSplitter(tags), content()))
    return AnswerFormat(fields, content if content() is not None else None)  # type: ignore[arg-type]


class FreeFormats:
    """Chooses parsers for free answers, remembering what was found out about each format."""

    def __init__(self) -> None:
        self._linear: dict[str, bool] = {}

    def free(self, plan: Plan, info: Mapping[str, Any], *, has_tools: bool, key: str) -> AnswerFormat:
        """An answer in the template's own format.

        Args:
            plan: The planned request.
            info: The plan's fields.
            has_tools: Whether the model may call tools in its own format.
            key: Tells the format from others.
        """
        tags = reasoning_tags(info)
        if key not in self._linear:
            self._linear[key] = splits_like_native(plan, tags)
        if not self._linear[key]:
            return AnswerFormat({}, lambda: NativeParser(plan))
        if not has_tools:
            return AnswerFormat({}, None if tags is None else lambda: ReasoningSplitter(tags))
        triggers = _trigger_words(info)
        if triggers is None:
            return AnswerFormat({}, lambda: NativeParser(plan))
        return AnswerFormat({}, lambda: CallsAfterTrigger(plan, tags, triggers))


def _trigger_words(info: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The texts that begin a call, or None where the format gives patterns instead."""
    triggers = info.get("grammar_triggers") or ()
    if not triggers or any(t["type"] not in (TRIGGER_TOKEN, TRIGGER_WORD) for t in triggers):
        return None
    return tuple(t["value"] for t in triggers)
