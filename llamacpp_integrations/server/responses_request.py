"""A request of OpenAI's responses API as a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.translation import ChatRequest, bad, read, taken

__all__ = ["chat_request"]

_HANDLED = frozenset(
    {"include", "input", "instructions", "max_output_tokens", "model", "reasoning", "stream", "text"}
    | {"tool_choice", "tools", "top_logprobs", "truncation"}
)
_IGNORED = frozenset(
    {
        "max_tool_calls",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    }
    | {"service_tier", "store", "stream_options", "user"}
)
# What only a server that keeps conversations can do.
_KEPT = {
    "background": "answers are not made in the background",
    "conversation": "no conversations are kept here: send the whole of it as input",
    "previous_response_id": "no answers are kept here: send the whole conversation as input",
    "prompt": "no prompts are kept here: send it as input",
}
_NAMES = {"max_tokens": "max_output_tokens", "response_format": "text.format", "messages": "input"}
_NAMES |= {"reasoning_effort": "reasoning.effort", "logprobs": "include"}


def chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """The chat completion that a request stands for.

    Raises:
        InvalidParameterError: A field cannot be translated; the chat completion checks the rest.
    """
    for name, why in _KEPT.items():
        if body.get(name):
            raise InvalidParameterError(f"{name} cannot be used: {why}", parameter=name)
    if body.get("truncation") not in (None, "disabled"):
        raise bad("truncation", "must be 'disabled': a conversation that is too long is an error")
    request = ChatRequest(names=dict(_NAMES))
    if body.get("instructions") is not None:
        request.add("instructions", {"role": "system", "content": body["instructions"]})
    _add_input(request, body.get("input"))
    params = {name: value for name, value in body.items() if name not in _KEPT}
    request.params = taken(params, _HANDLED, _IGNORED)
    if body.get("tools") is not None:
        request.params["tools"] = _tools(body["tools"])
    if body.get("tool_choice") is not None:
        request.params["tool_choice"] = _choice(body["tool_choice"])
    _add_output(request.params, body)
    return request


def _add_input(request: ChatRequest, value: Any) -> None:
    if isinstance(value, str):
        request.add("input", {"role": "user", "content": value})
        return
    if not isinstance(value, list) or not value:
        raise bad("input", "must be a text or a list of items that is not empty")
    for i, item in enumerate(value):
        path = f"input[{i}]"
        if not isinstance(item, Mapping):
            raise bad(path, "must be an item")
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            raise bad(f"{path}.type", f"cannot be {kind!r}: {', '.join(_ITEMS)} can be read")
        _ITEMS[kind](request, path, item)


def _add_message(request: ChatRequest, path: str, item: Mapping[str, Any]) -> None:
    content = item.get("content")
    if isinstance(content, list):
        content = [_part(f"{path}.content[{i}]", part) for i, part in enumerate(content)]
    waiting = request.messages[-1] if request.messages else {}
    if item.get("role") == "assistant" and set(waiting) == {"role", "content", "reasoning_content"}:
        waiting["content"] = content  # the answer that the reasoning before it belongs to
    else:
        request.add(path, {"role": item.get("role"), "content": content})


def _part(path: str, part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": read(part, "text", path, str, "a string")}
    if kind == "refusal":
        return {"type": "text", "text": read(part, "refusal", path, str, "a string")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    raise bad(f"{path}.type", f"cannot be {kind!r}: input_text, output_text and input_image can be read")


def _add_call(request: ChatRequest, path: str, item: Mapping[str, Any]) -> None:
    call_id = read(item, "call_id", path, str, "a string")
    name = read(item, "name", path, str, "a string")
    request.add_call(path, call_id, name, read(item, "arguments", path, str, "a JSON text"))


def _add_result(request: ChatRequest, path: str, item: Mapping[str, Any]) -> None:
    output = item.get("output")
    if isinstance(output, list):
        parts = [_part(f"{path}.output[{i}]", part) for i, part in enumerate(output)]
        output = "\n".join(part.get("text", "") for part in parts)
    if not isinstance(output, str):
        raise bad(f"{path}.output", "must be a text")
    call_id = read(item, "call_id", path, str, "a string")
    request.add(path, {"role": "tool", "tool_call_id": call_id, "content": output})


def _add_reasoning(request: ChatRequest, path: str, item: Mapping[str, Any]) -> None:
    parts = item.get("content") or ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    text = "".join(text for text in texts if isinstance(text, str))
    if text:
        request.add(path, {"role": "assistant", "content": None, "reasoning_content": text})


_ITEMS = {
    "message": _add_message,
    "function_call": _add_call,
    "function_call_output": _add_result,
    "reasoning": _add_reasoning,
}


def _tools(tools: Any) -> list[dict[str, Any]]:
    if not isinstance(tools, list):
        raise bad("tools", "must be a list")
    found = []
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping) or tool.get("type") != "function":
            raise bad(f"tools[{i}].type", "must be 'function': the server has no tools of its own")
        function = {key: tool.get(key) for key in ("name", "description", "parameters")}
        found.append({"type": "function", "function": function})
    return found


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    if not isinstance(choice, Mapping) or choice.get("type") != "function":
        raise bad("tool_choice", "must be 'none', 'auto', 'required', or {'type': 'function', 'name': ...}")
    return {"type": "function", "function": {"name": choice.get("name")}}


def _add_output(params: dict[str, Any], body: Mapping[str, Any]) -> None:
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    if not isinstance(text, Mapping):
        raise bad("text", "must be an object")
    if not isinstance(reasoning, Mapping):
        raise bad("reasoning", "must be an object")
    form = text.get("format")
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        schema = {key: form[key] for key in ("name", "schema", "strict", "description") if key in form}
        params["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form is not None:
        params["response_format"] = form
    if reasoning.get("effort") is not None:
        params["reasoning_effort"] = reasoning["effort"]
    include = body.get("include") or ()
    if not isinstance(include, list | tuple):
        raise bad("include", "must be a list")
    top = body.get("top_logprobs")
    if "message.output_text.logprobs" in include or top:
        params |= {"logprobs": True, "top_logprobs": top}
