"""From a checked conversation to a planned prompt, in the way that the model's template can take it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.kept import Kept
from llamacpp_core.engine.plan import Plan
from llamacpp_core.errors import InvalidMessageError, LlamaCppError
from llamacpp_core.request.call_probe import PROBE_TOOL, CallForm, own_call, probe_calls
from llamacpp_core.request.chat_settings import PromptShape
from llamacpp_core.request.history import as_text
from llamacpp_core.request.openings import Opening, find_opening, is_open
from llamacpp_core.request.rendering import Rendering, format_key
from llamacpp_core.response.choice import OutputParser
from llamacpp_core.response.parsers import Tags

__all__ = [
    "Begin",
    "ChatPlanner",
    "FormatInfo",
    "GivenPrompt",
    "PlannedChat",
    "has_media",
    "reasoning_tags",
    "split_prefill",
]

_MAX_FORMATS = 64
_PREFILL = "Qz7prefill"
_ENDS = "reasoning_budget_end_tags"
_QUESTION = {"role": "user", "content": "Hello"}


class Begin:
    """Where an answer begins: as the template has it, with its text, or with its reasoning."""

    FREE, TEXT, REASONING = "free", "text", "reasoning"


class FormatInfo(NamedTuple):
    """What is known about a template's format of answers.

    Attributes:
        key: Tells the format, with these tools and settings, from others.
        tags: How reasoning is marked, and whether the prompt opens it; None where it is not.
        triggers: The texts that begin a call; None where the format gives patterns instead.
        preserved: Control tokens that are part of the format, by their text.
        stops: Texts that end an answer.
        closed: The prompt holds a reasoning section that has ended.
    """

    key: str
    tags: Tags | None
    triggers: tuple[str, ...] | None
    preserved: tuple[str, ...]
    stops: tuple[str, ...]
    closed: bool


class GivenPrompt(NamedTuple):
    """A prompt that a formatter wrote.

    Attributes:
        text: The prompt.
        stops: Texts that end an answer.
        criteria: Functions of (token ids so far, logits) that say whether to stop.
        new_parser: Makes the parser of an answer with calls in the format's own syntax; None for plain text.
    """

    text: str
    stops: tuple[str, ...]
    criteria: tuple[Callable[[Any, Any], bool], ...]
    new_parser: Callable[[], OutputParser] | None


class PlannedChat(NamedTuple):
    """A planned conversation.

    Attributes:
        plan: The plan.
        format: The format of the answer.
        begin: Where the answer begins, one of :class:`Begin`.
        opening: How the template begins answers; None with media.
        calls: How calls in the template's own form are read; None where none are planned for.
        given: What a formatter wrote; None where the engine's template did.
    """

    plan: Plan
    format: FormatInfo
    begin: str
    opening: Opening | None = None
    calls: CallForm | None = None
    given: GivenPrompt | None = None

    @property
    def text(self) -> str:
        """The prompt's text."""
        return str(self.plan.info["prompt"]) if self.given is None else self.given.text


def reasoning_tags(info: Mapping[str, Any]) -> Tags | None:
    """The tags around reasoning in a plan's fields, and whether the answer begins inside."""
    found = tuple(dict.fromkeys(end.strip() for end in info.get(_ENDS) or ()))
    start = info.get("reasoning_budget_start_tag") or ""
    if not found:
        return None
    # Beside the tags that close it there can be those that begin a call.
    ends = tuple(end for end in found if "/" in end) or found
    tags = Tags(start, ends, False, tuple(end for end in found if end not in ends))
    return tags._replace(is_open=is_open(info.get("generation_prompt") or "", tags))


def _format_info(plan: Plan, key: str) -> FormatInfo:
    info = plan.info
    triggers = info.get("grammar_triggers") or ()
    words = tuple(t["value"] for t in triggers) if all(t["type"] in (0, 1) for t in triggers) else ()
    tags, prompt = reasoning_tags(info), info.get("generation_prompt") or ""
    return FormatInfo(
        key,
        tags,
        words or None,
        tuple(info.get("preserved_tokens") or ()),
        tuple(info.get("stop") or ()),
        closed=tags is not None and any(end in prompt for end in tags.ends),
    )


