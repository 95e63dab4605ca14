"""Brings a conversation into the plain form that the named formats' templates take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamacpp_core.errors import InvalidMessageError, UnsupportedCapabilityError

__all__ = ["plain_messages"]


def plain_messages(messages: list[Any], *, chat_format: str, tools: bool) -> list[dict[str, Any]]:
    """The same conversation with texts for contents and tool calls in one shape.

    Parts are joined with line ends, ``developer`` becomes ``system``, the legacy ``function`` messages
    and ``function_call`` become tool messages and tool calls, arguments become dicts, and each tool message
    gets the name of its tool.

    Args:
        messages: The messages, already known to be dicts with a role.
        chat_format: Name of the format, for error messages.
        tools: Whether the format can write tool calls.

    Raises:
        InvalidMessageError: A message has no usable content.
        UnsupportedCapabilityError: A message has images, sound, or tool calls that the format cannot write.
    """
    names: dict[str, str] = {}
    return [_plain(message, index, names, chat_format, tools) for index, message in enumerate(messages)]


def _plain(
    message: Mapping[str, Any], index: int, names: dict[str, str], chat_format: str, tools: bool
) -> dict[str, Any]:
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    plain: dict[str, Any] = {**message, "role": role}
    calls = _calls(message, index)
    if (calls or role == "tool") and not tools:
        raise UnsupportedCapabilityError(
            f"messages[{index}] has {'tool calls' if calls else 'the answer of a tool'}, which the "
            f"{chat_format!r} chat format cannot write: use a format with tools, such as 'chatml'",
            parameter=f"messages[{index}]",
        )
    plain.pop("function_call", None)
    plain.pop("tool_calls", None)
    if calls:
        plain["tool_calls"] = calls
        names.update({call["id"]: call["function"]["name"] for call in calls})
    if role == "tool" and not message.get("name"):
        plain["name"] = _tool_name(message, index, names)
    plain["content"] = _text(message.get("content"), index, optional=role == "assistant")
    return plain


def _calls(message: Mapping[str, Any], index: int) -> list[dict[str, Any]]:
    legacy = message.get("function_call")
    calls = message.get("tool_calls") or ([{"id": "", "function": legacy}] if legacy else [])
    where = f"messages[{index}].tool_calls"
    plain = []
    for position, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InvalidMessageError(
                f"{where}[{position}] must have a 'function' with a 'name'", parameter=where, index=index
            )
        arguments = _arguments(function.get("arguments"))
        entry = {"name": function["name"], "arguments": arguments}
        plain.append({**call, "id": call.get("id", ""), "type": "function", "function": entry})
    return plain


def _arguments(arguments: Any) -> Any:
    if arguments is None:
        return {}
    if not isinstance(arguments, str):
        return arguments
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return arguments  # what a model once wrote; templates take it as text
    return parsed if isinstance(parsed, dict) else arguments


def _tool_name(message: Mapping[str, Any], index: int, names: dict[str, str]) -> str:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or call_id not in names:
        raise InvalidMessageError(
            f"messages[{index}].tool_call_id {call_id!r} is not the id of an earlier tool call",
            parameter=f"messages[{index}].tool_call_id",
            index=index,
        )
    return names[call_id]


def _text(content: Any, index: int, *, optional: bool) -> str:
    where = f"messages[{index}].content"
    if isinstance(content, str):
        return content
    if content is None:
        if optional:
            return ""
        raise InvalidMessageError(f"{where} is missing", parameter=where, index=index)
    texts = []
    for position, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in {"image_url", "input_audio"}:
            raise UnsupportedCapabilityError(
                f"{where}[{position}] is of type {kind!r}; the named chat formats take text only",
                parameter=f"{where}[{position}]",
            )
        if kind != "text" or not isinstance(part.get("text"), str):
            raise InvalidMessageError(
                f"{where}[{position}] must be {{'type': 'text', 'text': ...}}",
                parameter=f"{where}[{position}]",
                index=index,
            )
        texts.append(part["text"])
    return "\n".join(texts)
