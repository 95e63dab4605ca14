r"""What an answer may be, and how its text is read: the constraint and the parser of a chat request.

Where we force something (a call, a schema, a grammar), our grammar applies from the first token of the
answer's text, and we parse that ourselves. Where the model is free, the template's own format is parsed: by
a linear splitter as long as only reasoning and content come, by llama.cpp's parser from the first sign of a
call on.

With Qwen3's template, whose reasoning begins with ``<think>`` and whose calls begin with ``<tool_call>\n``:

``tool_choice="required"``
    Our grammar, after ``<think>\n\n</think>\n\n``; ``ForcedCallParser`` reads ``{"name": "add",
    "arguments": ...``
The same, with reasoning asked for
    Our grammar after the reasoning's end; ``ReasoningSplitter``, then ``ForcedCallParser``.
``response_format`` with a schema
    Our grammar from the first token on; ``WholeJson``.
Tools and ``tool_choice="auto"``
    llama.cpp's grammar from ``<tool_call>\n`` on; ``CallsAfterTrigger`` passes text on until that comes.
No tools
    No grammar; ``ReasoningSplitter`` looks for ``</think>``.

So "I'm Qwen." streams through the splitter piece by piece, and only an answer with ``<tool_call>\n`` reaches
llama.cpp's parser, which reads everything again for each piece. Whether the splitter gives what llama.cpp's
parser would is tried out once per format, on answers as the template itself writes them:
``<think>\n\n</think>\n\nHello.`` and ``<think>\nFirst.\n</think>\n\nHello.``
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llamacpp_core.engine.kept import Kept
from llamacpp_core.request.constraints import Constraint
from llamacpp_core.request.template import Begin, PlannedChat
from llamacpp_core.response.choice import OutputParser
from llamacpp_core.response.parsers import (
    CallsAfterTrigger,
    CallsAtStart,
    NativeParser,
    ReasoningSplitter,
    Tags,
    Then,
    WholeJson,
    splits_like_native,
)
from llamacpp_core.response.tool_calls import CALL_CLOSE, CALL_OPEN, ForcedCallParser, TaggedCallParser

__all__ = ["AnswerFormat", "FreeFormats", "constrained", "possible_calls"]

#: llama.cpp's number for grammar triggers that are words.
TRIGGER_WORD = 1
_MAX_FORMATS = 256


class AnswerFormat(NamedTuple):
    """The fields that constrain a request, and the parser of each of its answers; None for plain text."""

    fields: dict[str, Any]
    new_parser: Callable[[], OutputParser] | None


def constrained(constraint: Constraint, planned: PlannedChat) -> AnswerFormat:
    """An answer that a grammar of ours holds from its first token on.

    Args:
        constraint: What the answer has to be.
        planned: The planned conversation.
    """
    fields = _grammar(constraint) | {
        "grammar_lazy": False,
        "grammar_triggers": None,
        # llama.cpp would force the end of a reasoning section in the middle of our constraint.
        "generation_prompt": None,
        "reasoning_budget_tokens": -1,
        "reasoning_budget_start_tag": "",
    }
    if constraint.tagged:
        fields["preserved_tokens"] = [*planned.format.preserved, CALL_OPEN, CALL_CLOSE]

    def content() -> OutputParser | None:
        if constraint.calls:
            return ForcedCallParser()
        if constraint.json:
            return WholeJson()
        return TaggedCallParser() if constraint.tagged else None

    if planned.begin == Begin.REASONING and planned.opening is not None:
        inside = Tags("", planned.opening.ends, is_open=True)
        return AnswerFormat(fields, lambda: Then(ReasoningSplitter(inside), content()))
    return AnswerFormat(fields, content if content() is not None else None)  # type: ignore[arg-type]


def possible_calls(constraint: Constraint, planned: PlannedChat, free: AnswerFormat) -> AnswerFormat:
    """A free answer that may hold calls in our own form; the constraint holds from their beginning on.

    Args:
        constraint: What calls have to be.
        planned: The planned conversation.
        free: How the answer is read without calls.
    """
    fields = _grammar(constraint) | {
        "grammar_lazy": True,
        "grammar_triggers": [{"type": TRIGGER_WORD, "value": CALL_OPEN}],
        "preserved_tokens": [*planned.format.preserved, CALL_OPEN, CALL_CLOSE],
    }
    outer = free.new_parser
    if outer is None:
        return AnswerFormat(fields, TaggedCallParser)
    return AnswerFormat(fields, lambda: Then(outer(), TaggedCallParser()))


def _grammar(constraint: Constraint) -> dict[str, Any]:
    return {"grammar": constraint.gbnf, "grammar_type": "user", "chat_format": 0, "chat_parser": None}


class FreeFormats:
    """Chooses parsers for free answers, remembering what was found out about each format."""

    def __init__(self) -> None:
        self._linear: Kept[str, bool] = Kept(_MAX_FORMATS)

    def free(self, planned: PlannedChat, *, has_tools: bool) -> AnswerFormat:
        """An answer in the template's own format.

        Args:
            planned: The planned conversation.
            has_tools: Whether the model may call tools in its own format.
        """
        plan, found, tags = planned.plan, planned.format, planned.format.tags
        primer = ""
        if planned.begin == Begin.TEXT:
            tags, primer = None, planned.opening.text if planned.opening is not None else ""
        elif found.closed:
            tags = None
        if not self._reads_linearly(planned, tags):
            return AnswerFormat({}, lambda: NativeParser(plan, primer))
        if not has_tools:
            return AnswerFormat({}, None if tags is None else lambda: ReasoningSplitter(tags))
        calls = planned.calls
        # Where the reasoning was open, the splitter has taken it out.
        after = tags.ends[0] if tags is not None and tags.is_open else primer
        if calls is not None and calls.triggers:
            triggers = _own_triggers(calls.triggers, found.triggers)
            return AnswerFormat({}, lambda: CallsAfterTrigger(plan, tags, triggers, after))
        if calls is not None and calls.start and tags is None:
            return AnswerFormat({}, lambda: CallsAtStart(plan, calls.start, primer))
        return AnswerFormat({}, lambda: NativeParser(plan, primer))

    def _reads_linearly(self, planned: PlannedChat, tags: Tags | None) -> bool:
        key = f"{planned.format.key} {planned.begin}"
        return self._linear.get(key, lambda: splits_like_native(planned.plan, tags, *_shown(planned, tags)))


def _own_triggers(probed: tuple[str, ...], here: tuple[str, ...] | None) -> tuple[str, ...]:
    """The triggers of this request's tools, and those that the probe has found beyond its own."""
    return tuple(dict.fromkeys((*(here or ()), *probed)))


def _shown(planned: PlannedChat, tags: Tags | None) -> list[str]:
    """Answers as the template itself would write them."""
    opening = planned.opening
    if opening is None or planned.begin == Begin.TEXT:
        return []
    if tags is not None and tags.is_open:
        return [f"First.{opening.close}Hello."]
    shown = [f"{opening.text}Hello."]
    if tags is not None and opening.reasoning is not None:
        shown.append(f"{opening.reasoning}First.{opening.close}Hello.")
    return shown
