"""From a checked conversation to a planned prompt, in the way that the model's template can take it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.plan import Plan, TemplateRefusedError
from llamacpp_core.errors import InvalidMessageError, LlamaCppError
from llamacpp_core.request.call_probe import PROBE_TOOL, CallForm, own_call, probe_calls
from llamacpp_core.request.history import as_text, calls_apart, merged, plain, short_call_ids
from llamacpp_core.request.openings import Opening, find_opening, is_open
from llamacpp_core.response.parsers import Tags

__all__ = ["Begin", "ChatPlanner", "FormatInfo", "PlannedChat", "reasoning_tags"]

_MAX_FORMATS = 64
_remembering = threading.Lock()
_PREFILL = "Qz7prefill"
_ENDS = "reasoning_budget_end_tags"
_QUESTION = {"role": "user", "content": "Hello"}
# What reasoning_effort becomes where a template knows fewer levels.
_EFFORTS = {"minimal": "low", "medium": "high", "xhigh": "high"}


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


class PlannedChat(NamedTuple):
    """A planned conversation.

    Attributes:
        plan: The plan.
        format: The format of the answer.
        begin: Where the answer begins, one of :class:`Begin`.
        opening: How the template begins answers; None with media.
        calls: How calls in the template's own form are read; None where none are planned for.
    """

    plan: Plan
    format: FormatInfo
    begin: str
    opening: Opening | None = None
    calls: CallForm | None = None


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
        self._formats: dict[str, FormatInfo] = {}
        self._openings: dict[str, Opening] = {}
        self._call_forms: dict[str, CallForm] = {}

    def reads_own_calls(self) -> bool:
        """Whether the template describes tools, and calls in its form can be read back."""
        native = self._engine.info
        caps = native["template_caps"]
        described = caps.get("supports_tools") and caps.get("supports_tool_calls")
        if not (described and native["has_decoder"] and native["has_memory"]):
            return False
        kwargs, think = self._kwargs({}, constrained=True)
        head = {"kwargs": kwargs, "enable_thinking": think}
        try:
            return self._calls(
                _Request(self._engine, head | {"format": self._format({}, kwargs, think)})
            ).works
        except LlamaCppError:
            return False

    def plan(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        shape: Mapping[str, Any],
        tools: str = "",
        native_calls: bool = False,
        parallel: bool = True,
        constrained: bool = False,
        safe: bool = True,
    ) -> PlannedChat:
        """Renders and tokenises a conversation.

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
        key = _key(fmt, tools if native_calls else "")
        head = {
            "kwargs": kwargs,
            "enable_thinking": think,
            "safe": safe,
            "add_generation_prompt": shape.get("add_generation_prompt", True),
            "format": fmt,
            "format_key": key,
            "native_calls": native_calls,
        }
        if any(_has_media(message) for message in messages):
            return self._plan_media(messages, head, key, tools if native_calls else "", constrained)
        request = _Request(self._engine, head, tools, has_effort=bool(shape.get("reasoning_effort")))
        conversation, prefill = _split_prefill(messages, shape)
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
        self, request: _Request, conversation: list[dict[str, Any]], prefill: str, native_calls: bool
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
        body = head["format"] | {"messages": list(messages)}
        if tools:
            body["tools"] = json.loads(tools)
        plan = self._engine.plan_chat({"media": body, "safe": head["safe"]})
        begin = Begin.TEXT if constrained else Begin.FREE
        return PlannedChat(plan, _format_info(plan, f"media {key}"), begin)

    def _finished(self, request: _Request, plan: Plan, begin: str, native_calls: bool) -> PlannedChat:
        calls = self._calls(request) if native_calls else None
        return PlannedChat(plan, self._info(plan), begin, self._opening(request), calls)

    def _info(self, plan: Plan) -> FormatInfo:
        key = plan.format
        known = self._formats.get(key)
        if known is None:
            known = _format_info(plan, key)
            _remember(self._formats, key, known)
        return known

    def _opening(self, request: _Request) -> Opening:
        known = self._openings.get(request.settings)
        if known is None:
            probe = request.with_tools("")
            known = find_opening(probe.prompt, self._info(probe.render([_QUESTION])).tags)
            _remember(self._openings, request.settings, known)
        return known

    def _calls(self, request: _Request) -> CallForm:
        known = self._call_forms.get(request.settings)
        if known is None:
            probe = request.with_tools(json.dumps([PROBE_TOOL]))
            plan = probe.render([_QUESTION])
            found = self._info(plan)
            opening = self._opening(request)
            texts = own_call(probe.prompt, opening, found.tags)
            known = probe_calls(plan, texts, opening, found.tags, found.triggers)
            _remember(self._call_forms, request.settings, known)
        return known

    def _kwargs(self, shape: Mapping[str, Any], constrained: bool) -> tuple[dict[str, Any], bool]:
        """The template's variables, and whether the model is to reason."""
        given = dict(shape.get("chat_template_kwargs") or {})
        kwargs = self._defaults | given
        effort = shape.get("reasoning_effort")
        budget = shape.get("reasoning_budget_tokens")
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
        self, shape: Mapping[str, Any], kwargs: dict[str, Any], think: bool, parallel: bool | None = None
    ) -> dict[str, Any]:
        """The part of the request that llama.cpp plans constraint and parser from."""
        fmt: dict[str, Any] = {
            "chat_template_kwargs": kwargs | {"enable_thinking": think},
            "reasoning_format": shape.get("reasoning_format", "deepseek"),
        }
        if "reasoning_budget_tokens" in shape:
            fmt["reasoning_budget_tokens"] = shape["reasoning_budget_tokens"]
        if parallel is not None:
            fmt |= {"tool_choice": "auto", "parallel_tool_calls": parallel}
        return fmt


