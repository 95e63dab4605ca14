"""Without tools to call, an answer calls none, whatever earlier turns have done."""

from __future__ import annotations

from typing import Any

from llamacpp_core import Llama
from llamacpp_core.request.no_calls import openings

NAME = "add_numbers"


def call(number: int, a: int, b: int) -> list[dict[str, Any]]:
    function = {"name": NAME, "arguments": f'{{"a": {a}, "b": {b}}}'}
    return [
        {"role": "user", "content": f"Call {NAME} with {a} and {b}."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call00{number}Q", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": f"call00{number}Q", "name": NAME, "content": str(a + b)},
        {"role": "assistant", "content": f"It is {a + b}."},
    ]


HISTORY = [
    *call(1, 2, 3),
    *call(2, 4, 4),
    {"role": "user", "content": f"Call {NAME} with 5 and 6."},
]


def test_no_call_is_written_where_none_is_allowed(engine: Llama) -> None:
    native = engine.info.capabilities.tools == "native"
    words = openings(engine._chat._planner.own_calls() if native else None, [NAME])
    answer = engine.create_chat_completion(HISTORY, temperature=0, max_tokens=32)["choices"][0]["message"]
    written = (answer.get("reasoning_content") or "") + (answer["content"] or "")
    assert not answer.get("tool_calls")
    assert not any(word in written for word in words), written
