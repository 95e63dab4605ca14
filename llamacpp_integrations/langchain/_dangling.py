"""Histories of agents that were interrupted: calls without a result, and results without a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

__all__ = ["without_dangling_calls"]


def without_dangling_calls(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """A conversation without calls that have no result, and without results that answer no call.

    A message that says nothing beside such calls is left out. Nothing is changed in place.
    """
    out: list[BaseMessage] = []
    open_calls: set[str] = set()
    for i, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if message.tool_call_id in open_calls:
                open_calls.discard(message.tool_call_id)
                out.append(message)
            continue
        open_calls = set()
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            kept = _with_answered_calls(message, _answered(messages[i + 1 :]))
            if kept is None:
                continue
            open_calls = {str(call["id"]) for call in kept.tool_calls}
            message = kept
        out.append(message)
    return out


def _answered(following: Sequence[BaseMessage]) -> set[str]:
    """The calls that the results right behind a message answer."""
    found: set[str] = set()
    for message in following:
        if not isinstance(message, ToolMessage):
            break
        found.add(message.tool_call_id)
    return found


def _with_answered_calls(message: AIMessage, answered: set[str]) -> AIMessage | None:
    calls = [call for call in message.tool_calls if call["id"] in answered]
    if len(calls) == len(message.tool_calls) and not message.invalid_tool_calls:
        return message
    kept = {call["id"] for call in calls}
    content: Any = message.content
    if isinstance(content, list):
        content = [block for block in content if not _is_call(block) or block.get("id") in kept]
    if not calls and not content:
        return None
    more = {name: value for name, value in message.additional_kwargs.items() if name != "tool_calls"}
    return message.model_copy(
        update={
            "content": content,
            "tool_calls": calls,
            "invalid_tool_calls": [],
            "additional_kwargs": more,
        }
    )


def _is_call(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in ("tool_use", "tool_call", "invalid_tool_call")
