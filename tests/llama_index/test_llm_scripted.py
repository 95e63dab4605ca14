"""What the translation makes of answers that are written down beforehand."""

from __future__ import annotations

import asyncio
import copy
import gc
from itertools import pairwise
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama, scripted_info
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ThinkingBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llamacpp_core import (
    GenerationError,
    IncompleteOutputError,
    InvalidParameterError,
    UnsupportedCapabilityError,
)
from llamacpp_core.errors import MissingToolCallError
from llamacpp_integrations.llama_index import LlamaCpp

HI = [ChatMessage(content="Hi")]


class Point(BaseModel):
    """A point."""

    x: int
    y: int


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


TOOL = FunctionTool.from_defaults(add)
CALL = ("add", {"a": 1, "b": 2})
NAMED = {"type": "function", "function": {"name": "add"}}


def scripted(*script: Any, **fields: Any) -> tuple[LlamaCpp, ScriptedLlama]:
    llama = ScriptedLlama(*script)
    return LlamaCpp(llama=llama, **fields), llama


def params(llama: ScriptedLlama) -> dict[str, Any]:
    return llama.calls[-1][2]


# Metadata


def test_metadata() -> None:
    llama = ScriptedLlama(info=scripted_info(n_ctx=1000, system_role=False))
    metadata = LlamaCpp(llama=llama, max_tokens=100).metadata
    assert (metadata.context_window, metadata.num_output, metadata.model_name) == (1000, 100, "scripted")
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.system_role == MessageRole.USER
    assert LlamaCpp(llama=llama).metadata.num_output == 250
    assert LlamaCpp(llama=llama, max_tokens=5000).metadata.num_output == 1000


def test_a_model_without_template_is_no_chat_model() -> None:
    llama = ScriptedLlama("text", info=scripted_info(chat=False))
    model = LlamaCpp(llama=llama)
    assert not model.metadata.is_chat_model
    assert not model.metadata.is_function_calling_model
    assert model.complete("Once").text == "text"
    assert llama.calls[-1][0] == "completion"


def test_an_embedding_model_is_refused() -> None:
    with pytest.raises(UnsupportedCapabilityError, match="LlamaCppEmbedding"):
        LlamaCpp(llama=ScriptedLlama(info=scripted_info(completion=False, chat=False)))


# Arguments


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"temprature": 0}, "temperature"),
        ({"messages_to_prompt": str}, "chat_template"),
        ({"completion_to_prompt": str}, "formatted=True"),
        ({"n_ctx": 512}, "n_ctx is decided"),
    ],
)
def test_arguments_that_would_have_no_effect_are_refused(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidParameterError, match=match):
        scripted("x", **fields)


@pytest.mark.parametrize("arguments", [{}, {"model": "a", "llama": ScriptedLlama()}])
def test_exactly_one_model(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="only one"):
        LlamaCpp(**arguments)


def test_load_options_cannot_be_changed_afterwards() -> None:
    model, _ = scripted("x")
    with pytest.raises(ValueError, match="frozen"):
        model.n_ctx = 4096


def test_arguments_of_a_call_go_before_those_of_the_object() -> None:
    model, llama = scripted("x", temperature=0.5, stop=["END"], additional_kwargs={"typical_p": 0.9})
    kwargs = {"temperature": 0, "top_k": None, "stop": ["a", "b"], "reasoning_effort": "low"}
    before = copy.deepcopy(kwargs)
    model.chat(HI, **kwargs)
    assert kwargs == before
    assert params(llama) | {"temperature": 0, "top_k": 40, "stop": ["a", "b"], "typical_p": 0.9} == params(
        llama
    )
    assert params(llama)["reasoning_effort"] == "low"
    model.chat(HI)
    assert params(llama) | {"temperature": 0.5, "stop": ["END"]} == params(llama)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"top_kk": 1}, "top_k"),
        ({"stream": True}, "stream_chat"),
        ({"n": 2}, "n must be 1"),
        ({"top_p": 2}, "top_p"),
    ],
)
async def test_arguments_that_cannot_work_are_refused(kwargs: dict[str, Any], match: str) -> None:
    model, _ = scripted("x")
    for call in (model.chat, model.stream_chat, model.complete, model.stream_complete):
        with pytest.raises(InvalidParameterError, match=match):
            call(HI if "chat" in call.__name__ else "Hi", **kwargs)
    for acall in (model.achat, model.astream_chat, model.acomplete, model.astream_complete):
        with pytest.raises(InvalidParameterError, match=match):
            await acall(HI if "chat" in acall.__name__ else "Hi", **kwargs)


