"""Chat messages and tools: checked, and brought into the one form that templates understand.

Nothing that the caller passes is changed: the functions return new objects.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from llamacpp_core._checks import check_text
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, UnsupportedCapabilityError

__all__ = ["ROLES", "dump_tools", "normalize_messages", "normalize_tools"]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_KEYS = {
    "role",
    "content",
    "name",
    "tool_calls",
    "function_call",
    "tool_call_id",
    "reasoning_content",
    "refusal",
}
# What only messages of one role can have.
_OF_ROLE = {"tool_calls": "assistant", "function_call": "assistant", "tool_call_id": "tool"}
_IMAGE_URL = re.compile(r"data:(image/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE | re.ASCII)
_TOOL_NAME = re.compile(r"[^\s\"'\\\x00-\x1f]{1,128}")


def _bad(index: int, message: str, path: str = "") -> InvalidMessageError:
    where = f"messages[{index}]{path}"
    return InvalidMessageError(f"{where}: {message}", parameter=where, index=index)


def _text(index: int, path: str, value: str) -> str:
    try:
        return check_text(f"messages[{index}]{path}", value)
    except InvalidParameterError as error:
        raise InvalidMessageError(str(error), parameter=error.parameter, index=index) from None


def normalize_messages(messages: Any, *, image: bool = False, audio: bool = False) -> list[dict[str, Any]]:
    """Checks a conversation and returns it in the form that chat templates expect.

    Args:
        messages: OpenAI chat messages.
        image: Whether the model takes images.
        audio: Whether the model takes audio.

    Raises:
        InvalidMessageError: Names the message and what to change in it.
        UnsupportedCapabilityError: A message holds media that the model does not take.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise InvalidMessageError("messages must be a list of message dicts", parameter="messages")
    if not messages:
        raise InvalidMessageError("messages is empty: give at least one message", parameter="messages")
    out = [_message(i, message, image, audio) for i, message in enumerate(messages)]
    _check_calls(out)
    return out


def _message(index: int, message: Any, image: bool, audio: bool) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise _bad(index, f"must be a dict with 'role' and 'content', got {type(message).__name__}")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _bad(index, f"unknown role {role!r}; the roles are {', '.join(ROLES)}", ".role")
    if unknown := set(message) - _KEYS:
        raise _bad(
            index, f"unknown key {sorted(map(str, unknown))[0]!r}; known are {', '.join(sorted(_KEYS))}"
        )
    out: dict[str, Any] = {"role": {"developer": "system", "function": "tool"}.get(role, role)}
    calls = _tool_calls(index, message) if role == "assistant" else []
    for key in _OF_ROLE:
        if message.get(key) and out["role"] != _OF_ROLE[key]:
            raise _bad(index, f"belongs to {_OF_ROLE[key]} messages, not to {role} messages", f".{key}")
    out["content"] = _content(index, message.get("content"), role, bool(calls), image, audio)
    if calls:
        out["tool_calls"] = calls
    for key in ("name", "tool_call_id", "reasoning_content"):
        value = message.get(key)
        if value is not None:
            if not isinstance(value, str):
                raise _bad(index, f"must be a string, got {type(value).__name__}", f".{key}")
            out[key] = _text(index, f".{key}", value)
    if role == "tool" and "tool_call_id" not in out and "name" not in out:
        raise _bad(index, "a tool message needs the 'tool_call_id' of the call it answers")
    return out


def _content(index: int, content: Any, role: str, has_calls: bool, image: bool, audio: bool) -> Any:
    if content is None:
        if role == "assistant":
            return None if has_calls else ""
        raise _bad(index, f"a {role} message needs 'content'", ".content")
    if isinstance(content, str):
        return _text(index, ".content", content)
    if isinstance(content, Mapping) or not isinstance(content, Sequence):
        raise _bad(
            index, f"must be a string or a list of content parts, got {type(content).__name__}", ".content"
        )
    parts = [_part(index, i, part, image, audio) for i, part in enumerate(content)]
    return parts or ""


def _part(index: int, position: int, part: Any, image: bool, audio: bool) -> dict[str, Any]:
    path = f".content[{position}]"
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        raise _bad(index, "must be a dict with a 'type'", path)
    kind = part.get("type")
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise _bad(index, "needs a string under 'text'", path)
        return {"type": "text", "text": _text(index, f"{path}.text", part["text"])}
    if kind == "image_url":
        if not image:
            raise _no_media(index, path, "images")
        url = part.get("image_url")
        url = url.get("url") if isinstance(url, Mapping) else url
        return {"type": "image_url", "image_url": {"url": _data_url(index, path, url)}}
    if kind == "input_audio":
        if not audio:
            raise _no_media(index, path, "audio")
        return {"type": "input_audio", "input_audio": _audio(index, path, part.get("input_audio"))}
    raise _bad(index, f"unknown content type {kind!r}; known are 'text', 'image_url' and 'input_audio'", path)


def _no_media(index: int, path: str, what: str) -> UnsupportedCapabilityError:
    return UnsupportedCapabilityError(
        f"messages[{index}]{path}: this model takes no {what}: load it with mmproj=<its projector file>, or "
        f"remove the part",
        parameter=f"messages[{index}]{path}",
    )


