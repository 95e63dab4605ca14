"""From a checked conversation to a planned prompt, in the way that the model's template can take it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llamacpp_core.answer_format import reasoning_tags
from llamacpp_core.engine import Engine, Plan, TemplateRefusedError
from llamacpp_core.errors import InvalidMessageError
from llamacpp_core.info import ModelInfo
from llamacpp_core.tool_calls import CALL_CLOSE, CALL_OPEN

__all__ = ["ChatPlanner", "PlannedChat"]


class PlannedChat:
    """A plan, and what is known about its format.

    Attributes:
        plan: The plan.
        format_key: Tells the template's format, with these tools and settings, from others.
        think: Whether the model is asked to reason.
    """

    def __init__(self, plan: Plan, format_key: str, think: bool) -> None:
        self.plan = plan
        self.format_key = format_key
        self.think = think
        self._info: dict[str, Any] | None = None

    @property
    def info(self) -> dict[str, Any]:
        """The plan's fields."""
        if self._info is None:
            self._info = self.plan.info
        return self._info


class ChatPlanner:
    """Plans conversations for one loaded model."""

    def __init__(self, engine: Engine, info: ModelInfo) -> None:
        self._engine = engine
        self._info = info
        self._defaults: dict[str, Any] = engine.info["template_kwargs"]
        self._thinks: bool = engine.info["enable_thinking"]

    def plan(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        shape: Mapping[str, Any],
        tools: Sequence[dict[str, Any]] = (),
        native_calls: bool = False,
        parallel: bool = True,
        quiet: bool = False,
        safe: bool = True,
    ) -> PlannedChat:
        """Renders and tokenises a conversation.

        Args:
            messages: The checked conversation.
            shape: Arguments of the call that shape the prompt.
            tools: Tools for the template to describe.
            native_calls: Plan for calls in the template's own format.
            parallel: Whether one answer may hold several calls.
            quiet: No reasoning unless it was asked for: the answer has to begin at once.
            safe: The caller's text cannot become control tokens.

        Raises:
            InvalidMessageError: The template refuses the conversation in every form we know.
        """
        kwargs, think = self._kwargs(shape, quiet)
        fmt = self._format(shape, kwargs, think, tools if native_calls else (), parallel)
        key = json.dumps(fmt, sort_keys=True, default=str)
        if any(isinstance(message["content"], list) for message in messages):
            plan = self._engine.plan_chat({"media": fmt | {"messages": list(messages)}})
            return PlannedChat(plan, key, think)
        body: dict[str, Any] = {
            "tools": list(tools),
            "kwargs": kwargs,
            "enable_thinking": think,
            "safe": safe,
            "add_generation_prompt": shape.get("add_generation_prompt", True),
            "format": fmt,
        }
        conversation, prefill = _split_prefill(messages, shape)
        if prefill is not None:
            body |= {"prefill": prefill, "add_generation_prompt": True}
        planned = self._render(conversation, body, key, think)
        if (quiet or prefill is not None) and not think:
            tags = reasoning_tags(planned.info)
            if tags is not None and tags.is_open:
                # This template opens the reasoning whatever it is told: close it.
                body["append"] = f"\n{tags.ends[0]}\n\n"
                planned = self._render(conversation, body, key, think)
        return planned

    def _render(
        self, messages: list[dict[str, Any]], body: dict[str, Any], key: str, think: bool
    ) -> PlannedChat:
        refusal = ""
        for attempt in (lambda m: m, _merged, _plain):
            try:
                return PlannedChat(self._engine.plan_chat(body | {"messages": attempt(messages)}), key, think)
            except TemplateRefusedError as error:
                refusal = refusal or str(error)
        raise InvalidMessageError(
            f"the model's chat template refuses this conversation: {refusal}", parameter="messages"
        )

    def _kwargs(self, shape: Mapping[str, Any], quiet: bool) -> tuple[dict[str, Any], bool]:
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
        elif quiet and not asked:
            think = False
        kwargs.pop("enable_thinking", None)
        return kwargs, think

    def _format(
        self,
        shape: Mapping[str, Any],
        kwargs: dict[str, Any],
        think: bool,
        tools: Sequence[dict[str, Any]],
        parallel: bool,
    ) -> dict[str, Any]:
        """The part of the request that llama.cpp plans constraint and parser from."""
        fmt: dict[str, Any] = {
            "chat_template_kwargs": kwargs | {"enable_thinking": think},
            "reasoning_format": shape.get("reasoning_format", "deepseek"),
        }
        if "reasoning_budget_tokens" in shape:
            fmt["reasoning_budget_tokens"] = shape["reasoning_budget_tokens"]
        if tools:
            fmt |= {"tools": list(tools), "tool_choice": "auto", "parallel_tool_calls": parallel}
        return fmt


def _split_prefill(
    messages: Sequence[dict[str, Any]], shape: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], str | None]:
    """A last assistant message is the beginning of the answer, unless the caller says otherwise."""
    last = messages[-1]
    wanted = shape.get("continue_final_message", shape.get("add_generation_prompt", True))
    if last["role"] != "assistant" or last.get("tool_calls") or not wanted or len(messages) < 2:
        return list(messages), None
    return list(messages[:-1]), last["content"] or ""


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For templates that want strictly alternating roles: neighbours of one role become one message."""
    out: list[dict[str, Any]] = []
    for message in messages:
        if out and out[-1]["role"] == message["role"] and message["role"] != "tool":
            both = out[-1] | {key: value for key, value in message.items() if key != "content"}
            calls = [*out[-1].get("tool_calls", ()), *message.get("tool_calls", ())]
            both["content"] = "\n\n".join(filter(None, (out[-1]["content"], message["content"])))
            out[-1] = both | ({"tool_calls": calls} if calls else {})
        else:
            out.append(message)
    return out


def _plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For templates that know users and assistants only: system text and tools are written into their turns."""
    out: list[dict[str, Any]] = []
    for message in generic_history(messages):
        if message["role"] == "system":
            message = {"role": "user", "content": message["content"]}
        out.append(message)
    merged = _merged(out)
    if merged[0]["role"] == "assistant":
        merged.insert(0, {"role": "user", "content": ""})
    return merged


def generic_history(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls and their results as text, for templates without a place for them."""
    out = []
    for message in messages:
        if message.get("tool_calls"):
            calls = "\n".join(
                CALL_OPEN
                + json.dumps({"name": c["function"]["name"]}, ensure_ascii=False)[:-1]
                + f', "arguments": {c["function"]["arguments"]}}}'
                + CALL_CLOSE
                for c in message["tool_calls"]
            )
            content = "\n".join(filter(None, (message["content"], calls)))
            out.append({"role": "assistant", "content": content})
        elif message["role"] == "tool":
            name = f" of {message['name']}" if message.get("name") else ""
            out.append({"role": "user", "content": f"Result{name}:\n{message['content']}"})
        else:
            out.append(message)
    return out
