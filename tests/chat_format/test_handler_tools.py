"""Tool calls with prompts of a formatter: the same choices, grammars, ids and readers as everywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_format.scripted import (
    FORCE,
    HI,
    TOOLS,
    WEATHER,
    answer,
    answer_streamed,
    deltas_of,
    prepare,
    prompt,
)

from llamacpp_core import Llama
from llamacpp_core.chat_format import Jinja2ChatFormatter, get_chat_completion_handler
from llamacpp_core.llama.chat import prepare_chat

CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
TAGGED = ["chatml", "qwen"]
OWN_SYNTAX = ["chatglm3", "chatml-function-calling", "functionary", "functionary-v1", "functionary-v2"]
WITHOUT_TOOLS = ["vicuna", "alpaca"]


@pytest.mark.parametrize("name", [*TAGGED, *OWN_SYNTAX, *WITHOUT_TOOLS])
@pytest.mark.parametrize("choice", [FORCE, "required"])
def test_a_forced_call_is_read_in_every_format(llm: Llama, name: str, choice: Any) -> None:
    prepared = prepare(llm, name, tools=TOOLS, tool_choice=choice)
    own = prepare_chat(llm, HI, {"tools": TOOLS, "tool_choice": choice}, None)
    assert prepared.params["grammar"] == own.params["grammar"]
    assert prepared.params["grammar_lazy"] is False
    found = answer(prepared, CALL[:12], CALL[12:])
    (call,) = found["message"]["tool_calls"]
    assert found["message"]["content"] is None
    assert "function_call" not in found["message"]
    assert found["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert call["id"].startswith("call_")
    assert "get_weather" in prompt(llm, name, tools=TOOLS, tool_choice=choice)


@pytest.mark.parametrize("name", ["chatml", "functionary-v2", "vicuna"])
def test_the_model_makes_a_forced_call(llm: Llama, name: str) -> None:
    handler: Any = get_chat_completion_handler(name)
    short = WEATHER["parameters"] | {"properties": {"city": {"type": "string", "maxLength": 8}}}  # type: ignore[operator]
    tool = {"type": "function", "function": WEATHER | {"parameters": short}}
    made = handler(llama=llm, messages=HI, tools=[tool], tool_choice="required", temperature=0)
    (call,) = made["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city"}


def test_a_forced_call_streamed(llm: Llama) -> None:
    prepared = prepare(llm, "vicuna", tools=TOOLS, tool_choice=FORCE, stream=True)
    chunks = answer_streamed(prepared, CALL[:40], CALL[40:])
    parts = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", ())]
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert [part.get("id") is not None for part in parts] == [True, *[False] * (len(parts) - 1)]
    assert "".join(part["function"]["arguments"] for part in parts) == '{"city": "Oslo"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_forced_call_that_is_cut_off_says_so(llm: Llama) -> None:
    found = answer(
        prepare(llm, tools=TOOLS, tool_choice=FORCE), CALL[: CALL.index('y": ')], stop_type="limit"
    )
    assert found["finish_reason"] == "length"
    assert found["message"]["tool_calls"][0]["function"]["arguments"] == '{"cit'


def test_legacy_functions(llm: Llama) -> None:
    legacy: dict[str, Any] = {"functions": [WEATHER], "function_call": {"name": "get_weather"}}
    found = answer(prepare(llm, **legacy), CALL)
    assert found["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert "tool_calls" not in found["message"]
    assert found["finish_reason"] == "function_call"
    parts = [
        delta["function_call"]
        for delta in deltas_of(answer_streamed(prepare(llm, **legacy), CALL))
        if "function_call" in delta
    ]
    assert parts[0]["name"] == "get_weather"
    assert "".join(part["arguments"] for part in parts) == '{"city": "Oslo"}'


@pytest.mark.parametrize("name", [*TAGGED, *WITHOUT_TOOLS])
@pytest.mark.parametrize("stream", [False, True])
def test_the_model_may_call_a_tool(llm: Llama, name: str, stream: bool) -> None:
    prepared = prepare(llm, name, tools=TOOLS, stream=stream)
    assert prepared.params["grammar_lazy"] is True  # holds from a call's beginning on
    pieces = ("Sure. ", "<tool", '_call>{"name": "now", "argu', 'ments": {}}</tool_call>')
    if stream:
        deltas = deltas_of(answer_streamed(prepared, *pieces))
        assert deltas[1] == {"content": "Sure."}
        assert deltas[2]["tool_calls"][0]["function"]["name"] == "now"
    else:
        message = answer(prepared, *pieces)["message"]
        assert message["content"] == "Sure."
        assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_the_template_describes_the_tools_where_it_can(llm: Llama) -> None:
    assert '{"type": "function", "function": {"name": "get_weather"' in prompt(llm, tools=TOOLS)
    assert "You can call these functions" in prompt(llm, "vicuna", tools=TOOLS)
    plain = Jinja2ChatFormatter("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    assert "You can call these functions" in prompt(llm, plain, tools=TOOLS)
    unreadable = Jinja2ChatFormatter("{{ tools }}{% for m in messages %}{{ m.content }}\n{% endfor %}")
    assert prompt(llm, unreadable, tools=TOOLS).startswith("NoneYou can call these functions")


@pytest.mark.parametrize("name", OWN_SYNTAX)
def test_calls_in_a_syntax_of_the_formats_own(llm: Llama, name: str) -> None:
    text = {
        "chatglm3": 'get_weather\n ```python\ntool_call(city="Oslo")\n```',
        "chatml-function-calling": 'functions.get_weather:\n{"city": "Oslo"}',
        "functionary": ' to=functions.get_weather:\n{"city": "Oslo"}',
        "functionary-v1": '\n<|START_OF_FUNCTION_CALL|>get_weather:\n{"city": "Oslo"}',
        "functionary-v2": 'get_weather\n<|content|>{"city": "Oslo"}',
    }[name]
    prepared = prepare(llm, name, tools=TOOLS)
    assert not prepared.params.get("grammar")
    found = answer(prepared, text[:9], text[9:])
    (call,) = found["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert found["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", [*TAGGED, *OWN_SYNTAX, *WITHOUT_TOOLS])
def test_one_call_at_most_holds_in_every_format(llm: Llama, name: str) -> None:
    params = prepare(llm, name, tools=TOOLS, parallel_tool_calls=False).params
    own = prepare_chat(llm, HI, {"tools": TOOLS, "parallel_tool_calls": False}, None).params
    assert params["grammar_lazy"] is True
    if llm.info.capabilities.tools == "generic":
        assert params["grammar"] == own["grammar"]
    assert "tagged-call" not in params["grammar"]


def test_tool_choice_none_hides_the_tools(llm: Llama) -> None:
    hidden: dict[str, Any] = {"tools": TOOLS, "tool_choice": "none"}
    assert "get_weather" not in prompt(llm, **hidden)
    text = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    assert answer(prepare(llm, **hidden), text)["message"]["content"] == text


def test_a_conversation_with_calls_in_a_format_without_tools(llm: Llama) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "noon"},
    ]
    now = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    written = prompt(llm, "vicuna", messages=messages, tools=[now])
    assert '<tool_call>{"name": "now", "arguments": {}}</tool_call>' in written
    assert "Result of now:\nnoon" in written
    # Where none may be called, no turn shows how a call is written.
    for forbidden in ({}, {"tools": [now], "tool_choice": "none"}):
        written = prompt(llm, "vicuna", messages=messages, **forbidden)
        assert "<tool_call>" not in written
        assert "Result of now({}):\nnoon" in written
