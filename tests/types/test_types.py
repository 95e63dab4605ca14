"""The TypedDicts are complete, documented, and mean what the OpenAI shapes say."""

from __future__ import annotations

import copy
import inspect
import typing
from typing import Any

import pytest
from typeddict_check import validate

from llamacpp_core import types

TYPED_DICTS = [
    value
    for name, value in vars(types).items()
    if typing.is_typeddict(value) and value.__module__.startswith(types.__name__)
]

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": "Think.",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": "tool_calls",
            "logprobs": {
                "content": [
                    {
                        "token": "a",
                        "logprob": -0.5,
                        "bytes": [97],
                        "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": None}],
                    }
                ],
                "refusal": None,
            },
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    "system_fingerprint": "b1",
    "timings": {
        "cache_n": 0,
        "prompt_n": 3,
        "prompt_ms": 1.5,
        "prompt_per_second": 2000.0,
        "predicted_n": 2,
        "predicted_ms": 4,
        "predicted_per_second": 500.0,
    },
}


def test_all_is_sorted_and_complete() -> None:
    own = {
        name
        for name, value in vars(types).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "") not in ("typing", "__future__")
        and not inspect.ismodule(value)
    }
    aliases = {name for name in types.__all__ if name not in own}
    assert types.__all__ == sorted(types.__all__)
    assert own <= set(types.__all__)
    assert all(hasattr(types, name) for name in aliases)


@pytest.mark.parametrize("typed_dict", TYPED_DICTS, ids=lambda value: value.__name__)
def test_every_shape_is_documented_and_resolves(typed_dict: Any) -> None:
    assert inspect.getdoc(typed_dict)
    assert typing.get_type_hints(typed_dict)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ChatCompletionRequestSystemMessage", {"role", "content", "name"}),
        ("ChatCompletionRequestUserMessage", {"role", "content", "name"}),
        (
            "ChatCompletionRequestAssistantMessage",
            {"role", "content", "name", "tool_calls", "function_call"},
        ),
        ("ChatCompletionRequestToolMessage", {"role", "content", "tool_call_id"}),
        ("ChatCompletionRequestFunctionMessage", {"role", "content", "name"}),
        ("CreateChatCompletionResponse", {"id", "object", "created", "model", "choices", "usage"}),
        ("ChatCompletionResponseChoice", {"index", "message", "finish_reason", "logprobs"}),
        ("ChatCompletionResponseMessage", {"role", "content", "function_call", "tool_calls"}),
        ("CreateChatCompletionStreamResponse", {"id", "object", "created", "model", "choices"}),
        ("ChatCompletionStreamResponseChoice", {"index", "delta", "finish_reason", "logprobs"}),
        ("ChatCompletionMessageToolCall", {"id", "type", "function"}),
        ("ChatCompletionTool", {"type", "function"}),
        ("ChatCompletionFunction", {"name", "description", "parameters"}),
        ("ChatCompletionRequestResponseFormat", {"type"}),
        ("CompletionUsage", {"prompt_tokens", "completion_tokens", "total_tokens"}),
    ],
)
def test_the_promised_keys_are_there(name: str, keys: set[str]) -> None:
    assert keys <= set(typing.get_type_hints(getattr(types, name)))


def test_a_full_answer_is_valid() -> None:
    assert validate(CHAT, types.CreateChatCompletionResponse) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("created",), "now", "value.created: expected int, got str"),
        (("created",), True, "value.created: expected int, got bool"),
        (("object",), "chat", "value.object: expected one of ('chat.completion',), got 'chat'"),
        (("choices", 0, "finish_reason"), "done", "value.choices[0].finish_reason"),
        (("choices", 0, "message", "content"), 3, "value.choices[0].message.content: expected str, got int"),
        (("choices", 0, "message", "thoughts"), "", "value.choices[0].message.thoughts: not a key of"),
        (("usage", "total_tokens"), None, "value.usage.total_tokens: expected int, got NoneType"),
        (("timings", "prompt_ms"), "1", "value.timings.prompt_ms: expected float, got str"),
    ],
)
def test_a_wrong_key_is_reported(path: tuple[Any, ...], value: Any, problem: str) -> None:
    answer = copy.deepcopy(CHAT)
    place: Any = answer
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (found,) = validate(answer, types.CreateChatCompletionResponse)
    assert found.startswith(problem)


def test_a_missing_key_is_reported() -> None:
    answer = {key: value for key, value in CHAT.items() if key != "usage"}
    assert validate(answer, types.CreateChatCompletionResponse) == [
        "value.usage: missing from CreateChatCompletionResponse"
    ]


@pytest.mark.parametrize(
    ("value", "typed_dict"),
    [
        (
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1,
                "model": "m",
                "choices": [
                    {
                        "text": "a",
                        "index": 0,
                        "finish_reason": "stop",
                        "logprobs": {
                            "tokens": ["a"],
                            "token_logprobs": [None],
                            "top_logprobs": [{"a": -1.0}],
                            "text_offset": [0],
                        },
                    }
                ],
            },
            types.CreateCompletionResponse,
        ),
        (
            {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [
                    {
                        "index": 0,
                        "delta": {
                            "tool_calls": [{"index": 0, "function": {"arguments": "{"}}],
                        },
                        "finish_reason": None,
                    }
                ],
                "usage": None,
            },
            types.CreateChatCompletionStreamResponse,
        ),
        (
            {
                "object": "list",
                "model": "m",
                "data": [{"index": 0, "object": "embedding", "embedding": [0.5, 1]}],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            },
            types.CreateEmbeddingResponse,
        ),
        ({"index": 1, "relevance_score": 0.5, "document": "d"}, types.RerankResult),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                ],
            },
            types.ChatCompletionRequestUserMessage,
        ),
    ],
)
def test_other_shapes_are_valid(value: dict[str, Any], typed_dict: Any) -> None:
    assert validate(value, typed_dict) == []