def _data_url(index: int, path: str, url: Any) -> str:
    found = _IMAGE_URL.match(url) if isinstance(url, str) else None
    if found is None:
        raise _bad(
            index,
            "needs a data URL (data:image/png;base64,...): nothing is fetched from the network or from disk",
            f"{path}.image_url.url",
        )
    data = url[found.end() :]
    _base64(index, f"{path}.image_url.url", data)
    return f"data:{found[1].lower()};base64,{data}"


def _audio(index: int, path: str, audio: Any) -> dict[str, str]:
    if not isinstance(audio, Mapping) or audio.get("format") not in ("wav", "mp3") or "data" not in audio:
        raise _bad(index, "needs {'data': <base64>, 'format': 'wav' or 'mp3'}", f"{path}.input_audio")
    _base64(index, f"{path}.input_audio.data", audio["data"])
    return {"data": audio["data"], "format": audio["format"]}


def _base64(index: int, path: str, data: Any) -> None:
    try:
        sound = isinstance(data, str) and bool(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        sound = False
    if not sound:
        raise _bad(index, "must be a string of base64, and not empty", path)


def _tool_calls(index: int, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if calls is None and message.get("function_call") is not None:
        calls = [{"id": "call_function", "type": "function", "function": message["function_call"]}]
    if calls is None:
        return []
    if isinstance(calls, str | Mapping) or not isinstance(calls, Sequence):
        raise _bad(index, "must be a list of tool calls", ".tool_calls")
    out = []
    for i, call in enumerate(calls):
        path = f".tool_calls[{i}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise _bad(index, "needs 'function' with a 'name' and 'arguments'", path)
        arguments = function.get("arguments", "{}")
        try:
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
            if not isinstance(json.loads(arguments or "{}", parse_constant=_no_constant), dict):
                raise ValueError("not an object")
        except (TypeError, ValueError, RecursionError) as error:
            raise _bad(
                index, f"'arguments' must be a JSON object ({error})", f"{path}.function.arguments"
            ) from None
        _text(index, f"{path}.function.arguments", arguments)
        out.append(
            {
                "id": str(call.get("id") or ""),
                "type": "function",
                "function": {
                    "name": _text(index, f"{path}.function.name", function["name"]),
                    "arguments": arguments or "{}",
                },
            }
        )
    return out


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_calls(messages: list[dict[str, Any]]) -> None:
    """A tool message answers a call that came before it, by id, or by name in the deprecated form."""
    names: dict[str, str] = {}
    for i, message in enumerate(messages):
        for call in message.get("tool_calls", ()):
            names[call["id"]] = call["function"]["name"]
        if message["role"] != "tool":
            continue
        call_id = message.get("tool_call_id")
        if call_id is not None and call_id not in names:
            raise _bad(
                i,
                f"answers the tool call {call_id!r}, which no earlier assistant message made",
                ".tool_call_id",
            )
        if call_id is not None:
            message.setdefault("name", names[call_id])


def normalize_tools(tools: Any) -> list[dict[str, Any]]:
    """Checks tool definitions and returns them with name, description and parameters filled in.

    The result is shared between calls with the same tools, so it must not be changed.

    Raises:
        InvalidParameterError: Names the tool and what to change in it.
    """
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise InvalidParameterError("tools must be a list of tool definitions", parameter="tools")
    try:
        text = json.dumps(tools)
    except (TypeError, ValueError, RecursionError):
        return _checked_tools(tools)  # which names the tool
    return list(_known_tools(text))


@lru_cache(maxsize=64)
def _known_tools(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(_checked_tools(json.loads(text)))


def dump_tools(tools: Sequence[dict[str, Any]]) -> str:
    """The JSON text of tools."""
    return json.dumps(tools, ensure_ascii=False)


def _checked_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for i, tool in enumerate(tools):
        out.append(_tool(i, tool))
        name = out[-1]["function"]["name"]
        if any(other["function"]["name"] == name for other in out[:-1]):
            raise InvalidParameterError(
                f"tools[{i}].function.name: {name!r} is defined twice", parameter=f"tools[{i}].function.name"
            )
    return out


def _tool(index: int, tool: Any) -> dict[str, Any]:
    where = f"tools[{index}]"
    if (
        not isinstance(tool, Mapping)
        or tool.get("type") != "function"
        or not isinstance(tool.get("function"), Mapping)
    ):
        raise InvalidParameterError(
            f"{where} must be {{'type': 'function', 'function': {{'name': ..., 'parameters': ...}}}}",
            parameter=where,
        )
    function = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise InvalidParameterError(
            f"{where}.function.name must be 1 to 128 characters without spaces and quotes, got {name!r}",
            parameter=f"{where}.function.name",
        )
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise InvalidParameterError(
            f"{where}.function.parameters must be a JSON schema", parameter=f"{where}.function.parameters"
        )
    try:
        parameters = json.loads(json.dumps(parameters))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError(
            f"{where}.function.parameters is not JSON: {error}", parameter=f"{where}.function.parameters"
        ) from None
    description = function.get("description")
    if description is not None and not isinstance(description, str):
        raise InvalidParameterError(
            f"{where}.function.description must be a string, got {type(description).__name__}",
            parameter=f"{where}.function.description",
        )
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": check_text(f"{where}.function.description", description or ""),
            "parameters": parameters,
        },
    }
