"""LangChain messages as OpenAI messages, and answers back as LangChain messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llamacpp_integrations.langchain._content import convert_content, refuse
from llamacpp_integrations.langchain._usage import usage_metadata

__all__ = ["chat_result", "countable_messages", "final_chunk", "openai_messages", "stream_chunk"]

PROVIDER = "llamacpp"


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """A conversation as OpenAI messages, one for one.

    Raises:
        InvalidMessageError: A message cannot be used, or calls a tool whose result is missing.
        UnsupportedCapabilityError: A message holds what no model here takes.
    """
    converted = [_message(i, message) for i, message in enumerate(messages)]
    _check_results(messages)
    return converted


def countable_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """A part of a conversation for counting its tokens: calls and results may be cut apart."""
    converted = [_message(i, message) for i, message in enumerate(messages)]
    known: set[str] = set()
    for message in converted:
        known.update(call["id"] for call in message.get("tool_calls", ()))
        if message["role"] == "tool" and message["tool_call_id"] not in known:
            del message["tool_call_id"]
            message.setdefault("name", "tool")
    return converted


def _message(index: int, message: BaseMessage) -> dict[str, Any]:
    role = _role(index, message)
    calls = _calls(index, message) if isinstance(message, AIMessage) else []
    call_ids = {call["id"] for call in message.tool_calls} if isinstance(message, AIMessage) else set()
    content = convert_content(index, message.content, call_ids)
    out: dict[str, Any] = {"role": role, "content": content.value}
    if message.name:
        out["name"] = message.name
    if isinstance(message, ToolMessage):
        out["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage):
        reasoning = content.reasoning or message.additional_kwargs.get("reasoning_content")
        if reasoning:
            out["reasoning_content"] = reasoning
        if calls:
            out["tool_calls"] = calls
            out["content"] = content.value or None
        if function_call := message.additional_kwargs.get("function_call"):
            out["function_call"] = function_call
    return out


def _role(index: int, message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return message.role
    role = next((role for kind, role in _ROLES if isinstance(message, kind)), None)
    return role or refuse(index, "", f"a {type(message).__name__} cannot be sent to a model: remove it")


_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
    (FunctionMessage, "function"),
)


def _calls(index: int, message: AIMessage) -> list[dict[str, Any]]:
    if message.invalid_tool_calls:
        name = message.invalid_tool_calls[0].get("name")
        refuse(
            index,
            ".invalid_tool_calls",
            f"the arguments of the call of {name!r} are no JSON: repair or remove it",
        )
    return [
        {
            "id": call["id"] or f"call_{index}_{i}",
            "type": "function",
            "function": {"name": call["name"], "arguments": _arguments(index, i, call)},
        }
        for i, call in enumerate(message.tool_calls)
    ]


def _arguments(index: int, position: int, call: ToolCall) -> str:
    try:
        return json.dumps(call["args"], ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        refuse(
            index,
            f".tool_calls[{position}].args",
            f"the arguments of the call of {call['name']!r} are not JSON ({error}): use strings, finite "
            "numbers, booleans, None, lists and dicts",
        )


def _check_results(messages: Sequence[BaseMessage]) -> None:
    """Every call of an AI message is answered before another message than a result comes."""
    made: dict[str, str] = {}
    waiting: dict[str, str] = {}
    caller = 0
    for i, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if waiting and message.tool_call_id not in made:
                refuse(
                    i,
                    ".tool_call_id",
                    f"answers the tool call {message.tool_call_id!r}, but messages[{caller}] made "
                    + " and ".join(map(repr, made)),
                )
            waiting.pop(message.tool_call_id, None)
            continue
        if waiting:
            break
        if isinstance(message, AIMessage):
            made, caller = {call["id"]: call["name"] for call in message.tool_calls if call["id"]}, i
            waiting = dict(made)
    if waiting:
        call_id, name = next(iter(waiting.items()))
        refuse(
            caller,
            ".tool_calls",
            f"the call {call_id!r} of {name!r} has no result: a ToolMessage with its id must follow",
        )


def chat_result(response: Mapping[str, Any]) -> ChatResult:
    """The answers of a chat completion."""
    usage = usage_metadata(response["usage"])
    shared = _response_metadata(response)
    generations: list[ChatGeneration] = []
    for choice in response["choices"]:
        message = _answer(choice["message"])
        message.usage_metadata = None if generations else usage  # counts all answers: once is enough
        message.response_metadata = shared | {"finish_reason": choice["finish_reason"]}
        for key in ("logprobs", "schema_report"):
            if choice.get(key):
                message.response_metadata[key] = choice[key]
        generations.append(
            ChatGeneration(message=message, generation_info={"finish_reason": choice["finish_reason"]})
        )
    return ChatResult(generations=generations)


def _answer(message: Mapping[str, Any]) -> AIMessage:
    calls, invalid = [], []
    for raw in message.get("tool_calls") or ():
        if raw.get("error"):
            invalid.append(make_invalid_tool_call(raw, raw["error"]))
            continue
        try:
            calls.append(parse_tool_call(raw, return_id=True))
        except ValueError as error:
            invalid.append(make_invalid_tool_call(raw, str(error)))
    more = {key: message[key] for key in ("reasoning_content", "function_call") if message.get(key)}
    return AIMessage(
        content=message["content"] or "", additional_kwargs=more, tool_calls=calls, invalid_tool_calls=invalid
    )


def _response_metadata(response: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"id": response["id"], "model_name": response["model"], "model_provider": PROVIDER}
    for key in ("system_fingerprint", "timings"):
        if key in response:
            metadata[key] = response[key]
    return metadata


def stream_chunk(delta: Mapping[str, Any], logprobs: Any, *, blocks: bool) -> ChatGenerationChunk | None:
    """One piece of a streamed answer; None if it holds nothing.

    Args:
        delta: The chunk's ``delta``.
        logprobs: The chunk's ``logprobs``.
        blocks: Give the content as standard content blocks (``output_version="v1"``). Their indexes are
            strings of our own, since LangChain merges neighbouring blocks whose numbers happen to agree.
    """
    text, reasoning = delta.get("content") or "", delta.get("reasoning_content") or ""
    pieces = delta.get("tool_calls") or ()
    calls = [
        tool_call_chunk(
            name=call["function"].get("name"),
            args=call["function"].get("arguments", ""),
            id=call.get("id"),
            index=call["index"],
        )
        for call in pieces
        if "function" in call
    ]
    # LangChain decides by the arguments alone which calls of a stream are valid; the rest stands beside them.
    errors = {str(call["index"]): call["error"] for call in pieces if call.get("error")}
    function_call = delta.get("function_call")
    if not (text or reasoning or calls or errors or logprobs or function_call):
        return None
    metadata: dict[str, Any] = {"model_provider": PROVIDER}
    if logprobs:
        metadata["logprobs"] = logprobs
    more: dict[str, Any] = {"function_call": function_call} if function_call else {}
    if errors:
        more["tool_call_errors"] = errors
    content: Any = text
    if blocks:
        content = _blocks(text, reasoning, calls)
        metadata["output_version"] = "v1"
    elif reasoning:
        more["reasoning_content"] = reasoning
    message = AIMessageChunk(
        content=content, tool_call_chunks=calls, additional_kwargs=more, response_metadata=metadata
    )
    return ChatGenerationChunk(message=message)


def _blocks(text: str, reasoning: str, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reasoning:
        blocks.append({"type": "reasoning", "reasoning": reasoning, "index": "lc_reasoning"})
    if text:
        blocks.append({"type": "text", "text": text, "index": "lc_text"})
    blocks.extend({**call, "type": "tool_call_chunk", "index": f"lc_call_{call['index']}"} for call in calls)
    return blocks


def final_chunk(chunk: Mapping[str, Any], finish_reason: str, *, blocks: bool) -> ChatGenerationChunk:
    """The last piece of a streamed answer: usage and metadata."""
    metadata = _response_metadata(chunk) | {"finish_reason": finish_reason}
    report = chunk["choices"][0].get("schema_report")
    if report:
        metadata["schema_report"] = report
    if blocks:
        metadata["output_version"] = "v1"
    message = AIMessageChunk(
        content=[] if blocks else "",
        usage_metadata=usage_metadata(chunk["usage"]),
        response_metadata=metadata,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": finish_reason})
