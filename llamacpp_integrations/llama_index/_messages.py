"""LlamaIndex's messages as OpenAI chat messages."""

from __future__ import annotations

import base64
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llamacpp_core.engine.info import Capabilities
from llamacpp_core.errors import InvalidMessageError, UnsupportedCapabilityError

__all__ = ["checks_messages", "to_openai_messages"]

F = TypeVar("F", bound=Callable[..., Any])

_ROLES = {
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.FUNCTION: "tool",
}


def checks_messages(method: F) -> F:
    """Lets a method look at its messages before the framework's own events refuse them in their way."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def acall(self: Any, messages: Any, **kwargs: Any) -> Any:
            _check_list(messages)
            return await method(self, messages, **kwargs)

        return cast(F, acall)

    @functools.wraps(method)
    def call(self: Any, messages: Any, **kwargs: Any) -> Any:
        _check_list(messages)
        return method(self, messages, **kwargs)

    return cast(F, call)


def to_openai_messages(messages: Sequence[ChatMessage], capabilities: Capabilities) -> list[dict[str, Any]]:
    """Translates a conversation; the messages themselves are not changed.

    Args:
        messages: The conversation.
        capabilities: What the model takes.

    Raises:
        InvalidMessageError: A message cannot be used; names its index.
        UnsupportedCapabilityError: A message holds a block that the model does not take.
    """
    _check_list(messages)
    return [_Translator(i, message, capabilities).result() for i, message in enumerate(messages)]


def _check_list(messages: Any) -> None:
    if isinstance(messages, str | Mapping | ChatMessage) or not isinstance(messages, Sequence):
        raise InvalidMessageError("messages must be a list of ChatMessage", parameter="messages")
    for i, message in enumerate(messages):
        if not isinstance(message, ChatMessage):
            raise InvalidMessageError(
                f"messages[{i}] must be a ChatMessage, got {type(message).__name__}",
                parameter=f"messages[{i}]",
                index=i,
            )


class _Translator:
    """Translates one message."""

    def __init__(self, index: int, message: ChatMessage, capabilities: Capabilities) -> None:
        self.index = index
        self.message = message
        self.capabilities = capabilities
        self.role = _ROLES.get(message.role, message.role.value)
        self.parts: list[dict[str, Any]] = []
        self.reasoning: list[str] = []
        self.calls: list[dict[str, Any]] = []

    def result(self) -> dict[str, Any]:
        for position, block in enumerate(self.message.blocks):
            self.add(block, f"messages[{self.index}].blocks[{position}]")
        out: dict[str, Any] = {"role": self.role, "content": self.content()}
        extra = self.message.additional_kwargs
        if extra.get("name") is not None:
            out["name"] = extra["name"]
        if self.role == "assistant":
            self.add_assistant_keys(out)
        if self.role == "tool":
            for source, target in (("tool_call_id", "tool_call_id"), ("tool_name", "name")):
                if extra.get(source) is not None:
                    out.setdefault(target, extra[source])
        return out

    def add_assistant_keys(self, out: dict[str, Any]) -> None:
        """What the model thought and called; other LLMs keep it beside the blocks."""
        extra = self.message.additional_kwargs
        if reasoning := "\n".join(self.reasoning) or extra.get("reasoning_content"):
            out["reasoning_content"] = reasoning
        if calls := self.calls or self.foreign_calls(extra.get("tool_calls")):
            out["tool_calls"] = calls
        elif extra.get("function_call"):  # OpenAI's form before there were tools
            out["function_call"] = extra["function_call"]
        else:
            return
        out["content"] = out["content"] or None

    def content(self) -> Any:
        if all(part["type"] == "text" for part in self.parts):
            return "\n".join(part["text"] for part in self.parts)
        return self.parts

    def add(self, block: Any, where: str) -> None:
        if isinstance(block, TextBlock):
            self.text(block.text)
        elif isinstance(block, ImageBlock):
            self.image(block, where)
        elif isinstance(block, AudioBlock):
            self.audio(block, where)
        elif isinstance(block, ThinkingBlock) and self.role == "assistant":
            if block.content:
                self.reasoning.append(block.content)
        elif isinstance(block, ToolCallBlock) and self.role == "assistant":
            call_id = block.tool_call_id or block.tool_name
            self.calls.append(self.call(where, call_id, block.tool_name, block.tool_kwargs))
        elif isinstance(block, CitationBlock):
            self.add(block.cited_content, f"{where}.cited_content")
        elif isinstance(block, CitableBlock):
            self.text(f"{block.title} ({block.source})")
            for position, inner in enumerate(block.content):
                self.add(inner, f"{where}.content[{position}]")
        elif not isinstance(block, CachePoint):  # prompts are cached without being told where
            self.refuse(block, where)

    def refuse(self, block: Any, where: str) -> None:
        kind = type(block).__name__
        if isinstance(block, ThinkingBlock | ToolCallBlock):
            raise self.bad(where, f"a {kind} belongs into an assistant message, not a {self.role} message")
        raise UnsupportedCapabilityError(
            f"{where}: llama.cpp takes no {kind}: put its content into a TextBlock", parameter=where
        )

    def text(self, text: str) -> None:
        self.parts.append({"type": "text", "text": text})

    def image(self, block: ImageBlock, where: str) -> None:
        if not self.capabilities.image:
            raise _no_media(where, "images")
        data = self.media(block, block.resolve_image, where)
        url = f"data:{block.image_mimetype or 'image/png'};base64,{data}"
        self.parts.append({"type": "image_url", "image_url": {"url": url}})

    def audio(self, block: AudioBlock, where: str) -> None:
        if not self.capabilities.audio:
            raise _no_media(where, "audio")
        data = self.media(block, block.resolve_audio, where)
        self.parts.append(
            {"type": "input_audio", "input_audio": {"data": data, "format": block.format or "wav"}}
        )

    def media(self, block: Any, resolve: Any, where: str) -> str:
        """The block's bytes as base64."""
        local = (
            block.path is not None
            or (block.image if isinstance(block, ImageBlock) else block.audio) is not None
        )
        if not local and block.url is not None and not str(block.url).startswith("data:"):
            raise self.bad(
                where,
                f"nothing is fetched from the network: download {block.url} and give its bytes or its path",
            )
        try:
            stream = resolve(as_base64=False)
            data = stream.read()
            stream.seek(0)
        except (OSError, ValueError) as error:
            raise self.bad(where, f"its data cannot be read ({error})") from error
        return base64.b64encode(data).decode()

    def foreign_calls(self, calls: Any) -> list[dict[str, Any]]:
        """Tool calls of an LLM that keeps them beside the blocks, as dicts or objects."""
        out = []
        where = f"messages[{self.index}].additional_kwargs['tool_calls']"
        if calls is not None and not isinstance(calls, list | tuple):
            raise self.bad(where, f"must be a list, got {type(calls).__name__}")
        for position, call in enumerate(calls or ()):
            at = f"{where}[{position}]"
            plain = call.model_dump() if hasattr(call, "model_dump") else call
            function = plain.get("function") if isinstance(plain, dict) else None
            if isinstance(function, dict) and function.get("name"):  # OpenAI's form
                name, arguments, call_id = function["name"], function.get("arguments"), plain.get("id")
            elif isinstance(plain, dict) and plain.get("tool_name"):  # a ToolSelection
                name, arguments, call_id = plain["tool_name"], plain.get("tool_kwargs"), plain.get("tool_id")
            else:
                raise self.bad(at, "must be a tool call in OpenAI's form or a ToolSelection")
            out.append(self.call(at, call_id or name, name, arguments or {}))
        return out

    def call(self, where: str, call_id: str, name: str, arguments: Any) -> dict[str, Any]:
        if not isinstance(arguments, str):
            try:
                arguments = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise self.bad(
                    where,
                    f"the arguments of the call of {name!r} are not JSON ({error}): use strings, finite "
                    "numbers, booleans, None, lists and dicts",
                ) from None
        function = {"name": name, "arguments": arguments or "{}"}
        return {"id": call_id, "type": "function", "function": function}

    def bad(self, where: str, what: str) -> InvalidMessageError:
        return InvalidMessageError(f"{where}: {what}", parameter=where, index=self.index)


def _no_media(where: str, what: str) -> UnsupportedCapabilityError:
    return UnsupportedCapabilityError(
        f"{where}: this model takes no {what}: load it with mmproj=<its projector file>, or remove the block",
        parameter=where,
    )
