"""Answers: text and chat completions, whole and streamed, embeddings, scores, counts and times."""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

from llamacpp_core.types.common import (
    ChatCompletionFinishReason,
)
from llamacpp_core.types.tools import (
    ChatCompletionMessageToolCallChunk,
    ChatCompletionMessageToolCalls,
    ChatCompletionResponseFunctionCall,
)

__all__ = [
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatCompletionLogprobToken",
    "ChatCompletionLogprobs",
    "ChatCompletionResponseChoice",
    "ChatCompletionResponseMessage",
    "ChatCompletionStreamResponseChoice",
    "ChatCompletionStreamResponseDelta",
    "ChatCompletionStreamResponseDeltaFunctionCall",
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
    "PromptTokensDetails",
    "RerankResult",
    "SchemaReport",
    "Timings",
]


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


class CompletionLogprobs(TypedDict):
    """Log probabilities of a text completion, one entry per token, or for the last of those of one character.

    Keys: ``tokens``, their text; ``token_logprobs``, natural logarithms (null for the first token of an
    echoed prompt); ``top_logprobs``, the likeliest tokens at each place; ``text_offset``, the character
    at which each token starts.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(TypedDict):
    """One text, or the next piece of it.

    Keys: ``text``, ``index``, ``logprobs``, ``finish_reason``; ``stop_reason``, the stop string that ended
    it, absent where none did.
    """

    text: str
    index: int
    logprobs: NotRequired[CompletionLogprobs | None]
    finish_reason: Literal["stop", "length"] | None
    stop_reason: NotRequired[str]


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


class ChatCompletionTopLogprobToken(TypedDict):
    """A likely token. Keys: ``token``, its text; ``logprob``, natural logarithm; ``bytes``, its UTF-8."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatCompletionLogprobToken(ChatCompletionTopLogprobToken):
    """The token chosen. Keys: those of its base; ``top_logprobs``, the likeliest tokens at its place."""

    top_logprobs: list[ChatCompletionTopLogprobToken]


class ChatCompletionLogprobs(TypedDict):
    """Log probabilities of a chat answer. Keys: ``content``, per token; ``refusal``, null here.

    Several tokens that make one character have one entry, that of the last.
    """

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


class SchemaReport(TypedDict):
    """What no grammar held of the schemas of a request with ``schema_strictness="report"``.

    Keys: ``left_out``, what was left to validation, by JSON path and reason; ``error``, what is wrong with
    the answer, null for nothing.
    """

    left_out: list[str]
    error: str | None


class ChatCompletionResponseChoice(TypedDict):
    """One answer.

    Keys: ``index``, its place among ``n``; ``message``; ``finish_reason``; ``logprobs``; ``stop_reason``, the
    stop string that ended it, absent where none did; ``schema_report``.
    """

    index: int
    message: ChatCompletionResponseMessage
    finish_reason: ChatCompletionFinishReason | None
    logprobs: NotRequired[ChatCompletionLogprobs | None]
    stop_reason: NotRequired[str]
    schema_report: NotRequired[SchemaReport]


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
    """A chunk's part of one answer.

    Keys: ``delta``; ``finish_reason``, null but in the last chunk, where ``stop_reason``, the stop string
    that ended it, and ``schema_report`` come too.
    """

    index: int
    delta: ChatCompletionStreamResponseDelta
    finish_reason: ChatCompletionFinishReason | None
    logprobs: NotRequired[ChatCompletionLogprobs | None]
    stop_reason: NotRequired[str]
    schema_report: NotRequired[SchemaReport]


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
