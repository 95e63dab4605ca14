"""One conversation through the model's template, tried in the forms that templates know."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.plan import Plan, TemplateRefusedError
from llamacpp_core.errors import InvalidMessageError
from llamacpp_core.request.history import calls_apart, merged, plain, short_call_ids

__all__ = ["Rendering", "format_key"]

# What reasoning_effort becomes where a template knows fewer levels.
_EFFORTS = {"minimal": "low", "medium": "high", "xhigh": "high"}


class Rendering:
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

    def with_tools(self, tools: str) -> Rendering:
        """A request with the same settings to find out about the template."""
        fmt = {
            "chat_template_kwargs": self._head["format"]["chat_template_kwargs"],
            "reasoning_format": "deepseek",
        }
        head = {name: self._head[name] for name in ("kwargs", "enable_thinking")}
        head |= {"format": fmt, "format_key": format_key(fmt, tools), "native_calls": bool(tools)}
        return Rendering(self._engine, head, tools)

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


def format_key(fmt: Mapping[str, Any], tools: str) -> str:
    """Tells a format with its tools from others."""
    text = json.dumps(fmt, sort_keys=True, default=str)
    return hashlib.sha1(f"{text}\n{tools}".encode(), usedforsecurity=False).hexdigest()
