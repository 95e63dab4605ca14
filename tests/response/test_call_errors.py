"""What is wrong with a call that no grammar could hold in full stands beside it, streamed or not."""

from __future__ import annotations

import json
from typing import Any

from llamacpp_core.engine.events import Final, Piece
from llamacpp_core.response.assemblers import ChatAssembler
from llamacpp_core.response.cut_off import MessageSoFar

PIECES = [
    {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"n": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]},
]
END = Final(0, "eos", n_prompt=1, n_cached=0, n_decoded=4, timings={})


class _Deltas:
    complete = True

    def feed(self, text: str) -> list[dict[str, Any]]:
        return [json.loads(text)]

    def finish(self) -> list[dict[str, Any]]:
        return []


def problem(function: dict[str, Any]) -> str | None:
    return "$.n: 1 is not even" if function["arguments"] == '{"n": 1}' else None


def assembler(**settings: Any) -> ChatAssembler:
    return ChatAssembler(model="m", new_parser=_Deltas, check_call=problem, **settings)


def events() -> list[Piece | Final]:
    return [*(Piece(0, json.dumps(piece)) for piece in PIECES), END]


def test_whole_answers() -> None:
    made = assembler()
    for event in events():
        made.add(event)
    calls = made.response()["choices"][0]["message"]["tool_calls"]
    assert [call.get("error") for call in calls] == ["$.n: 1 is not even", None]


def test_streams_say_it_before_they_end() -> None:
    made = assembler()
    choices = [chunk["choices"][0] for event in events() for chunk in made.chunks(event)]
    assert choices[-2]["delta"] == {"tool_calls": [{"index": 0, "error": "$.n: 1 is not even"}]}
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "tool_calls"]
    message = MessageSoFar()
    for choice in choices:
        message.add(choice["delta"])
    first, second = message.message["tool_calls"]
    assert first["error"] == "$.n: 1 is not even"
    assert first["function"] == {"name": "f", "arguments": '{"n": 1}'}
    assert "error" not in second


def test_legacy_functions_have_no_place_for_it() -> None:
    made = assembler(legacy_functions=True)
    deltas = [chunk["choices"][0]["delta"] for event in events() for chunk in made.chunks(event)]
    assert not any("tool_calls" in delta for delta in deltas)


def test_langchain_keeps_it_beside_the_call() -> None:
    from llamacpp_integrations.langchain import _messages as messages

    made = assembler()
    chunks = [
        messages.stream_chunk(chunk["choices"][0]["delta"], None, blocks=False)
        for event in events()
        for chunk in made.chunks(event)
    ]
    found = [chunk.message for chunk in chunks if chunk is not None]
    message = sum(found[1:], found[0])
    assert [call["args"] for call in message.tool_calls] == [{"n": 1}, {}]
    assert message.additional_kwargs["tool_call_errors"] == {"0": "$.n: 1 is not even"}
