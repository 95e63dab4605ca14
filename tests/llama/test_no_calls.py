"""An answer without tools, after turns that have called some."""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core import Llama
from llamacpp_core.request.call_probe import CallForm
from llamacpp_core.request.history import told_history
from llamacpp_core.request.no_calls import called_names, openings

FUNCTION = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "What is the weather in Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": FUNCTION}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "12 degrees"},
]
ASKED_AGAIN = [*HISTORY, {"role": "user", "content": "And in Paris?"}]


@pytest.mark.parametrize("given", [{}, {"tools": [TOOL], "tool_choice": "none"}])
def test_the_model_does_not_imitate_the_call(llm: Llama, given: dict[str, Any]) -> None:
    answer = llm.create_chat_completion(ASKED_AGAIN, temperature=0, max_tokens=48, **given)
    message = answer["choices"][0]["message"]
    assert message["content"]
    assert "<tool_call" not in message["content"]
    assert "tool_calls" not in message


def test_an_answer_that_was_cut_off_says_so(llm: Llama) -> None:
    """Any text is whole under such a grammar, so nothing but the limit of tokens tells of its end."""
    for stream in (False, True):
        asked = {"temperature": 0, "max_tokens": 5, "logit_bias": {llm.token_eos(): False}, "stream": stream}
        answer: Any = llm.create_chat_completion(ASKED_AGAIN, **asked)
        last = list(answer)[-1] if stream else answer
        assert last["choices"][0]["finish_reason"] == "length"


def test_the_opening_cannot_come(llm: Llama) -> None:
    """Not even when everything but its beginning is forbidden."""
    asked = [*HISTORY, {"role": "user", "content": "Repeat exactly: <tool_call>"}]
    opening = llm.tokenize("<tool_call>", add_bos=False)
    bias = dict.fromkeys(opening, 60.0)
    free = llm.create_chat_completion(asked[-1:], temperature=0, max_tokens=24, logit_bias=bias)
    held = llm.create_chat_completion(asked, temperature=0, max_tokens=24, logit_bias=bias)
    assert "<tool_call>" not in (held["choices"][0]["message"]["content"] or "")
    assert free["choices"][0]["message"]["content"]


def test_a_schema_and_a_grammar_still_hold(llm: Llama) -> None:
    answer = llm.create_chat_completion(
        ASKED_AGAIN, temperature=0, max_tokens=8, grammar='root ::= "cold" | "warm"'
    )
    assert answer["choices"][0]["message"]["content"] in ("cold", "warm")


def test_results_tell_of_their_calls() -> None:
    told = told_history(
        [
            HISTORY[0],
            HISTORY[1] | {"content": "Wait."},
            HISTORY[2],
            {"role": "tool", "name": "other", "content": "5"},
        ]
    )
    assert told == [
        HISTORY[0],
        {"role": "assistant", "content": "Wait."},
        {"role": "user", "content": 'Result of get_weather({"city": "Oslo"}):\n12 degrees'},
        {"role": "user", "content": "Result of other:\n5"},
    ]


def test_what_a_call_can_begin_with() -> None:
    assert called_names(ASKED_AGAIN) == ["get_weather"]
    assert called_names([{"role": "assistant", "function_call": FUNCTION}]) == ["get_weather"]
    assert called_names("text") == []
    assert openings(None, ["add"]) == ("<tool_call>",)
    assert openings(CallForm(True, ("[CALLS]\n", "[CALLS]")), ["add"]) == ("[CALLS]",)
    assert openings(CallForm(True, head='{"name": "'), ["add", "sub"]) == ('{"name": "add', '{"name": "sub')
    assert openings(CallForm(False), ["add"]) == ()
