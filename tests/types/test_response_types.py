"""What is really returned has the shapes of llamacpp_core.types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typeddict_check import validate

from llamacpp_core import Llama, types

PROMPT = "The capital of France is"
MESSAGES = [{"role": "user", "content": "What is the capital of Italy?"}]
TOOL = {
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}},
}
SHORT: dict[str, Any] = {"max_tokens": 6, "temperature": 0}
CALL: dict[str, Any] = {
    "tools": [{"type": "function", "function": TOOL}],
    "tool_choice": {"type": "function", "function": {"name": "look_up"}},
    "temperature": 0,
}


def same(ids: Any, scores: Any) -> Any:
    return scores


COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "logprobs": {"logprobs": 2},
    "echo with logprobs": {"echo": True, "logprobs": 1},
    "several": {"n": 2, "temperature": 1.0},
    "best of": {"best_of": 3, "temperature": 1.0},
    "stop": {"stop": "."},
    "logits processor": {"logits_processor": same, "logprobs": 1},
}
CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "several": {"n": 2, "temperature": 1.0},
    "call": CALL | {"max_tokens": 60},
    "function call": {
        "functions": [TOOL],
        "function_call": {"name": "look_up"},
        "max_tokens": 60,
    },
    "schema": {"response_format": {"type": "json_object", "schema": {"type": "boolean"}}},
    "logits processor": {"logits_processor": same, "logprobs": True},
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_completions(llm: Llama, name: str) -> None:
    given = SHORT | COMPLETIONS[name]
    response = llm.create_completion(PROMPT, **given)
    assert validate(response, types.CreateCompletionResponse) == []
    assert "usage" in response


@pytest.mark.parametrize(
    "options", [{}, {"stream_options": {"include_usage": True}}], ids=["", "include_usage"]
)
@pytest.mark.parametrize("name", [name for name in COMPLETIONS if name != "best of"])
def test_chunks_of_completions(llm: Llama, name: str, options: dict[str, Any]) -> None:
    chunks = list(llm.create_completion(PROMPT, stream=True, **(SHORT | COMPLETIONS[name] | options)))
    assert [problem for chunk in chunks for problem in validate(chunk, types.CreateCompletionResponse)] == []
    assert sum("usage" in chunk for chunk in chunks) == 1


@pytest.mark.parametrize("name", CHATS)
def test_chats(llm: Llama, name: str) -> None:
    response = llm.create_chat_completion(MESSAGES, **(SHORT | CHATS[name]))
    assert validate(response, types.CreateChatCompletionResponse) == []


@pytest.mark.parametrize(
    "options", [{}, {"stream_options": {"include_usage": True}}], ids=["", "include_usage"]
)
@pytest.mark.parametrize("name", CHATS)
def test_chunks_of_chats(llm: Llama, name: str, options: dict[str, Any]) -> None:
    chunks = list(llm.create_chat_completion(MESSAGES, stream=True, **(SHORT | CHATS[name] | options)))
    problems = [p for chunk in chunks for p in validate(chunk, types.CreateChatCompletionStreamResponse)]
    assert problems == []
    assert len({chunk["id"] for chunk in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_chats_of_a_handler(smollm2_path: Any, stream: bool) -> None:
    from llamacpp_core.chat_format import get_chat_completion_handler

    handler = get_chat_completion_handler("chatml")
    with Llama(smollm2_path, n_ctx=512, n_parallel=1, chat_handler=handler) as llm:
        given: dict[str, Any] = SHORT | {"logprobs": True, "top_logprobs": 1}
        answer: Any = llm.create_chat_completion(MESSAGES, stream=stream, **given)
        shape = types.CreateChatCompletionStreamResponse if stream else types.CreateChatCompletionResponse
        problems = [p for part in (answer if stream else [answer]) for p in validate(part, shape)]
        assert problems == []


@pytest.mark.parametrize("make", [lambda e: "one text", lambda e: ["two", "texts"]], ids=["one", "two"])
def test_embeddings(embedder: Llama, make: Callable[[Any], Any]) -> None:
    assert validate(embedder.create_embedding(make(embedder)), types.CreateEmbeddingResponse) == []


def test_rerank(embedder: Llama) -> None:
    for with_documents in (False, True):
        results = embedder.rerank("a dog", ["a puppy", "a car"], return_documents=with_documents)
        assert [p for result in results for p in validate(result, types.RerankResult)] == []


def test_a_request_of_these_types_is_accepted(llm: Llama) -> None:
    messages: list[types.ChatCompletionRequestMessage] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello!"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "user", "content": "And?"},
    ]
    tool: types.ChatCompletionTool = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
    choice: types.ChatCompletionToolChoiceOption = "none"
    answer = llm.create_chat_completion(messages, tools=[tool], tool_choice=choice, max_tokens=4)
    assert answer["choices"][0]["message"]["content"]