# Responses


def test_reasoning_is_a_thinking_block() -> None:
    model, _ = scripted(Answer(content="Yes.", reasoning="Let me see. Yes."))
    response = model.chat(HI)
    assert response.message.blocks == [
        ThinkingBlock(content="Let me see. Yes.", num_tokens=4),
        TextBlock(text="Yes."),
    ]
    assert response.message.content == "Yes."
    assert response.raw["usage"]["completion_tokens"] == response.additional_kwargs["completion_tokens"]
    assert response.raw["timings"]["predicted_n"] > 0
    assert model.complete("Hi").additional_kwargs["thinking"] == "Let me see. Yes."


async def test_streams_are_cumulative_and_the_last_piece_holds_everything() -> None:
    answer = Answer(content="The answer is 3.", reasoning="Adding.", tool_calls=[CALL])
    model, _ = scripted(answer)
    responses = list(model.stream_chat(HI))
    assert "".join(r.delta for r in responses) == "The answer is 3."
    assert "".join(r.additional_kwargs.get("thinking_delta", "") for r in responses) == "Adding."
    contents = [r.message.content or "" for r in responses]
    assert all(after.startswith(before) for before, after in pairwise(contents))
    thinking, text, call = responses[-1].message.blocks
    assert (thinking.content, text.text, call.tool_kwargs) == (
        "Adding.",
        "The answer is 3.",
        {"a": 1, "b": 2},
    )
    assert responses[-1].raw["usage"]["total_tokens"] > 0
    assert len({id(r.message) for r in responses}) == len(responses)
    again = [r async for r in await model.astream_chat(HI)]
    assert [r.delta for r in again] == [r.delta for r in responses]


async def test_completions_through_the_template() -> None:
    model, llama = scripted("Hello there")
    texts = [r.text for r in model.stream_complete("Hi")]
    assert texts[-1] == model.complete("Hi").text == (await model.acomplete("Hi")).text == "Hello there"
    assert [r.text async for r in await model.astream_complete("Hi")] == texts
    assert [call[0] for call in llama.calls] == ["chat"] * 4
    assert llama.calls[0][1] == [{"role": "user", "content": "Hi"}]


async def test_completions_of_finished_text() -> None:
    model, llama = scripted("Hello there")
    responses = list(model.stream_complete("Hi", formatted=True))
    assert "".join(r.delta for r in responses) == responses[-1].text == "Hello there"
    assert responses[-1].raw["usage"]["completion_tokens"] > 0
    assert [r.text async for r in await model.astream_complete("Hi", True)] == [r.text for r in responses]
    assert model.complete("Hi", formatted=True).text == (await model.acomplete("Hi", True)).text
    assert [call[:2] for call in llama.calls] == [("completion", "Hi")] * 4


def test_logprobs_hold_the_token_and_its_alternatives() -> None:
    model, _ = scripted("Hello there")
    response = model.chat(HI, logprobs=True, top_logprobs=1)
    assert response.logprobs
    assert response.logprobs[0][0].logprob == -0.5
    last = list(model.stream_chat(HI, logprobs=True, top_logprobs=1))[-1]
    assert last.logprobs == response.logprobs


# Tools


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
