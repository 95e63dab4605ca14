"""The shapes of requests and answers, as TypedDicts.

They follow the OpenAI API reference (chat completions, completions, embeddings) under the names that
llama-cpp-python gave them, so annotations written for that library keep working. What llama.cpp adds
(``timings``, ``reasoning_content``, rerank results) is marked as such. A key that may be absent is
``NotRequired``; a key that may be null has ``None`` in its type. All of them are plain dicts at run time.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

__all__ = [
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatCompletionFinishReason",
    "ChatCompletionFunction",
    "ChatCompletionJSONSchema",
    "ChatCompletionLogprobToken",
    "ChatCompletionLogprobs",
    "ChatCompletionMessageToolCall",
    "ChatCompletionMessageToolCallChunk",
    "ChatCompletionMessageToolCallChunkFunction",
    "ChatCompletionMessageToolCallFunction",
    "ChatCompletionMessageToolCalls",
    "ChatCompletionNamedToolChoice",
    "ChatCompletionNamedToolChoiceFunction",
    "ChatCompletionRequestAssistantMessage",
    "ChatCompletionRequestFunctionCall",
    "ChatCompletionRequestFunctionCallOption",
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
    "ChatCompletionResponseChoice",
    "ChatCompletionResponseFunctionCall",
    "ChatCompletionResponseMessage",
    "ChatCompletionStreamResponseChoice",
    "ChatCompletionStreamResponseDelta",
    "ChatCompletionStreamResponseDeltaFunctionCall",
    "ChatCompletionTool",
    "ChatCompletionToolChoiceOption",
    "ChatCompletionTopLogprobToken",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionLogprobs",
    "CompletionTokensDetails",
    "CompletionUsage",
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "CreateCompletionStreamResponse",
    "CreateEmbeddingResponse",
    "Embedding",
    "EmbeddingUsage",
    "JsonType",
    "PromptTokensDetails",
    "RerankResult",
    "Timings",
]

JsonType: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""Any value that JSON can hold."""

ChatCompletionFinishReason: TypeAlias = Literal[
    "stop", "length", "tool_calls", "function_call", "content_filter"
]
"""Why an answer ended: a stop, ``max_tokens`` or the context, a tool call, a legacy function call."""


# --- requests: content parts ---------------------------------------------------------------------------


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


# --- tools ---------------------------------------------------------------------------------------------


class ChatCompletionMessageToolCallFunction(TypedDict):
    """The function of a tool call. Keys: ``name``; ``arguments``, a JSON object written as a string."""

    name: str
    arguments: str


class ChatCompletionMessageToolCall(TypedDict):
    """A tool call. Keys: ``id``, unique, repeated by the tool's answer; ``function``, what to call."""

    id: str
    type: Literal["function"]
    function: ChatCompletionMessageToolCallFunction


ChatCompletionMessageToolCalls: TypeAlias = list[ChatCompletionMessageToolCall]
"""The tool calls of one assistant message."""


class ChatCompletionMessageToolCallChunkFunction(TypedDict):
    """Part of a streamed call. Keys: ``name``, in the first chunk; ``arguments``, the next piece of JSON."""

    name: NotRequired[str | None]
    arguments: NotRequired[str]


class ChatCompletionMessageToolCallChunk(TypedDict):
    """Part of a streamed tool call. Keys: ``index``, which call; ``id`` and ``type``, in its first chunk."""

    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: ChatCompletionMessageToolCallChunkFunction


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


# --- requests: messages --------------------------------------------------------------------------------


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


# --- answers: counts and times -------------------------------------------------------------------------


class PromptTokensDetails(TypedDict):
    """Keys: ``cached_tokens``, prompt tokens that were already in the KV cache."""

    cached_tokens: NotRequired[int]


class CompletionTokensDetails(TypedDict):
    """Keys: ``reasoning_tokens``, generated tokens that were thinking rather than answer."""

    reasoning_tokens: NotRequired[int]


class CompletionUsage(TypedDict):
    """Tokens used. Keys: those of the prompt, those generated, their sum, and details of each."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[PromptTokensDetails]
    completion_tokens_details: NotRequired[CompletionTokensDetails]


class Timings(TypedDict):
    """Speed of one request (llama.cpp).

    Keys: ``cache_n``, prompt tokens reused; ``prompt_n``, prompt tokens evaluated, in ``prompt_ms``
    milliseconds; ``predicted_n``, tokens generated, in ``predicted_ms`` milliseconds; the
    ``*_per_second`` and ``*_per_token_ms`` rates of both; ``draft_n`` and ``draft_n_accepted``,
    tokens drafted and accepted when speculative decoding is on.
    """

    cache_n: NotRequired[int]
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: NotRequired[float]
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: NotRequired[float]
    predicted_per_second: float
    draft_n: NotRequired[int]
    draft_n_accepted: NotRequired[int]


# --- answers: text completions -------------------------------------------------------------------------


class CompletionLogprobs(TypedDict):
    """Log probabilities of a text completion, one entry per token.

    Keys: ``tokens``, their text; ``token_logprobs``, natural logarithms (null for the first token of an
    echoed prompt); ``top_logprobs``, the likeliest tokens at each place; ``text_offset``, the character
    at which each token starts.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(TypedDict):
    """One text, or the next piece of it. Keys: ``text``, ``index``, ``logprobs``, ``finish_reason``."""

    text: str
    index: int
    logprobs: NotRequired[CompletionLogprobs | None]
    finish_reason: Literal["stop", "length"] | None