class ChatPlanner:
    """Plans conversations for one loaded model.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._defaults: dict[str, Any] = engine.info["template_kwargs"]
        self._thinks: bool = engine.info["enable_thinking"]
        self._formats: Kept[str, FormatInfo] = Kept(_MAX_FORMATS)
        self._openings: Kept[str, Opening] = Kept(_MAX_FORMATS)
        self._call_forms: Kept[str, CallForm] = Kept(_MAX_FORMATS)

    def reads_own_calls(self) -> bool:
        """Whether the template describes tools, and calls in its form can be read back."""
        native = self._engine.info
        caps = native["template_caps"]
        described = caps.get("supports_tools") and caps.get("supports_tool_calls")
        if not (described and native["has_decoder"] and native["has_memory"]):
            return False
        try:
            return self.own_calls().works
        except LlamaCppError:
            return False

    def own_calls(self) -> CallForm:
        """How the template writes calls."""
        shape = PromptShape()
        kwargs, think = self._kwargs(shape, constrained=True)
        head = {"kwargs": kwargs, "enable_thinking": think, "format": self._format(shape, kwargs, think)}
        return self._calls(Rendering(self._engine, head))

    def plan(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        shape: PromptShape,
        tools: str = "",
        native_calls: bool = False,
        parallel: bool = True,
        constrained: bool = False,
        safe: bool = True,
    ) -> PlannedChat:
        """Renders and tokenizes a conversation.

        Args:
            messages: The checked conversation.
            shape: Arguments of the call that shape the prompt.
            tools: JSON text of the tools for the template to describe; empty for none.
            native_calls: Plan for calls in the template's own format.
            parallel: Whether one answer may hold several calls.
            constrained: A constraint holds from the first token of the answer's text on: no reasoning unless
                it was asked for, and then the constraint begins after it.
            safe: The caller's text cannot become control tokens.

        Raises:
            InvalidMessageError: The template refuses the conversation in every form we know.
        """
        kwargs, think = self._kwargs(shape, constrained)
        fmt = self._format(shape, kwargs, think, parallel if native_calls else None)
        key = format_key(fmt, tools if native_calls else "")
        head = {
            "kwargs": kwargs,
            "enable_thinking": think,
            "safe": safe,
            "add_generation_prompt": shape.add_generation_prompt,
            "format": fmt,
            "format_key": key,
            "native_calls": native_calls,
        }
        if any(has_media(message) for message in messages):
            return self._plan_media(messages, head, key, tools if native_calls else "", constrained)
        request = Rendering(self._engine, head, tools, has_effort=shape.reasoning_effort is not None)
        conversation, prefill = split_prefill(messages, shape)
        if prefill is not None:
            return self._plan_prefilled(request, conversation, prefill, native_calls)
        if not constrained:
            return self._finished(request, request.render(conversation), Begin.FREE, native_calls)
        opening = self._opening(request)
        if think and opening.reasoning is not None:
            plan = request.render(conversation, append=opening.reasoning)
            return self._finished(request, plan, Begin.REASONING, native_calls)
        plan = request.render(conversation, append=opening.text)
        return self._finished(request, plan, Begin.TEXT, native_calls)

    def _plan_prefilled(
        self, request: Rendering, conversation: list[dict[str, Any]], prefill: str, native_calls: bool
    ) -> PlannedChat:
        """A prompt that ends inside the assistant's message."""
        last = {"role": "assistant", "content": _PREFILL}
        try:
            plan = request.render(
                [*conversation, last], add_generation_prompt=False, cut_at=_PREFILL, prefill=prefill
            )
            if not is_open(plan.info["prompt"].removesuffix(prefill)[-200:], self._info(plan).tags):
                return self._finished(request, plan, Begin.TEXT, native_calls)
        except InvalidMessageError:
            pass  # a template that wants a user's message last
        plan = request.render(conversation, append=self._opening(request).text, prefill=prefill)
        return self._finished(request, plan, Begin.TEXT, native_calls)

    def _plan_media(
        self,
        messages: Sequence[dict[str, Any]],
        head: dict[str, Any],
        key: str,
        tools: str,
        constrained: bool,
    ) -> PlannedChat:
        """Only the server core can take media apart, so it renders the conversation, too."""
        body = head["format"] | {"messages": [_with_data_urls(message) for message in messages]}
        if tools:
            body["tools"] = json.loads(tools)
        plan = self._engine.plan_chat({"media": body, "safe": head["safe"]})
        begin = Begin.TEXT if constrained else Begin.FREE
        return PlannedChat(plan, _format_info(plan, f"media {key}"), begin)

    def _finished(self, request: Rendering, plan: Plan, begin: str, native_calls: bool) -> PlannedChat:
        calls = self._calls(request) if native_calls else None
        return PlannedChat(plan, self._info(plan), begin, self._opening(request), calls)

    def _info(self, plan: Plan) -> FormatInfo:
        key = plan.format
        return self._formats.get(key, lambda: _format_info(plan, key))

    def _opening(self, request: Rendering) -> Opening:
        def find() -> Opening:
            probe = request.with_tools("")
            return find_opening(probe.prompt, self._info(probe.render([_QUESTION])).tags)

        return self._openings.get(request.settings, find)

    def _calls(self, request: Rendering) -> CallForm:
        def find() -> CallForm:
            probe = request.with_tools(json.dumps([PROBE_TOOL]))
            plan = probe.render([_QUESTION])
            found = self._info(plan)
            opening = self._opening(request)
            texts = own_call(probe.prompt, opening, found.tags)
            return probe_calls(plan, texts, opening, found.tags, found.triggers)

        return self._call_forms.get(request.settings, find)

    def _kwargs(self, shape: PromptShape, constrained: bool) -> tuple[dict[str, Any], bool]:
        """The template's variables, and whether the model is to reason."""
        given = shape.template_kwargs
        kwargs = self._defaults | dict(given)
        effort, budget = shape.reasoning_effort, shape.reasoning_budget_tokens
        asked = effort not in (None, "none") or given.get("enable_thinking") is True or (budget or 0) > 0
        if effort not in (None, "none"):
            kwargs["reasoning_effort"] = effort
        think = self._thinks and effort != "none" and budget != 0
        if "enable_thinking" in given:
            think = bool(given["enable_thinking"])
        elif constrained and not asked:
            think = False
        kwargs.pop("enable_thinking", None)
        return kwargs, think

    def _format(
        self, shape: PromptShape, kwargs: dict[str, Any], think: bool, parallel: bool | None = None
    ) -> dict[str, Any]:
        """The part of the request that llama.cpp plans constraint and parser from."""
        fmt: dict[str, Any] = {
            "chat_template_kwargs": kwargs | {"enable_thinking": think},
            "reasoning_format": shape.reasoning_format,
        }
        if shape.reasoning_budget_tokens is not None:
            fmt["reasoning_budget_tokens"] = shape.reasoning_budget_tokens
        if parallel is not None:
            fmt |= {"tool_choice": "auto", "parallel_tool_calls": parallel}
        return fmt


def has_media(message: Mapping[str, Any]) -> bool:
    """Whether a checked message holds an image or sound."""
    content = message["content"]
    return isinstance(content, list) and any(part["type"] != "text" for part in content)


def _with_data_urls(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose sounds are data URLs: llama.cpp takes base64 that begins with "http" for an address."""
    if not has_media(message):
        return message
    parts = []
    for part in message["content"]:
        if part["type"] == "input_audio":
            sound = part["input_audio"]
            url = f"data:audio/{sound['format']};base64,{sound['data']}"
            part = part | {"input_audio": sound | {"data": url}}
        parts.append(part)
    return message | {"content": parts}


def split_prefill(
    messages: Sequence[dict[str, Any]], shape: PromptShape
) -> tuple[list[dict[str, Any]], str | None]:
    """A last message of the assistant is the beginning of the answer where the caller says so."""
    last = messages[-1]
    if last["role"] != "assistant" or last.get("tool_calls") or not shape.prefills or len(messages) < 2:
        return list(messages), None
    return list(messages[:-1]), as_text(last["content"])
