"""Tool calls through handlers of chat formats, on a scripted model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_format.scripted import (
    FORCE,
    HI,
    TOOLS,
    WEATHER,
    ScriptedLlama,
    ask,
    ask_streamed,
    deltas_of,
)

from llamacpp_core.chat_format import (
    Jinja2ChatFormatter,
    chat_formatter_to_chat_completion_handler,
)
from llamacpp_core.chat_format._tools import plan_tools
from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_core.grammar import LlamaGrammar


@pytest.mark.parametrize(
    ("name", "end_of_prompt"),
    [
        ("chatml", '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": '),
        ("chatml-function-calling", "<|im_start|>assistant\nfunctions.get_weather:\n"),
        ("functionary", "assistant to=functions.get_weather:\n"),
        ("functionary-v1", "assistant:\n<|START_OF_FUNCTION_CALL|>get_weather:\n"),
        ("functionary-v2", "<|recipient|>get_weather\n<|content|>"),
        ("vicuna", "USER: Hi ASSISTANT:"),
    ],
)
def test_a_forced_tool(name: str, end_of_prompt: str) -> None:
    llama = ScriptedLlama('{"city": ', '"Oslo"}')
    (choice,) = ask(llama, name, tools=TOOLS, tool_choice=FORCE)["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["message"]["content"] is None
    assert "function_call" not in choice["message"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert call["id"].startswith("call_")
    assert llama.prompt.endswith(end_of_prompt)
    assert isinstance(llama.asked["grammar"], LlamaGrammar)


def test_a_forced_tool_streamed() -> None:
    chunks = ask_streamed(ScriptedLlama('{"city": ', '"Oslo"}'), "vicuna", tools=TOOLS, tool_choice=FORCE)
    parts = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", ())]
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert [part.get("id") is not None for part in parts] == [True, False, False]
    assert "".join(part["function"]["arguments"] for part in parts) == '{"city": "Oslo"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_forced_call_that_is_cut_off_says_so() -> None:
    (choice,) = ask(ScriptedLlama('{"ci', finish_reason="length"), tools=TOOLS, tool_choice=FORCE)["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"ci'


def test_two_calls_have_two_ids() -> None:
    answers = [ask(ScriptedLlama("{}"), tools=TOOLS, tool_choice=FORCE) for _ in range(2)]
    ids = {answer["choices"][0]["message"]["tool_calls"][0]["id"] for answer in answers}
    assert len(ids) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_one_of_several_tools_is_required(stream: bool) -> None:
    llama = ScriptedLlama('{"name": "now", ', '"arguments": {"zone": "é"}}')
    params: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required"}
    if stream:
        chunks = ask_streamed(llama, **params)
        (call,) = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", ())]
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        (choice,) = ask(llama, **params)["choices"]
        (call,), reason = choice["message"]["tool_calls"], choice["finish_reason"]
    assert call["function"] == {"name": "now", "arguments": '{"zone": "é"}'}
    assert reason == "tool_calls"
    assert llama.prompt.endswith("<|im_start|>assistant\n<tool_call>\n")
    assert isinstance(llama.asked["grammar"], LlamaGrammar)


def test_a_required_call_that_is_cut_off_is_given_as_text() -> None:
    llama = ScriptedLlama('{"name": "no', finish_reason="length")
    (choice,) = ask(llama, tools=TOOLS, tool_choice="required")["choices"]
    assert choice["message"] == {"role": "assistant", "content": '{"name": "no'}
    assert choice["finish_reason"] == "length"


def test_the_schema_of_several_forced_tools_keeps_its_references() -> None:
    schema = json.loads(plan_tools(TOOLS, "required", None, None).forced_schema())
    assert [call["properties"]["name"]["const"] for call in schema["anyOf"]] == ["get_weather", "now"]
    assert schema["anyOf"][1]["properties"]["arguments"] == {"$ref": "#/$defs/arguments_1"}
    assert schema["$defs"]["arguments_1"]["$ref"] == "#/$defs/arguments_1/$defs/Nothing"


def test_a_tool_without_parameters_takes_none() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    schema = json.loads(plan_tools(tools, "required", None, None).forced_schema())
    assert schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_legacy_functions() -> None:
    llama = ScriptedLlama('{"city": "Oslo"}')
    (choice,) = ask(llama, functions=[WEATHER], function_call={"name": "get_weather"})["choices"]
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert choice["finish_reason"] == "function_call"
    chunks = ask_streamed(
        ScriptedLlama('{"city": "Oslo"}'), functions=[WEATHER], function_call={"name": "get_weather"}
    )
    parts = [delta["function_call"] for delta in deltas_of(chunks) if "function_call" in delta]
    assert parts[0]["name"] == "get_weather"
    assert "".join(part["arguments"] for part in parts) == '{"city": "Oslo"}'


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_may_call_a_tool(stream: bool) -> None:
    pieces = ("Sure. ", "<tool", '_call>\n{"name": "now", "argu', 'ments": {}}\n</tool_call>')
    llama = ScriptedLlama(*pieces)
    if stream:
        deltas = deltas_of(ask_streamed(llama, tools=TOOLS))
        assert deltas[1] == {"content": "Sure."}
        assert deltas[2]["tool_calls"][0]["function"]["name"] == "now"
    else:
        message = ask(llama, tools=TOOLS)["choices"][0]["message"]
        assert message["content"] == "Sure."
        assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
    assert '{"type": "function", "function": {"name": "get_weather"' in llama.prompt
    assert "grammar" not in llama.asked


def test_tool_choice_none_hides_the_tools() -> None:
    llama = ScriptedLlama('<tool_call>{"name": "now", "arguments": {}}</tool_call>')
    message = ask(llama, tools=TOOLS, tool_choice="none")["choices"][0]["message"]
    assert "get_weather" not in llama.prompt
    assert message["content"].startswith("<tool_call>")


def test_tools_that_the_format_cannot_write_are_refused() -> None:
    with pytest.raises(UnsupportedCapabilityError, match="cannot tell the model about tools"):
        ask(ScriptedLlama("x"), "vicuna", tools=TOOLS)
    plain = chat_formatter_to_chat_completion_handler(Jinja2ChatFormatter("{{ messages[0].content }}"))
    with pytest.raises(UnsupportedCapabilityError, match="cannot tell the model about tools"):
        plain(llama=ScriptedLlama("x"), messages=HI, tools=TOOLS)
