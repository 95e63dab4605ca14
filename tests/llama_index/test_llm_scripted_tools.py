"""Tools, structured output and dropped streams of the LLM, on a scripted model."""

from __future__ import annotations

import asyncio
import copy
import gc
from typing import Any

import pytest
from fakes import Answer
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from scripted_index_llm import CALL, HI, NAMED, TOOL, Point, params, scripted

from llamacpp_core import (
    GenerationError,
    IncompleteOutputError,
    InvalidParameterError,
)
from llamacpp_core.errors import MissingToolCallError

# Tools


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_not_valid_is_no_selection(stream: bool) -> None:
    model, _ = scripted(*[Answer(tool_calls=[CALL], problem="$.a: too small")] * 2)
    if stream:
        response = list(model.stream_chat_with_tools([TOOL], "1+2?"))[-1]
    else:
        response = model.chat_with_tools([TOOL], "1+2?")
    assert response.message.additional_kwargs["tool_calls"][0]["error"] == "$.a: too small"
    assert model.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(MissingToolCallError, match=r"not valid under its tool's schema: \$.a: too small"):
        model.get_tool_calls_from_response(response)
    with pytest.raises(MissingToolCallError, match="too small"):
        model.predict_and_call([TOOL], "1+2?")


def test_the_report_on_schemas_is_in_the_raw_answer() -> None:
    model, llama = scripted("{}")
    response = model.chat(HI, schema_strictness="report", response_format={"type": "json_object"})
    assert params(llama)["schema_strictness"] == "report"
    assert response.raw["choices"][0]["schema_report"] == {"left_out": ["$: something"], "error": None}


@pytest.mark.parametrize(
    ("arguments", "choice"),
    [
        ({}, "auto"),
        ({"tool_required": True}, "required"),
        ({"tool_choice": "any"}, "required"),
        ({"tool_choice": "none", "tool_required": True}, "none"),
        ({"tool_choice": "add"}, NAMED),
        ({"tool_choice": NAMED}, NAMED),
    ],
)
def test_tool_choice(arguments: dict[str, Any], choice: Any) -> None:
    model, llama = scripted(Answer(tool_calls=[CALL]))
    model.chat_with_tools([TOOL], "1+2?", **arguments)
    assert params(llama)["tool_choice"] == choice
    assert params(llama)["parallel_tool_calls"] is False
    assert params(llama)["tools"][0]["function"]["name"] == "add"


@pytest.mark.parametrize(("choice", "parallel"), [(None, True), ("required", True), ("add", False)])
def test_a_named_tool_is_called_once(choice: str | None, parallel: bool) -> None:
    model, llama = scripted(Answer(tool_calls=[CALL]))
    model.chat_with_tools([TOOL], "1+2?", tool_choice=choice, allow_parallel_tool_calls=True)
    assert params(llama)["parallel_tool_calls"] is parallel


def test_an_unknown_tool_choice_is_refused() -> None:
    model, _ = scripted("x")
    with pytest.raises(InvalidParameterError, match="name of a tool"):
        model.chat_with_tools([TOOL], "1+2?", tool_choice="sub")


def test_without_tools_nothing_is_said_about_them() -> None:
    model, llama = scripted("x")
    model.chat_with_tools([], "Hi")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(params(llama))
    with pytest.raises(InvalidParameterError, match="tool"):
        model.chat_with_tools([], "Hi", tool_required=True)


def test_the_history_is_not_changed() -> None:
    model, llama = scripted("x")
    history = [ChatMessage(role="system", content="Be brief.")]
    before = copy.deepcopy(history)
    model.chat_with_tools([TOOL], "1+2?", chat_history=history)
    assert history == before
    assert [m["role"] for m in llama.calls[-1][1]] == ["system", "user"]


def test_a_conversation_with_tool_results() -> None:
    model, llama = scripted(Answer(tool_calls=[CALL]), "3")
    history = [ChatMessage(content="1+2?")]
    response = model.chat_with_tools([TOOL], chat_history=history)
    call = model.get_tool_calls_from_response(response)[0]
    result = ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": call.tool_id})
    model.chat_with_tools([TOOL], chat_history=[*history, response.message, result])
    sent = llama.calls[-1][1]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call.tool_id
    assert sent[2]["name"] == "add"


def test_only_one_call_unless_several_are_allowed() -> None:
    model, _ = scripted(Answer(tool_calls=[CALL, ("add", {"a": 3, "b": 4})]))
    one = model.chat_with_tools([TOOL], "?")
    assert [c.tool_kwargs for c in model.get_tool_calls_from_response(one)] == [{"a": 1, "b": 2}]
    assert len(one.message.additional_kwargs["tool_calls"]) == 1
    both = model.chat_with_tools([TOOL], "?", allow_parallel_tool_calls=True)
    calls = model.get_tool_calls_from_response(both)
    assert [c.tool_kwargs["a"] for c in calls] == [1, 3]
    assert len({c.tool_id for c in calls}) == 2


def test_arguments_grow_while_they_are_streamed() -> None:
    model, _ = scripted(Answer(tool_calls=[("add", {"a": 12, "b": 34})]))
    seen = []
    for response in model.stream_chat_with_tools([TOOL], "?"):
        for call in model.get_tool_calls_from_response(response, error_on_no_tool_call=False):
            seen.append(call.tool_kwargs)
    assert seen[0] == {}
    assert {"a": 12} in seen
    assert seen[-1] == {"a": 12, "b": 34}


