r"""How a template begins an answer: what comes between the prompt, the model's reasoning and its text.

No template says that, so it is found out: short conversations are rendered with and without an answer, and
the results are compared. With Qwen3's template, the three renderings are these. The prompt for an answer to
"Hello"::

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant

The same conversation with the answer "Qz7answer", a word that no template contains::

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    <think>

    </think>

    Qz7answer<|im_end|>

And with the reasoning "Qz7reasoning" before the answer::

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    <think>
    Qz7reasoning
    </think>

    Qz7answer<|im_end|>

So the opening of this template is:

``text`` is ``<think>\n\n</think>\n\n``
    From the second: what is between the prompt and the answer.
``reasoning`` is ``<think>\n``
    From the third: what is between the prompt and the reasoning.
``close`` is ``\n</think>\n\n``
    From the third: what is between the reasoning and the answer.
``ends`` is ``("</think>",)``
    The tags that llama.cpp has found in the template.

A forced call is written after the prompt and ``text``: the model cannot reason first. With
``enable_thinking=False`` the prompt itself ends with ``<think>\n\n</think>\n\n``; then ``text`` is empty and
``reasoning`` is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from llamacpp_core.errors import LlamaCppError
from llamacpp_core.response.parsers import Tags

__all__ = ["Opening", "common_length", "find_opening", "is_open"]

_TEXT, _REASONING = "Qz7answer", "Qz7reasoning"
_QUESTION = {"role": "user", "content": "Hello"}
_ANSWER = {"role": "assistant", "content": _TEXT}
# The three names that templates have for it.
_REASONED = _ANSWER | {"reasoning_content": _REASONING, "reasoning": _REASONING, "thinking": _REASONING}
_MARKER = re.compile(r"\s*(<[^<>]+>|\[[^\[\]]+\])")

Render = Callable[[list[dict[str, Any]], bool], str]


class Opening(NamedTuple):
    """What to append to a prompt that ends where an answer begins.

    Attributes:
        text: Lets the answer's text begin at once, without reasoning.
        reasoning: Lets the reasoning begin; None where the template has no place for it.
        close: Leads from the reasoning to the answer's text.
        ends: The texts with which the model ends its reasoning.
    """

    text: str
    reasoning: str | None
    close: str
    ends: tuple[str, ...]


def is_open(text: str, tags: Tags | None) -> bool:
    """Whether a prompt ends inside a reasoning section."""
    if tags is None or not tags.start:
        return False
    at = text.rfind(tags.start)
    return at >= 0 and not any(end in text[at + len(tags.start) :] for end in tags.ends)


def find_opening(render: Render, tags: Tags | None) -> Opening:
    """Reads off a template how its answers begin.

    Args:
        render: Renders messages, with or without the prompt for an answer.
        tags: How the template marks reasoning, as far as llama.cpp found out.
    """
    prompt = render([_QUESTION], True)
    plain = _before(_try(render, [_QUESTION, _ANSWER]), _TEXT)
    reasoned = _before(_try(render, [_QUESTION, _REASONED]), _TEXT)
    before = between = None
    if reasoned is not None and _REASONING in reasoned:
        before, _, between = reasoned.rpartition(_REASONING)
    head = prompt[common_length(render([_QUESTION], False), prompt) :]
    inside = is_open(head, tags)
    text = _text_opening(prompt, plain, before, between, tags, inside)
    reasoning = _reasoning_opening(prompt, before, tags, inside, closed=_is_closed(head, tags))
    ends = (*tags.ends, *tags.calls) if tags is not None else ()
    if not ends and between and (found := _MARKER.match(between)):
        ends = (found[1],)
    if not ends:
        reasoning = None
    close = between if between is not None else _close(prompt, plain, tags)
    return Opening(text, reasoning, close, ends)


def _try(render: Render, messages: list[dict[str, Any]]) -> str | None:
    try:
        return render(messages, False)
    except LlamaCppError:
        return None  # this template has no such messages


def _before(text: str | None, marker: str) -> str | None:
    at = text.rfind(marker) if text is not None else -1
    return None if text is None or at < 0 else text[:at]


def _is_closed(head: str, tags: Tags | None) -> bool:
    return tags is not None and any(end in head for end in tags.ends)


def common_length(one: str, other: str) -> int:
    """How long two texts are the same, up to a border between tags."""
    size = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        size += 1
    start = max(other.rfind("<", 0, size), other.rfind("[", 0, size))
    inside = start >= 0 and not any(end in other[start:size] for end in ">]")
    return start if inside else size


def _text_opening(
    prompt: str, plain: str | None, before: str | None, between: str | None, tags: Tags | None, inside: bool
) -> str:
    if plain is not None and plain.startswith(prompt):
        text = plain[len(prompt) :]
    elif before is not None and between is not None and before.startswith(prompt):
        return before[len(prompt) :] + between
    elif plain is not None and not inside:
        rest = plain[common_length(prompt, plain) :]
        text = "" if _is_closed(rest, tags) or prompt.endswith(rest) else rest
    else:
        text = ""
    if inside and tags is not None and not _is_closed(text, tags):
        text = between if between is not None else f"\n{tags.ends[0]}\n\n"
    return text.rstrip(" ")


def _reasoning_opening(
    prompt: str, before: str | None, tags: Tags | None, inside: bool, *, closed: bool
) -> str | None:
    if inside:
        return ""
    if closed:
        return None  # the template has decided against it
    if before is not None and before.startswith(prompt):
        return before[len(prompt) :]
    return tags.start if tags is not None and tags.start else None


def _close(prompt: str, plain: str | None, tags: Tags | None) -> str:
    """For templates that do not show reasoning beside an answer."""
    if tags is None:
        return ""
    rest = "" if plain is None else plain[common_length(prompt, plain) :]
    if rest.strip() and not _is_closed(rest, tags):
        return tags.ends[0] + rest
    return f"\n{tags.ends[0]}\n\n" if tags.ends[0].startswith("</") else tags.ends[0]