class _Request:
    """One conversation's request to the native layer, tried in the forms that templates know."""

    def __init__(
        self, engine: Engine, head: dict[str, Any], tools: str = "", *, has_effort: bool = False
    ) -> None:
        self._engine = engine
        self._head = head
        self._tools = tools
        self._has_effort = has_effort

    @property
    def settings(self) -> str:
        """Names the settings that decide what the template writes around messages."""
        return json.dumps([self._head["kwargs"], self._head["enable_thinking"]], default=str)

    def with_tools(self, tools: str) -> _Request:
        """A request with the same settings to find out about the template."""
        fmt = {
            "chat_template_kwargs": self._head["format"]["chat_template_kwargs"],
            "reasoning_format": "deepseek",
        }
        head = {name: self._head[name] for name in ("kwargs", "enable_thinking")}
        head |= {"format": fmt, "format_key": _key(fmt, tools), "native_calls": bool(tools)}
        return _Request(self._engine, head, tools)

    def prompt(self, messages: list[dict[str, Any]], for_answer: bool) -> str:
        """The text of a prompt."""
        fields = {"add_generation_prompt": for_answer, "format": None}
        return str(self._plan(messages, fields).info["prompt"])

    def render(self, messages: list[dict[str, Any]], **fields: Any) -> Plan:
        """Renders the conversation as it is, or else in a form that says the same.

        Raises:
            InvalidMessageError: The template refuses every form.
        """
        refusal = ""
        for complete, form in _FORMS:
            try:
                return self._plan(form(messages), fields | {"complete": complete})
            except TemplateRefusedError as error:
                refusal = refusal or str(error)
                if self._lower_effort(refusal):
                    return self.render(messages, **fields)
        raise InvalidMessageError(
            f"the model's chat template refuses this conversation: {_reason(refusal)}", parameter="messages"
        )

    def _lower_effort(self, refusal: str) -> bool:
        kwargs = self._head["kwargs"]
        other = _EFFORTS.get(kwargs.get("reasoning_effort", "")) if self._has_effort else None
        if other is None or "reasoning_effort" not in refusal:
            return False
        kwargs["reasoning_effort"] = other
        self._head["format"]["chat_template_kwargs"]["reasoning_effort"] = other
        self._head["format_key"] = f"{self._head['format_key']} {other}"
        return True

    def _plan(self, messages: list[dict[str, Any]], fields: Mapping[str, Any]) -> Plan:
        return self._engine.plan_chat({"messages": messages} | self._head | dict(fields), self._tools)


def _same(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return messages


def _merged_short(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return merged(short_call_ids(messages))


def _split_short(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return calls_apart(short_call_ids(messages))


_Form = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
# How much has to come through (see lc_plan_chat), and in which form: the first that the template takes.
_FORMS: tuple[tuple[int, _Form], ...] = (
    *((2, form) for form in (_same, short_call_ids, merged, _merged_short, calls_apart, _split_short)),
    *((1, form) for form in (_same, short_call_ids, merged, _merged_short, plain)),
    *((0, form) for form in (_same, short_call_ids, merged, _merged_short, plain)),
)


def _reason(refusal: str) -> str:
    """The template's own words out of the message of llama.cpp's Jinja engine."""
    found = re.search(r"Jinja Exception: (.*)", refusal)
    return found[1] if found else refusal.strip().splitlines()[-1]


def _key(fmt: Mapping[str, Any], tools: str) -> str:
    text = json.dumps(fmt, sort_keys=True, default=str)
    return hashlib.sha1(f"{text}\n{tools}".encode(), usedforsecurity=False).hexdigest()


def _remember(cache: dict[str, Any], key: str, value: Any) -> None:
    with _remembering:
        if len(cache) >= _MAX_FORMATS:
            cache.pop(next(iter(cache)), None)
        cache[key] = value


def _has_media(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(part["type"] != "text" for part in content)


def _split_prefill(
    messages: Sequence[dict[str, Any]], shape: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], str | None]:
    """A last assistant message is the beginning of the answer, unless the caller says otherwise."""
    last = messages[-1]
    wanted = shape.get("continue_final_message", shape.get("add_generation_prompt", True))
    if last["role"] != "assistant" or last.get("tool_calls") or not wanted or len(messages) < 2:
        return list(messages), None
    return list(messages[:-1]), as_text(last["content"])