class CreateCompletionResponse(TypedDict):
    """A text completion, or one chunk of its stream.

    Keys: ``id``, unique; ``created``, Unix seconds; ``model``, the name in use; ``choices``; ``usage``,
    absent from chunks but the last; ``system_fingerprint``, the build; ``timings`` (llama.cpp).
    """

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: NotRequired[CompletionUsage]
    system_fingerprint: NotRequired[str]
    timings: NotRequired[Timings]


# --- answers: chat -------------------------------------------------------------------------------------


class ChatCompletionTopLogprobToken(TypedDict):
    """A likely token. Keys: ``token``, its text; ``logprob``, natural logarithm; ``bytes``, its UTF-8."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatCompletionLogprobToken(ChatCompletionTopLogprobToken):
    """The token chosen. Keys: those of its base; ``top_logprobs``, the likeliest tokens at its place."""

    top_logprobs: list[ChatCompletionTopLogprobToken]


class ChatCompletionLogprobs(TypedDict):
    """Log probabilities of a chat answer. Keys: ``content``, per token; ``refusal``, null here."""

    content: list[ChatCompletionLogprobToken] | None
    refusal: NotRequired[list[ChatCompletionLogprobToken] | None]


class ChatCompletionResponseMessage(TypedDict):
    """The answer.

    Keys: ``content``, null when it only calls tools; ``tool_calls``; ``function_call``, the legacy
    form; ``reasoning_content``, the thinking before the answer (llama.cpp); ``refusal``, null here.
    """

    role: Literal["assistant"]
    content: str | None
    tool_calls: NotRequired[ChatCompletionMessageToolCalls]
    function_call: NotRequired[ChatCompletionResponseFunctionCall]
    reasoning_content: NotRequired[str | None]
    refusal: NotRequired[str | None]


class ChatCompletionResponseChoice(TypedDict):
    """One answer. Keys: ``index``, its place among ``n``; ``message``; ``finish_reason``; ``logprobs``."""

    index: int
    message: ChatCompletionResponseMessage
    finish_reason: ChatCompletionFinishReason | None
    logprobs: NotRequired[ChatCompletionLogprobs | None]


class CreateChatCompletionResponse(TypedDict):
    """A chat completion. Keys: as in :class:`CreateCompletionResponse`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatCompletionResponseChoice]
    usage: CompletionUsage
    system_fingerprint: NotRequired[str]
    timings: NotRequired[Timings]


class ChatCompletionStreamResponseDeltaFunctionCall(TypedDict):
    """Part of a legacy call. Keys: ``name``, in the first chunk; ``arguments``, the next piece of JSON."""

    name: NotRequired[str | None]
    arguments: NotRequired[str]


class ChatCompletionStreamResponseDelta(TypedDict, total=False):
    """What a chunk adds to the answer; every key may be absent.

    Keys: ``role``, in the first chunk; ``content``, the next piece of text; ``reasoning_content``, the
    next piece of thinking (llama.cpp); ``tool_calls``, pieces of calls; ``function_call``, legacy.
    """

    role: Literal["assistant"] | None
    content: str | None
    reasoning_content: str | None
    tool_calls: list[ChatCompletionMessageToolCallChunk] | None
    function_call: ChatCompletionStreamResponseDeltaFunctionCall | None


class ChatCompletionStreamResponseChoice(TypedDict):
    """A chunk's part of one answer. Keys: ``delta``; ``finish_reason``, null but in the last chunk."""

    index: int
    delta: ChatCompletionStreamResponseDelta
    finish_reason: ChatCompletionFinishReason | None
    logprobs: NotRequired[ChatCompletionLogprobs | None]


class CreateChatCompletionStreamResponse(TypedDict):
    """One chunk of a streamed chat completion.

    Keys: as in :class:`CreateCompletionResponse`; all chunks of a stream share ``id`` and ``created``;
    ``usage`` and ``timings`` come with the last chunk, ``usage`` being null before it when asked for.
    """

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatCompletionStreamResponseChoice]
    usage: NotRequired[CompletionUsage | None]
    system_fingerprint: NotRequired[str]
    timings: NotRequired[Timings]


# --- answers: embeddings and reranking -----------------------------------------------------------------


class EmbeddingUsage(TypedDict):
    """Tokens embedded. Keys: ``prompt_tokens`` and ``total_tokens``, equal here."""

    prompt_tokens: int
    total_tokens: int


class Embedding(TypedDict):
    """One input's embedding. Keys: ``index`` of the input; ``embedding``, one vector or one per token."""

    index: int
    object: Literal["embedding"]
    embedding: list[float] | list[list[float]] | str


class CreateEmbeddingResponse(TypedDict):
    """Embeddings. Keys: ``data``, one entry per input in their order; ``model``; ``usage``."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class RerankResult(TypedDict):
    """A scored document. Keys: ``index`` in the input; ``relevance_score``; ``document``, when asked for."""

    index: int
    relevance_score: float
    document: NotRequired[str]


ChatCompletion: TypeAlias = CreateChatCompletionResponse
ChatCompletionChunk: TypeAlias = CreateChatCompletionStreamResponse
Completion: TypeAlias = CreateCompletionResponse
CompletionChunk: TypeAlias = CreateCompletionResponse
CreateCompletionStreamResponse: TypeAlias = CreateCompletionResponse
