"""The parts of an answer, found in the chunks of a model that thinks and calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from llamacpp_integrations.server import messages_api, messages_request, responses_api, responses_request
from llamacpp_integrations.server.blocks import BlockReader, blocks_of

DELTAS: list[dict[str, Any]] = [
    {"role": "assistant", "content": None},
    {"reasoning_content": "Let me "},
    {"reasoning_content": "see."},
    {"content": "I look"},
    {"content": " it up."},
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "see", "arguments": "{}"}}]},
]
PARTS = [("reasoning", "Let me see."), ("text", "I look it up."), ("call", '{"x": 1}'), ("call", "{}")]
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 7,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 2},
}


def chunk_of(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


async def chunks() -> AsyncIterator[dict[str, Any]]:
    for delta in DELTAS:
        yield chunk_of(delta)
    yield {**chunk_of({}, "tool_calls"), "usage": USAGE}


def test_blocks_of_a_stream() -> None:
    reader = BlockReader()
    steps = [step for delta in DELTAS for step in reader.feed(chunk_of(delta))] + list(reader.finish())
    assert [(block.kind, block.text) for block in reader.blocks] == PARTS
    assert [(block.id, block.name) for block in reader.blocks[2:]] == [("a", "look"), ("b", "see")]
    order = [(step.block.index, step.what) for step in steps if step.what != "piece"]
    assert order == [(i, what) for i in range(4) for what in ("begin", "end")]


def test_blocks_of_a_whole_answer() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "see", "arguments": "{}"}},
    ]
    message = {"content": "I look it up.", "reasoning_content": "Let me see.", "tool_calls": calls}
    assert [(block.kind, block.text) for block in blocks_of({"message": message})] == PARTS


def events(data: bytes) -> dict[str, Any]:
    return json.loads(data.partition(b"data: ")[2])  # type: ignore[no-any-return]


async def test_reasoning_and_calls_in_anthropics_form() -> None:
    given = messages_api._events(chunks(), "m", {})  # type: ignore[arg-type]
    found = [events(data) async for data in given]
    starts = [event["content_block"]["type"] for event in found if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use", "tool_use"]
    last = next(event for event in found if event["type"] == "message_delta")
    assert last["delta"]["stop_reason"] == "tool_use"
    assert (last["usage"]["input_tokens"], last["usage"]["cache_read_input_tokens"]) == (3, 2)


async def test_reasoning_and_calls_in_the_form_of_responses() -> None:
    writer = responses_api._Events(responses_api._response({}, "m"))
    found = [events(data) async for data in writer.encode(chunks())]  # type: ignore[arg-type]
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["content"][0]["text"] == "Let me see."
    assert len({item["id"] for item in output}) == 4


def test_what_was_answered_is_understood_again() -> None:
    asked = {"role": "user", "content": "?"}
    theirs = [messages_api._content(block) for block in _blocks()]
    body = {"messages": [asked, {"role": "assistant", "content": theirs}]}
    (_, answer) = messages_request.chat_request(body).messages
    assert answer["reasoning_content"] == "Let me see."
    assert [call["function"]["name"] for call in answer["tool_calls"]] == ["look", "see"]
    items = [responses_api._item(block, "x", "completed") for block in _blocks()]
    (_, again) = responses_request.chat_request({"input": [asked, *items]}).messages
    assert again["reasoning_content"] == "Let me see."
    assert again["content"] == [{"type": "text", "text": "I look it up."}]
    assert [call["function"]["name"] for call in again["tool_calls"]] == ["look", "see"]


def _blocks() -> list[Any]:
    reader = BlockReader()
    for delta in DELTAS:
        list(reader.feed(chunk_of(delta)))
    return reader.blocks
