"""Tool calls and structured output of a weak model, which only a constraint gets right."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from llamacpp_core import IncompleteOutputError
from llamacpp_integrations.llama_index import LlamaCpp


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def weather(city: str, days: int = 1) -> str:
    """Tells the weather of a city."""
    return f"Rain in {city} for {days} days"


TOOLS = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(weather)]


class Mood(StrEnum):
    HAPPY = "happy"
    SAD = "sad"


class Pet(BaseModel):
    """A pet."""

    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=30, description="Years")
    mood: Mood


class Household(BaseModel):
    """People and their pets."""

    street: str = Field(max_length=16)
    pets: list[Pet] = Field(min_length=2, max_length=2)
    rented: bool


@pytest.fixture
def model(chat_model: LlamaCpp) -> LlamaCpp:
    return chat_model.model_copy(update={"max_tokens": 200})


@pytest.mark.parametrize("name", ["add", "weather"])
async def test_a_named_tool_is_called(model: LlamaCpp, name: str) -> None:
    response = model.chat_with_tools(TOOLS, "What is 2 + 3?", tool_choice=name)
    (call,) = model.get_tool_calls_from_response(response)
    assert call.tool_name == name
    assert set(call.tool_kwargs) >= ({"a", "b"} if name == "add" else {"city"})
    aresponse = await model.achat_with_tools(TOOLS, "What is 2 + 3?", tool_choice=name)
    assert model.get_tool_calls_from_response(aresponse)[0].tool_kwargs == call.tool_kwargs


async def test_a_required_call_is_made_and_its_arguments_have_their_types(model: LlamaCpp) -> None:
    for question in ("What is 2 + 3?", "Hello!", "Tell me a story."):
        output = await model.apredict_and_call(TOOLS, question, tool_required=True)
        (source,) = output.sources
        assert not source.is_error
        assert isinstance(source.raw_output, int if source.tool_name == "add" else str)


async def test_streamed_calls_have_partial_arguments(model: LlamaCpp) -> None:
    stream = await model.astream_chat_with_tools(TOOLS, "What is 2 + 3?", tool_choice="add")
    seen = [model.get_tool_calls_from_response(r, error_on_no_tool_call=False) async for r in stream]
    arguments = [calls[0].tool_kwargs for calls in seen if calls]
    assert arguments[0] == {}
    assert any(set(a) == {"a"} for a in arguments)
    assert set(arguments[-1]) == {"a", "b"}
    assert len({calls[0].tool_id for calls in seen if calls}) == 1


def test_parallel_calls(model: LlamaCpp) -> None:
    response = model.chat_with_tools(
        TOOLS,
        "What is 2 + 3? What is the weather in Rome?",
        tool_required=True,
        allow_parallel_tool_calls=True,
        max_tokens=1000,
        frequency_penalty=0.5,
    )
    calls = model.get_tool_calls_from_response(response)
    assert len({call.tool_id for call in calls}) == len(calls) >= 1
    assert all(call.tool_name in ("add", "weather") for call in calls)


def test_a_call_that_does_not_fit_is_an_error(model: LlamaCpp) -> None:
    with pytest.raises(IncompleteOutputError):
        model.chat_with_tools(TOOLS, "What is 2 + 3?", tool_required=True, max_tokens=6)


def test_without_a_requirement_the_model_may_answer(model: LlamaCpp) -> None:
    response = model.chat_with_tools(TOOLS, "Say hello.", max_tokens=16)
    assert response.message.content or model.get_tool_calls_from_response(response)


def test_tool_results_go_back_to_the_model(model: LlamaCpp) -> None:
    history = [ChatMessage(content="What is 2 + 3?")]
    first = model.chat_with_tools(TOOLS, chat_history=history, tool_choice="add")
    (call,) = model.get_tool_calls_from_response(first)
    result = ChatMessage(role="tool", content="5", additional_kwargs={"tool_call_id": call.tool_id})
    final = model.chat_with_tools(TOOLS, chat_history=[*history, first.message, result], tool_choice="none")
    assert final.message.content


PROMPT = PromptTemplate("Describe a household in {country}.")


async def test_structured_prediction_in_four_forms(model: LlamaCpp) -> None:
    household = model.structured_predict(Household, PROMPT, country="Spain")
    assert isinstance(household, Household)
    assert len(household.pets) == 2
    assert isinstance(await model.astructured_predict(Household, PROMPT, country="Spain"), Household)
    partials = list(model.stream_structured_predict(Household, PROMPT, country="Spain"))
    assert isinstance(partials[-1], Household)
    assert len(partials) > 10
    pets = [len(p.pets or []) for p in partials]
    assert pets == sorted(pets)  # the list grows, pet by pet
    assert set(pets) == {0, 1, 2}
    stream = await model.astream_structured_predict(Household, PROMPT, country="Spain")
    assert isinstance([p async for p in stream][-1], Household)


async def test_many_structured_predictions_at_once(model: LlamaCpp) -> None:
    countries = ("Spain", "Italy", "Japan", "Peru")
    pets = await asyncio.gather(
        *(model.astructured_predict(Pet, PromptTemplate("A pet in {c}."), c=c) for c in countries)
    )
    assert all(isinstance(pet, Pet) for pet in pets)


def test_a_structured_llm(model: LlamaCpp) -> None:
    response = model.as_structured_llm(Pet).complete("Invent a pet.")
    assert isinstance(response.raw, Pet)
    assert Pet.model_validate_json(response.text) == response.raw


def test_the_frameworks_function_calling_program(model: LlamaCpp) -> None:
    program = FunctionCallingProgram.from_defaults(
        output_cls=Pet, prompt_template_str="Invent a pet named {name}.", llm=model
    )
    assert isinstance(program(name="Rex"), Pet)
