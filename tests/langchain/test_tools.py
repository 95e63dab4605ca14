from __future__ import annotations

from typing import Any, TypedDict

import pytest
from fakes import Answer, ScriptedLlama
from langchain_core.tools import tool
from pydantic import BaseModel

from llamacpp_core.errors import IncompleteOutputError, InvalidParameterError
from llamacpp_integrations.langchain import ChatLlamaCpp


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Negate(BaseModel):
    """Negate a number."""

    a: int


class Halve(TypedDict):
    """Halve a number."""

    a: int


RAW = {"type": "function", "function": {"name": "raw", "parameters": {"type": "object", "properties": {}}}}


def request(tools: list[Any], **bound: Any) -> dict[str, Any]:
    """The parameters that reach the engine."""
    llama = ScriptedLlama()
    ChatLlamaCpp(llama=llama).bind_tools(tools, **bound).invoke("x")
    return llama.calls[0][2]


def test_every_kind_of_tool() -> None:
    tools = request([multiply, add, Negate, Halve, RAW])["tools"]
    assert [entry["function"]["name"] for entry in tools] == ["multiply", "add", "Negate", "Halve", "raw"]
    assert tools[0]["function"]["parameters"]["required"] == ["a", "b"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("none", "none"),
        (False, "none"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        (
            {"type": "function", "function": {"name": "add"}},
            {"type": "function", "function": {"name": "add"}},
        ),
        ({"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ({"type": "any"}, "required"),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    assert request([multiply, add], tool_choice=choice)["tool_choice"] == expected


def test_the_default_choice_is_left_to_the_engine() -> None:
    assert "tool_choice" not in request([add])


@pytest.mark.parametrize("choice", ["nobody", {"type": "function", "function": {"name": "nobody"}}, 3])
def test_bad_tool_choice(choice: Any) -> None:
    with pytest.raises(InvalidParameterError, match="tool_choice") as caught:
        request([add], tool_choice=choice)
    assert caught.value.parameter == "tool_choice"


def test_forcing_without_tools() -> None:
    with pytest.raises(InvalidParameterError, match="needs at least one tool"):
        request([], tool_choice="any")


@pytest.mark.parametrize("bad", [3, {"type": "object"}, {"type": "web_search"}])
def test_bad_tools_are_named(bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"tools\[1\]"):
        request([add, bad])


def test_the_same_tool_twice() -> None:
    with pytest.raises(InvalidParameterError, match="defined twice"):
        request([add, add])


def test_other_arguments_of_bind_tools() -> None:
    params = request([add], parallel_tool_calls=False, strict=True, temperature=0.5)
    assert params["parallel_tool_calls"] is False
    assert params["temperature"] == 0.5
    assert params["tools"][0]["function"]["parameters"]["additionalProperties"] is False


def test_tools_and_a_schema_travel_together() -> None:
    params = request([add], response_format=Negate)
    assert params["response_format"]["json_schema"]["schema"]["required"] == ["a"]
    assert params["tools"]


def test_a_forced_call_that_was_cut_off() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama(Answer(tool_calls=[("add", '{"a": 12')], cut=True)))
    forced = chat.bind_tools([add], tool_choice="any")
    with pytest.raises(IncompleteOutputError) as caught:
        forced.invoke("x")
    assert caught.value.partial == '{"a": 12'
    with pytest.raises(IncompleteOutputError):
        list(forced.stream("x"))
    with pytest.raises(IncompleteOutputError):
        chat.bind_tools([add]).invoke("x")


@pytest.mark.parametrize("choice", ["any", "multiply"])
def test_a_forced_call_on_the_real_model(chat: ChatLlamaCpp, choice: str) -> None:
    forced = chat.bind_tools([multiply, Negate], tool_choice=choice, max_tokens=80)
    answer = forced.invoke("What is 6 times 7?")
    chunks = list(forced.stream("What is 6 times 7?"))
    streamed = sum(chunks[1:], chunks[0])
    for message in (answer, streamed):
        (call,) = message.tool_calls
        assert call["name"] in ("multiply", "Negate") if choice == "any" else call["name"] == "multiply"
        assert all(type(value) is int for value in call["args"].values())
        assert message.response_metadata["finish_reason"] == "tool_calls"
