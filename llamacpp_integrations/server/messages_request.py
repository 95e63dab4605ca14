"""A request of Anthropic's messages API as a chat completion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamacpp_integrations.server.translation import ChatRequest, bad, read, taken

__all__ = ["chat_request"]

_HANDLED = frozenset(
    {"max_tokens", "messages", "model", "output_config", "output_format", "stop_sequences", "stream"}
    | {"system", "thinking", "tool_choice", "tools"}
)
_IGNORED = frozenset(
    {"cache_control", "diagnostics", "inference_geo", "metadata", "service_tier", "speed"}
    | {"user_profile_id", "workspace_id"}
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}
_NAMES = {
    "stop": "stop_sequences",
    "response_format": "output_config.format",
    "reasoning_budget_tokens": "thinking.budget_tokens",
    "reasoning_effort": "output_config.effort",
    "parameters": "input_schema",
}


def chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """The chat completion that a request stands for.

    Raises:
        InvalidParameterError: A field cannot be translated; the chat completion checks the rest.
    """
    request = ChatRequest(names=dict(_NAMES))
    _add_system(request, body.get("system"))
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("messages", "must be a list of at least one message")
    for i, message in enumerate(messages):
        _add_message(request, f"messages[{i}]", message)
    request.params = taken(body, _HANDLED, _IGNORED)
    if body.get("stop_sequences") is not None:
        request.params["stop"] = body["stop_sequences"]
    _add_tools(request.params, body.get("tools"), body.get("tool_choice"))
    _add_output(request.params, body.get("output_config"), body.get("output_format"))
    _add_thinking(request.params, body.get("thinking"))
    return request


def _add_system(request: ChatRequest, system: Any) -> None:
    if system is None:
        return
    if not isinstance(system, str | list):
        raise bad("system", "must be a text or a list of text blocks")
    content = system if isinstance(system, str) else [_text(f"system[{i}]", b) for i, b in enumerate(system)]
    request.add("system", {"role": "system", "content": content})


def _text(path: str, block: Any) -> dict[str, Any]:
    if not isinstance(block, Mapping) or block.get("type") != "text":
        raise bad(path, "must be a text block")
    return {"type": "text", "text": read(block, "text", path, str, "a string")}


def _add_message(request: ChatRequest, path: str, message: Any) -> None:
    if not isinstance(message, Mapping) or message.get("role") not in ("user", "assistant", "system"):
        raise bad(f"{path}.role", "must be 'user', 'assistant' or 'system'")
    content = message.get("content")
    if isinstance(content, str):
        request.add(path, {"role": message["role"], "content": content})
    elif isinstance(content, list):
        blocks = [(f"{path}.content[{i}]", block) for i, block in enumerate(content)]
        for where, block in blocks:
            if not isinstance(block, Mapping):
                raise bad(where, "must be a content block")
        (_add_answer if message["role"] == "assistant" else _add_question)(
            request, path, message["role"], blocks
        )
    else:
        raise bad(f"{path}.content", "must be a text or a list of content blocks")


def _add_question(request: ChatRequest, path: str, role: str, blocks: list[tuple[str, Any]]) -> None:
    """Results of tools become messages of their own, before what the user says."""
    parts = []
    for where, block in blocks:
        kind = block.get("type")
        if kind == "tool_result":
            call_id = read(block, "tool_use_id", where, str, "a string")
            result = _result(where, block.get("content"))
            request.add(where, {"role": "tool", "tool_call_id": call_id, "content": result})
        elif kind == "image":
            parts.append(_image(where, block))
        elif kind == "document":
            parts.append(_document(where, block))
        elif kind == "text":
            parts.append(_text(where, block))
        else:
            raise bad(
                f"{where}.type", f"cannot be {kind!r}: text, image, document and tool_result can be read"
            )
    if parts:
        request.add(path, {"role": role, "content": parts})


def _result(path: str, content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise bad(f"{path}.content", "must be a text or a list of text blocks")
    return "\n".join(_text(f"{path}.content[{i}]", block)["text"] for i, block in enumerate(content))


def _image(path: str, block: Mapping[str, Any]) -> dict[str, Any]:
    source = read(block, "source", path, dict, "an object")
    if source.get("type") != "base64":
        raise bad(f"{path}.source.type", "must be 'base64': nothing is fetched from the network")
    data = read(source, "data", f"{path}.source", str, "a string")
    return {"type": "image_url", "image_url": {"url": f"data:{source.get('media_type')};base64,{data}"}}


def _document(path: str, block: Mapping[str, Any]) -> dict[str, Any]:
    source = read(block, "source", path, dict, "an object")
    if source.get("type") != "text":
        raise bad(f"{path}.source.type", "must be 'text': other documents cannot be read")
    text = read(source, "data", f"{path}.source", str, "a string")
    title = block.get("title")
    return {"type": "text", "text": f"{title}\n\n{text}" if isinstance(title, str) else text}


def _add_answer(request: ChatRequest, path: str, role: str, blocks: list[tuple[str, Any]]) -> None:
    parts: list[dict[str, Any]] = []
    message: dict[str, Any] = {"role": role, "content": parts}
    request.add(path, message)
    for where, block in blocks:
        kind = block.get("type")
        if kind == "text":
            parts.append(_text(where, block))
        elif kind == "thinking":
            thinking = read(block, "thinking", where, str, "a string")
            message["reasoning_content"] = message.get("reasoning_content", "") + thinking
        elif kind == "tool_use":
            arguments = json.dumps(read(block, "input", where, dict, "an object"), ensure_ascii=False)
            call_id = read(block, "id", where, str, "a string")
            request.add_call(where, call_id, read(block, "name", where, str, "a string"), arguments)
        elif kind != "redacted_thinking":
            raise bad(f"{where}.type", f"cannot be {kind!r}: text, thinking and tool_use can be read")
    if not parts:
        message["content"] = None


def _add_tools(params: dict[str, Any], tools: Any, choice: Any) -> None:
    if tools is not None:
        if not isinstance(tools, list):
            raise bad("tools", "must be a list")
        params["tools"] = [_tool(f"tools[{i}]", tool) for i, tool in enumerate(tools)]
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "tool":
        name = read(choice, "name", "tool_choice", str, "a string")
        params["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif kind in _CHOICES:
        params["tool_choice"] = _CHOICES[kind]
    else:
        raise bad("tool_choice.type", "must be 'auto', 'any', 'tool' or 'none'")
    if choice.get("disable_parallel_tool_use") is not None:
        params["parallel_tool_calls"] = not choice["disable_parallel_tool_use"]


def _tool(path: str, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type", "custom") != "custom":
        raise bad(f"{path}.type", "must be 'custom': the server has no tools of its own")
    function = {"name": tool.get("name"), "description": tool.get("description")}
    return {"type": "function", "function": function | {"parameters": tool.get("input_schema")}}


def _add_output(params: dict[str, Any], config: Any, old_format: Any) -> None:
    if config is None:
        config = {"format": old_format}
    if not isinstance(config, Mapping):
        raise bad("output_config", "must be an object")
    if config.get("effort") is not None:
        if config["effort"] not in _EFFORTS:
            raise bad("output_config.effort", f"must be one of {', '.join(_EFFORTS)}")
        params["reasoning_effort"] = _EFFORTS[config["effort"]]
    form = config.get("format")
    if form is None:
        return
    if not isinstance(form, Mapping) or form.get("type") != "json_schema":
        raise bad("output_config.format.type", "must be 'json_schema'")
    schema = {"name": "answer", "schema": form.get("schema")}
    params["response_format"] = {"type": "json_schema", "json_schema": schema}


def _add_thinking(params: dict[str, Any], thinking: Any) -> None:
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind == "enabled":
        params["reasoning_budget_tokens"] = thinking.get("budget_tokens")
    elif kind == "disabled":
        params["reasoning_effort"] = "none"
    elif thinking is not None and kind != "adaptive":
        raise bad("thinking.type", "must be 'enabled', 'adaptive' or 'disabled'")
