"""Prompts that a formatter in Python writes, in place of the engine's chat template.

Everything else about the request is the same: messages and tools are checked, answers constrained and read as
for the engine's own prompts. A formatter may say more about itself in two attributes:

- ``expresses_tools``: whether it describes tools in its prompt and writes earlier calls and their results;
  True where it is missing. For one that does not, both are written into the messages.
- ``call_parser(names)``: makes the parser of calls in the format's own syntax; None, or missing, where calls
  stand between ``<tool_call>`` and ``</tool_call>``, which is the form that a grammar enforces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.written import mark_control_tokens, plan_written
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.chat_settings import ChatSettings
from llamacpp_core.request.sampling import stop_strings
from llamacpp_core.request.template import (
    Begin,
    FormatInfo,
    GivenPrompt,
    PlannedChat,
    has_media,
    split_prefill,
)
from llamacpp_core.response.choice import OutputParser

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["Formatted", "Formatter", "call_parser", "describes_tools", "plan_formatted"]

_FORMAT = FormatInfo("formatter", None, None, (), (), closed=False)


class Formatted(Protocol):
    """A prompt and the stops that belong to it: a ``ChatFormatterResponse``."""

    prompt: str
    stop: str | list[str] | None
    stopping_criteria: Callable[[Any, Any], bool] | None
    added_special: bool


class Formatter(Protocol):
    """Turns a conversation into a prompt: a ``ChatFormatter``."""

    def __call__(self, *, messages: list[Any], **kwargs: Any) -> Formatted:
        """The prompt of a conversation."""


def describes_tools(formatter: Formatter) -> bool:
    """Whether a formatter writes tools, calls and results by itself."""
    return bool(getattr(formatter, "expresses_tools", True))


def call_parser(formatter: Formatter) -> Callable[[Collection[str]], OutputParser] | None:
    """What makes the parser of calls in a formatter's own syntax; None where it has none."""
    return getattr(formatter, "call_parser", None)


def plan_formatted(
    engine: Engine,
    vocab: Vocabulary,
    formatter: Formatter,
    messages: Sequence[dict[str, Any]],
    settings: ChatSettings,
    *,
    tools: Sequence[dict[str, Any]],
    own_calls: bool,
    safe: bool,
) -> PlannedChat:
    """Lets a formatter write a prompt, and tokenizes it; names of control tokens in it become those tokens.

    Args:
        engine: The engine.
        vocab: The model's vocabulary.
        formatter: What writes the prompt.
        messages: The checked conversation.
        settings: What the call asks for.
        tools: The tools to describe.
        own_calls: Calls are read in the formatter's own syntax.
        safe: The caller's text cannot become control tokens.

    Raises:
        InvalidMessageError: The formatter cannot write the conversation.
        UnsupportedCapabilityError: A message holds an image or sound.
        InvalidParameterError: The formatter returns something else than a prompt.
    """
    for index, message in enumerate(messages):
        if has_media(message):
            raise UnsupportedCapabilityError(
                f"messages[{index}].content: a chat formatter writes text only, no images and no audio",
                parameter=f"messages[{index}].content",
            )
    shape = settings.shape
    conversation, prefill = split_prefill(messages, shape)
    variables = dict(shape.template_kwargs)
    if shape.reasoning_effort is not None:
        variables["reasoning_effort"] = shape.reasoning_effort
    if not shape.add_generation_prompt and prefill is None:
        variables["add_generation_prompt"] = False
    choice = None if not tools else "required" if settings.use.mode == "forced" else "auto"
    given = {"messages": conversation, "tools": list(tools) or None, **variables}

    def write(values: Any) -> Formatted:
        return _checked(formatter(tool_choice=choice, **values))

    formatted = write(given)
    prompt, prefill = formatted.prompt, prefill or ""
    add_bos = not formatted.added_special
    marked = _marked_prompt(engine, write, given, prompt, prefill) if safe else None
    if marked is None:
        tokens = vocab.tokenize(prompt + prefill, add_special=add_bos, parse_special=True)
        plan = engine.plan_tokens([tokens])
    else:
        plan = plan_written(engine, *marked, prefill=prefill, add_bos=add_bos)
    make = call_parser(formatter) if own_calls else None
    names = frozenset(tool["function"]["name"] for tool in tools)
    found = GivenPrompt(
        prompt + prefill,
        stops=tuple(stop_strings(formatted.stop or ())),
        criteria=() if formatted.stopping_criteria is None else (formatted.stopping_criteria,),
        new_parser=None if make is None else lambda: make(names),
    )
    return PlannedChat(plan, _FORMAT, Begin.FREE, given=found)


def _checked(formatted: Any) -> Formatted:
    if not isinstance(getattr(formatted, "prompt", None), str):
        raise InvalidParameterError(
            "a chat formatter must return a ChatFormatterResponse with a prompt, got "
            f"{type(formatted).__name__}",
            parameter="chat_format",
        )
    return formatted  # type: ignore[no-any-return]


def _marked_prompt(
    engine: Engine, write: Callable[[Any], Formatted], given: dict[str, Any], prompt: str, prefill: str
) -> tuple[str, str] | None:
    """The prompt with a mark in each control token of the caller's, and the mark; None where there are none.

    Tokens that the formatter looks for in the caller's text, as some do for the end of reasoning, keep their
    meaning: those with which it writes something else when they are marked.
    """
    text = json.dumps(given, ensure_ascii=False)
    mark = next(m for m in map(chr, range(0x10FFFD, 0x100000, -1)) if m not in text)
    marked, found = mark_control_tokens(engine, given, mark)
    if not found and not mark_control_tokens(engine, prefill, mark)[1]:
        return None

    def written(values: Any) -> str:
        return write(values).prompt.replace(json.dumps(mark)[1:-1], mark)

    first = written(marked)
    if first.replace(mark, "") == prompt:
        return first, mark

    def changes(token: str) -> bool:
        alone, _ = mark_control_tokens(engine, given, mark, [other for other in found if other != token])
        return written(alone).replace(mark, "") != prompt

    spared = [token for token in found if changes(token)]
    second = written(mark_control_tokens(engine, given, mark, spared)[0])
    return (second if second.replace(mark, "") == prompt else first), mark