def test_no_call_where_one_is_expected() -> None:
    model, _ = scripted("I would rather talk.")
    response = model.chat_with_tools([TOOL], "?")
    assert model.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(MissingToolCallError, match="rather talk") as caught:
        model.get_tool_calls_from_response(response)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, GenerationError)


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_forced_call_that_is_cut_off_is_an_error(parallel: bool) -> None:
    model, _ = scripted(Answer(tool_calls=[("add", '{"a": 12, "b"')], cut=True), max_tokens=5)
    arguments = {"tool_required": True, "allow_parallel_tool_calls": parallel}
    with pytest.raises(IncompleteOutputError, match="max_tokens") as caught:
        model.chat_with_tools([TOOL], "?", **arguments)
    assert caught.value.partial == '{"a": 12, "b"'
    with pytest.raises(IncompleteOutputError):
        await model.achat_with_tools([TOOL], "?", **arguments)
    with pytest.raises(IncompleteOutputError):
        list(model.stream_chat_with_tools([TOOL], "?", **arguments))


def test_a_forced_call_that_ends_at_the_limit_is_complete() -> None:
    model, _ = scripted(Answer(tool_calls=[CALL], cut=True))
    response = model.chat_with_tools([TOOL], "?", tool_required=True)
    assert model.get_tool_calls_from_response(response)[0].tool_kwargs == CALL[1]


def test_names_that_the_api_of_openai_would_not_take() -> None:
    def f() -> None:
        """Does nothing."""

    tool = FunctionTool.from_defaults(f, name="Box[int]")
    model, llama = scripted(Answer(tool_calls=[("Box[int]", {})]))
    assert model.predict_and_call([tool], "?").sources[0].tool_name == "Box[int]"
    assert params(llama)["tools"][0]["function"]["name"] == "Box[int]"


# Structured output

POINT = '{"x": 1, "y": -2}'
PROMPT = PromptTemplate("A point near {place}, please.")


async def test_the_four_forms_of_structured_prediction() -> None:
    model, llama = scripted(POINT, system_prompt="Be exact.")
    kwargs = {"temperature": 0, "tool_choice": "auto"}
    before = dict(kwargs)
    expected = Point(x=1, y=-2)
    assert model.structured_predict(Point, PROMPT, kwargs, place="home") == expected
    assert await model.astructured_predict(Point, PROMPT, kwargs, place="home") == expected
    streamed = list(model.stream_structured_predict(Point, PROMPT, kwargs, place="home"))
    astreamed = await model.astream_structured_predict(Point, PROMPT, kwargs, place="home")
    assert [partial.model_dump() async for partial in astreamed] == [
        partial.model_dump() for partial in streamed
    ]
    assert kwargs == before
    assert streamed[-1] == expected
    assert [partial.x for partial in streamed] == [None, 1, 1]
    for _, messages, sent in llama.calls:
        assert [m["role"] for m in messages] == ["system", "user"]
        assert messages[0]["content"] == "Be exact."
        assert "A point near home" in messages[1]["content"]
        assert '"properties"' in messages[1]["content"]
        assert sent["response_format"]["json_schema"]["schema"] == Point.model_json_schema()
        assert sent["temperature"] == 0


async def test_an_object_that_is_cut_off_is_an_error() -> None:
    model, _ = scripted(Answer(content='{"x": 1, "y', cut=True))
    with pytest.raises(IncompleteOutputError) as caught:
        model.structured_predict(Point, PROMPT, place="home")
    assert caught.value.partial == '{"x": 1, "y'
    with pytest.raises(IncompleteOutputError):
        async for _ in await model.astream_structured_predict(Point, PROMPT, place="home"):
            pass


def test_a_constraint_beside_the_output_class_is_refused() -> None:
    model, _ = scripted(POINT)
    with pytest.raises(InvalidParameterError, match="grammar"):
        model.structured_predict(Point, PROMPT, {"grammar": 'root ::= "x"'}, place="home")


def test_the_frameworks_own_program_modes_still_work() -> None:
    model, llama = scripted(
        Answer(tool_calls=[("Point", {"x": 1, "y": -2})]), pydantic_program_mode="function"
    )
    kwargs: dict[str, Any] = {"tool_choice": "auto"}
    assert model.structured_predict(Point, PROMPT, kwargs, place="home") == Point(x=1, y=-2)
    assert kwargs == {"tool_choice": "auto"}
    assert params(llama)["tool_choice"] == "required"
    assert list(model.stream_structured_predict(Point, PROMPT, place="home"))[-1] == Point(x=1, y=-2)


def test_a_structured_llm() -> None:
    model, _ = scripted(POINT)
    structured = model.as_structured_llm(Point)
    history = [ChatMessage(content="A point with {braces}, please.")]
    before = copy.deepcopy(history)
    response = structured.chat(history)
    assert response.raw == Point(x=1, y=-2)
    assert history == before
    assert structured.complete("A point").raw == Point(x=1, y=-2)


# Streams that are dropped


def test_closing_a_stream_ends_the_request() -> None:
    model, llama = scripted("one two three four five")
    for stream in (model.stream_chat(HI), model.stream_complete("Hi"), model.stream_complete("Hi", True)):
        next(stream)
        assert llama.running == 1
        stream.close()
        gc.collect()
        assert llama.running == 0
    assert llama.cancelled == 3


async def test_dropping_an_async_stream_ends_the_request() -> None:
    model, llama = scripted("one two three four five")
    stream = await model.astream_chat(HI)
    await anext(stream)
    assert llama.running == 1
    del stream
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (llama.running, llama.cancelled) == (0, 1)


async def test_cancelling_a_task_ends_the_request() -> None:
    model, llama = scripted(Answer(content="one two three four", delay=5.0))
    task = asyncio.create_task(model.achat(HI))
    while not llama.running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llama.running == 0
