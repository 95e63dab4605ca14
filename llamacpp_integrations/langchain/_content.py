"""Content blocks of LangChain messages as OpenAI content parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from llamacpp_core.errors import InvalidMessageError, UnsupportedCapabilityError

__all__ = ["Content", "convert_content", "refuse"]

# Blocks that repeat what a message has in its tool_calls.
_CALLS = ("tool_call", "tool_use", "tool_call_chunk", "function_call", "invalid_tool_call")
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


class Content(NamedTuple):
    """A message's content, taken apart.

    Attributes:
        value: A string, or content parts when there is media among them.
        reasoning: The text of its reasoning blocks.
    """

    value: str | list[dict[str, Any]]
    reasoning: str


def refuse(index: int, path: str, message: str) -> NoReturn:
    """Raises an :class:`InvalidMessageError` for a message of the conversation."""
    where = f"messages[{index}]{path}"
    raise InvalidMessageError(f"{where}: {message}", parameter=where, index=index)


def convert_content(index: int, content: str | list[Any], call_ids: set[str | None]) -> Content:
    """Content of a message, as text where it is text only.

    Args:
        index: The message's position in the conversation, for errors.
        content: ``message.content``.
        call_ids: Ids of the message's tool calls; blocks that repeat these calls are left out.

    Raises:
        InvalidMessageError: A block is unknown or incomplete.
        UnsupportedCapabilityError: A block holds what no model here takes.
    """
    if isinstance(content, str):
        return Content(content, "")
    parts: list[dict[str, Any]] = []
    reasoning: list[str] = []
    for i, block in enumerate(content):
        path = f".content[{i}]"
        if isinstance(block, str):
            parts.append({"type": "text", "text": block})
        elif not isinstance(block, Mapping):
            refuse(index, path, f"must be a string or a dict with a 'type', got {type(block).__name__}")
        elif block.get("type") in ("reasoning", "thinking", "reasoning_content"):
            reasoning.append(_reasoning(index, path, block))
        elif block.get("type") in _CALLS:
            if block.get("id") not in call_ids:
                refuse(
                    index,
                    path,
                    f"names the tool call {block.get('id')!r}, which is not in the message's tool_calls",
                )
        else:
            parts.append(_part(index, path, block))
    if all(part["type"] == "text" for part in parts):
        return Content("".join(part["text"] for part in parts), "".join(reasoning))
    return Content(parts, "".join(reasoning))


def _reasoning(index: int, path: str, block: Mapping[str, Any]) -> str:
    for key in ("reasoning", "thinking", "reasoning_content"):
        if isinstance(block.get(key), str):
            return str(block[key])
    summary = block.get("summary") or ()  # OpenAI's form: what may be shown of it
    if isinstance(summary, Sequence) and all(isinstance(part, Mapping) for part in summary):
        return "\n\n".join(str(part.get("text") or "") for part in summary)
    refuse(index, path, "needs its text as a string under 'reasoning'")


def _part(index: int, path: str, block: Mapping[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind in ("text", "text-plain"):
        if not isinstance(block.get("text"), str):
            refuse(index, path, "needs a string under 'text'")
        return {"type": "text", "text": block["text"]}
    if kind == "refusal":
        return {"type": "text", "text": str(block.get("refusal") or "")}
    if kind == "image_url":
        return {"type": "image_url", "image_url": block.get("image_url")}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _image_url(index, path, block)}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": block.get("input_audio")}
    if kind == "audio":
        return {"type": "input_audio", "input_audio": _audio(index, path, block)}
    if kind in ("file", "video", "document"):
        raise UnsupportedCapabilityError(
            f"messages[{index}]{path}: a model of llama.cpp takes no {kind} blocks: put its text, "
            "or its images, into the message",
            parameter=f"messages[{index}]{path}",
        )
    refuse(
        index,
        path,
        f"unknown content block type {kind!r}: a model takes text, image, audio and reasoning blocks; put "
        "what else there is into a text block, or remove the block",
    )


def _image_url(index: int, path: str, block: Mapping[str, Any]) -> str:
    source = block.get("source")
    if isinstance(source, Mapping):  # Anthropic's form
        block = {
            "base64": source.get("data"),
            "mime_type": source.get("media_type"),
            "url": source.get("url"),
        }
    if block.get("base64"):
        return f"data:{block.get('mime_type') or 'image/png'};base64,{block['base64']}"
    if block.get("url"):
        return str(block["url"])
    refuse(index, path, "an image needs its data under 'base64', with 'mime_type'")


def _audio(index: int, path: str, block: Mapping[str, Any]) -> dict[str, str]:
    form = _AUDIO_FORMATS.get(str(block.get("mime_type")))
    if not block.get("base64") or form is None:
        refuse(
            index, path, "audio needs its data under 'base64' and a 'mime_type' of audio/wav or audio/mpeg"
        )
    return {"data": str(block["base64"]), "format": form}
