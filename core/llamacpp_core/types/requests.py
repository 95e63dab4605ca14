"""What a request holds: messages, their content parts, and the form of the answer."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from llamacpp_core.types.common import (
    JsonType,
)
from llamacpp_core.types.tools import (
    ChatCompletionMessageToolCalls,
    ChatCompletionResponseFunctionCall,
)

__all__ = [
    "ChatCompletionJSONSchema",
    "ChatCompletionRequestAssistantMessage",
    "ChatCompletionRequestFunctionMessage",
    "ChatCompletionRequestMessage",
    "ChatCompletionRequestMessageContentPart",
    "ChatCompletionRequestMessageContentPartAudio",
    "ChatCompletionRequestMessageContentPartAudioInputAudio",
    "ChatCompletionRequestMessageContentPartImage",
    "ChatCompletionRequestMessageContentPartImageImageUrl",
    "ChatCompletionRequestMessageContentPartText",
    "ChatCompletionRequestResponseFormat",
    "ChatCompletionRequestSystemMessage",
    "ChatCompletionRequestToolMessage",
    "ChatCompletionRequestUserMessage",
]


class ChatCompletionRequestMessageContentPartText(TypedDict):
    """A piece of text. Keys: ``text``, the text itself."""

    type: Literal["text"]
    text: str


class ChatCompletionRequestMessageContentPartImageImageUrl(TypedDict):
    """Where an image is. Keys: ``url``, a data URL or address; ``detail``, the resolution asked for."""

    url: str
    detail: NotRequired[Literal["auto", "low", "high"]]


class ChatCompletionRequestMessageContentPartImage(TypedDict):
    """An image. Keys: ``image_url``, its address, bare or with the detail wanted."""

    type: Literal["image_url"]
    image_url: str | ChatCompletionRequestMessageContentPartImageImageUrl


class ChatCompletionRequestMessageContentPartAudioInputAudio(TypedDict):
    """Sound. Keys: ``data``, the file in base64; ``format``, its container."""

    data: str
    format: Literal["wav", "mp3"]


class ChatCompletionRequestMessageContentPartAudio(TypedDict):
    """A piece of sound. Keys: ``input_audio``, the encoded file."""

    type: Literal["input_audio"]
    input_audio: ChatCompletionRequestMessageContentPartAudioInputAudio


ChatCompletionRequestMessageContentPart: TypeAlias = (
    ChatCompletionRequestMessageContentPartText
    | ChatCompletionRequestMessageContentPartImage
    | ChatCompletionRequestMessageContentPartAudio
)
"""One part of a message whose content is a list."""


class ChatCompletionRequestSystemMessage(TypedDict):
    """Instructions. Keys: ``content``; ``name``, an optional name of the author."""

    role: Literal["system", "developer"]
    content: str | list[ChatCompletionRequestMessageContentPartText]
    name: NotRequired[str]


class ChatCompletionRequestUserMessage(TypedDict):
    """What the user says. Keys: ``content``, text or parts; ``name``, an optional name of the author."""

    role: Literal["user"]
    content: str | list[ChatCompletionRequestMessageContentPart]
    name: NotRequired[str]


class ChatCompletionRequestAssistantMessage(TypedDict):
    """An earlier answer.

    Keys: ``content``, null or absent when it only called tools; ``tool_calls``, what it called;
    ``function_call``, the legacy form; ``reasoning_content``, its thinking (llama.cpp); ``name``.
    """

    role: Literal["assistant"]
    content: NotRequired[str | list[ChatCompletionRequestMessageContentPartText] | None]
    name: NotRequired[str]
    tool_calls: NotRequired[ChatCompletionMessageToolCalls]
    function_call: NotRequired[ChatCompletionResponseFunctionCall]
    reasoning_content: NotRequired[str | None]


class ChatCompletionRequestToolMessage(TypedDict):
    """What a tool returned. Keys: ``content``; ``tool_call_id``, the call answered; ``name``, the tool."""

    role: Literal["tool"]
    content: str | list[ChatCompletionRequestMessageContentPartText]
    tool_call_id: str
    name: NotRequired[str]


class ChatCompletionRequestFunctionMessage(TypedDict):
    """Legacy form of a tool's answer. Keys: ``content``; ``name``, the function."""

    role: Literal["function"]
    content: str | None
    name: str


ChatCompletionRequestMessage: TypeAlias = (
    ChatCompletionRequestSystemMessage
    | ChatCompletionRequestUserMessage
    | ChatCompletionRequestAssistantMessage
    | ChatCompletionRequestToolMessage
    | ChatCompletionRequestFunctionMessage
)
"""A message of a conversation, told apart by its ``role``."""


class ChatCompletionJSONSchema(TypedDict):
    """The schema of a ``json_schema`` answer. Keys: ``schema``; ``name``; ``description``; ``strict``."""

    schema: dict[str, Any]
    name: NotRequired[str]
    description: NotRequired[str]
    strict: NotRequired[bool | None]


class ChatCompletionRequestResponseFormat(TypedDict):
    """The form of the answer.

    Keys: ``type``; ``schema``, an optional JSON schema for ``json_object``; ``json_schema``, the schema
    for ``json_schema``.
    """

    type: Literal["text", "json_object", "json_schema"]
    schema: NotRequired[JsonType]
    json_schema: NotRequired[ChatCompletionJSONSchema]
