r"""Whether the model's own format of calls can be parsed, and how cheaply.

A template shows how it writes a call of an earlier turn. That text, given to the parser that is to read the
model's calls, has to come out as the same call. With Qwen3's template and the tool ``find_places``, a
conversation in which the assistant has made the call ends with::

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    <think>

    </think>

    <tool_call>
    {"name": "find_places", "arguments": {"place": "Łódź (old \"town\")", "limit": 3}}
    </tool_call><|im_end|>

What follows the prompt, without the end that every answer has (``<|im_end|>``), is what the model would
write; :func:`own_call` also gives it without its last tags, since nobody says which of them the model
writes::

    <think>\n\n</think>\n\n<tool_call>\n{"name": ... "limit": 3}}\n</tool_call>
    <think>\n\n</think>\n\n<tool_call>\n{"name": ... "limit": 3}}

:func:`probe_calls` gives each of them to llama.cpp's parser until one comes out as the call of
``find_places`` with both arguments, and then to the cheaper reader that passes text on until
``<tool_call>\n``, the trigger that llama.cpp names for this format. Both work here: ``CallForm(works=True,
triggers=("<tool_call>\n",))``. The place has letters beyond ASCII, quotes and parentheses, because formats
that lose them are of no use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from llamacpp_core.engine.plan import Plan
from llamacpp_core.errors import LlamaCppError
from llamacpp_core.request.openings import Opening, common_length
from llamacpp_core.response.choice import OutputParser
from llamacpp_core.response.parsers import CallsAfterTrigger, NativeParser, Tags

__all__ = ["PROBE_TOOL", "CallForm", "own_call", "probe_calls"]

_NAME = "find_places"
_ARGUMENTS = {"place": 'Łódź (old "town")', "limit": 3}
PROBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Finds places.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["place", "limit"],
        },
    },
}
_CALL = {
    "id": "k7Bq2mX9p",
    "type": "function",
    "function": {"name": _NAME, "arguments": json.dumps(_ARGUMENTS, ensure_ascii=False)},
}
_QUESTION = {"role": "user", "content": "Hello"}
_ANSWER = {"role": "assistant", "content": "Qz7answer"}
_CALLING = {"role": "assistant", "content": None, "tool_calls": [_CALL]}
_MAX_END_TAGS = 6

Render = Callable[[list[dict[str, Any]], bool], str]


class CallForm(NamedTuple):
    """How answers with calls are read.

    Attributes:
        works: llama.cpp's parser reads the template's own calls.
        triggers: Content may be passed on without it until one of these comes; empty if it may not.
        start: Without triggers: a call can only be an answer that begins so; empty if that is not known.
        head: The text of a call up to the tool's name.
    """

    works: bool
    triggers: tuple[str, ...] = ()
    start: str = ""
    head: str = ""


def own_call(render: Render, opening: Opening, tags: Tags | None) -> list[str]:
    """The text with which the model would make the probe's call, without and with what may be its end.

    Args:
        render: Renders messages with the probe's tool, with or without the prompt for an answer.
        opening: How the template begins answers.
        tags: How it marks reasoning.
    """
    prompt = render([_QUESTION], True)
    calling = render([_QUESTION, _CALLING], False)
    heads = [""]
    if calling.startswith(prompt):
        text = calling[len(prompt) :]
    else:
        text = _without_repeated(calling[common_length(prompt, calling) :], prompt)
        text = _without_reasoning(text, tags)
        if tags is not None and tags.is_open:
            heads = [tags.ends[0], opening.text]
    try:
        plain = render([_QUESTION, _ANSWER], False)
        tail = plain[plain.rfind(str(_ANSWER["content"])) + len(str(_ANSWER["content"])) :]
        text = text.removesuffix(tail)
    except LlamaCppError:
        pass
    texts = [text.rstrip()]
    while len(texts) <= _MAX_END_TAGS and (shorter := _without_last_tag(texts[-1])):
        texts.append(shorter)
    return [head + text for text in texts for head in heads]


def _without_repeated(text: str, prompt: str) -> str:
    """The text without what the prompt ends with."""
    for size in range(min(len(text), len(prompt)), 0, -1):
        if text.startswith("<") and prompt.endswith(text[:size]):
            return text[size:]
    return text


def _without_reasoning(text: str, tags: Tags | None) -> str:
    """The text without an empty reasoning section at its beginning."""
    for end in tags.ends if tags is not None else ():
        head, found, rest = text.partition(end)
        if tags is not None and found and head.strip() in ("", tags.start):
            return rest
    return text


def _without_last_tag(text: str) -> str:
    at = text.rfind("<")
    return text[:at].rstrip() if at > 0 else ""


def probe_calls(
    plan: Plan, texts: list[str], opening: Opening, tags: Tags | None, triggers: tuple[str, ...] | None
) -> CallForm:
    """Finds out how calls in the template's own form can be read.

    Args:
        plan: A plan for the probe's tool.
        texts: What :func:`own_call` gave.
        opening: How the template begins answers.
        tags: How the template marks reasoning.
        triggers: The texts that begin a call, where the format knows them.
    """
    if not _reads_text(NativeParser(plan), f"{opening.text}Hello."):
        return CallForm(False)
    for text in texts:
        if not _reads(NativeParser(plan), [text]):
            continue
        primer = tags.ends[0] if tags is not None and tags.is_open else ""
        head = _without_reasoning(text, tags).partition(_NAME)[0].lstrip()
        if triggers is None:
            start = text.lstrip()[:1]
            return CallForm(True, start=start if start == "{" and not primer else "", head=head)
        for words in (triggers, (*triggers, *_leading_tag(_without_reasoning(text, tags), triggers))):
            if _reads(CallsAfterTrigger(plan, tags, words, primer), list(text)):
                return CallForm(True, words, head=head)
        return CallForm(True, head=head)
    return CallForm(False)


def _leading_tag(text: str, triggers: tuple[str, ...]) -> tuple[str, ...]:
    """A tag in front of the first trigger, which encloses several calls."""
    at = min((i for trigger in triggers if (i := text.find(trigger)) >= 0), default=0)
    lead = text[:at].strip()
    return (lead,) if lead.startswith("<") and lead.endswith(">") and lead.count("<") == 1 else ()


def _reads_text(parser: OutputParser, text: str) -> bool:
    """Whether an answer without calls comes through."""
    try:
        deltas = parser.feed(text) + parser.finish()
    except LlamaCppError:
        return False
    return "".join(delta.get("content") or "" for delta in deltas).strip() == "Hello."


def _reads(parser: OutputParser, pieces: list[str]) -> bool:
    """Whether a parser finds the probe's call in a text, and nothing else."""
    names, arguments, other = "", "", ""
    try:
        deltas = [delta for piece in pieces for delta in parser.feed(piece)] + parser.finish()
    except LlamaCppError:
        return False
    for delta in deltas:
        other += delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            names += call["function"].get("name") or ""
            arguments += call["function"].get("arguments") or ""
    try:
        return names == _NAME and json.loads(arguments) == _ARGUMENTS and not other.strip()
    except (ValueError, RecursionError):
        return False
