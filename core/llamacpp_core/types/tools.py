"""Tools: their definitions, who may call them, and their calls."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "ChatCompletionFunction",
    "ChatCompletionMessageToolCall",
    "ChatCompletionMessageToolCallChunk",
    "ChatCompletionMessageToolCallChunkFunction",
    "ChatCompletionMessageToolCallFunction",
    "ChatCompletionMessageToolCalls",
    "ChatCompletionNamedToolChoice",
    "ChatCompletionNamedToolChoiceFunction",
    "ChatCompletionRequestFunctionCall",
    "ChatCompletionRequestFunctionCallOption",
    "ChatCompletionResponseFunctionCall",
    "ChatCompletionTool",
    "ChatCompletionToolChoiceOption",
]


class ChatCompletionMessageToolCallFunction(TypedDict):
    """The function of a tool call. Keys: ``name``; ``arguments``, a JSON object written as a string."""

    name: str
    arguments: str


class ChatCompletionMessageToolCall(TypedDict):
    """A tool call. Keys: ``id``, unique, repeated by the tool's answer; ``function``, what to call.

    ``error`` says why the arguments are not valid, where no grammar could enforce the tool's schema in full.
    """

    id: str
    type: Literal["function"]
    function: ChatCompletionMessageToolCallFunction
    error: NotRequired[str]


ChatCompletionMessageToolCalls: TypeAlias = list[ChatCompletionMessageToolCall]
"""The tool calls of one assistant message."""


class ChatCompletionMessageToolCallChunkFunction(TypedDict):
    """Part of a streamed call. Keys: ``name``, in the first chunk; ``arguments``, the next piece of JSON."""

    name: NotRequired[str | None]
    arguments: NotRequired[str]


class ChatCompletionMessageToolCallChunk(TypedDict):
    """Part of a streamed tool call. Keys: ``index``, which call; ``id`` and ``type``, in its first chunk.

    ``error`` comes last and alone: why the whole call is not valid.
    """

    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: NotRequired[ChatCompletionMessageToolCallChunkFunction]
    error: NotRequired[str]


class ChatCompletionFunction(TypedDict):
    """A function offered to the model.

    Keys: ``name``; ``description``, when and how to use it; ``parameters``, a JSON schema of its
    arguments; ``strict``, whether the arguments must follow the schema exactly.
    """

    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[dict[str, Any]]
    strict: NotRequired[bool | None]


class ChatCompletionTool(TypedDict):
    """A tool offered to the model. Keys: ``function``, its declaration."""

    type: Literal["function"]
    function: ChatCompletionFunction


class ChatCompletionNamedToolChoiceFunction(TypedDict):
    """The function to force. Keys: ``name``."""

    name: str


class ChatCompletionNamedToolChoice(TypedDict):
    """Forces one tool. Keys: ``function``, which one."""

    type: Literal["function"]
    function: ChatCompletionNamedToolChoiceFunction


ChatCompletionToolChoiceOption: TypeAlias = (
    Literal["none", "auto", "required"] | ChatCompletionNamedToolChoice
)
"""No tools, the model's choice, at least one tool, or this very tool."""


class ChatCompletionRequestFunctionCallOption(TypedDict):
    """Legacy way to force one function. Keys: ``name``."""

    name: str


ChatCompletionRequestFunctionCall: TypeAlias = (
    Literal["none", "auto"] | ChatCompletionRequestFunctionCallOption
)
"""Legacy ``function_call``; ``tool_choice`` replaced it."""


class ChatCompletionResponseFunctionCall(TypedDict):
    """Legacy call of a function. Keys: ``name``; ``arguments``, a JSON object written as a string."""

    name: str
    arguments: str
