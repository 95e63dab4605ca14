"""What OpenAI's own client gets from the responses route."""

from __future__ import annotations

import json
from typing import Any

import openai as package
import pytest
from openai import OpenAI
from pydantic import BaseModel

from llamacpp_core import Llama

ASK: Any = {"model": "chat", "input": "What is the capital of France? Answer in one word.", "temperature": 0}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
FORCED: Any = {**ASK, "tools": [WEATHER], "tool_choice": "required"}


class City(BaseModel):
    name: str
    country: str


def test_an_answer(openai: OpenAI, llm: Llama) -> None:
    answer = openai.responses.create(**ASK, instructions="Be brief.", max_output_tokens=8)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK["input"]}]
    here = llm.create_chat_completion(messages, temperature=0, max_tokens=8)
    assert answer.output_text == here["choices"][0]["message"]["content"]
    assert answer.usage is not None
    assert answer.usage.input_tokens == here["usage"]["prompt_tokens"]
    cut = here["choices"][0]["finish_reason"] == "length"
    assert answer.status == ("incomplete" if cut else "completed")
    assert answer.store is False


def test_an_answer_that_was_cut_off_says_so(openai: OpenAI) -> None:
    answer = openai.responses.create(**ASK, max_output_tokens=1, extra_body={"ignore_eos": True})
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_a_stream_makes_the_same_response(openai: OpenAI) -> None:
    whole = openai.responses.create(**ASK, max_output_tokens=8)
    with openai.responses.stream(**ASK, max_output_tokens=8) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert final.usage is not None
    assert final.usage.output_tokens == whole.usage.output_tokens  # type: ignore[union-attr]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)
    assert [event.type for event in events][:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]


def test_a_forced_call_whole_and_streamed(openai: OpenAI) -> None:
    whole = openai.responses.create(**FORCED, max_output_tokens=60)
    call = whole.output[-1]
    assert call.type == "function_call"
    assert (call.name, set(json.loads(call.arguments))) == ("get_weather", {"city"})
    with openai.responses.stream(**FORCED, max_output_tokens=60) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_response().output[-1]
    assert streamed.type == "function_call"
    assert streamed.arguments == call.arguments


def test_a_conversation_goes_back_as_input(openai: OpenAI) -> None:
    first = openai.responses.create(**FORCED, max_output_tokens=60)
    call = first.output[-1]
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items: Any = [{"role": "user", "content": ASK["input"]}, *first.output, result]
    answer = openai.responses.create(**FORCED | {"input": items, "tool_choice": "none"}, max_output_tokens=8)
    assert answer.output[-1].type == "message"


def test_structured_output(openai: OpenAI) -> None:
    answer = openai.responses.parse(**ASK, text_format=City, max_output_tokens=60)
    assert isinstance(answer.output_parsed, City)


def test_log_probabilities(openai: OpenAI) -> None:
    answer = openai.responses.create(
        **ASK, max_output_tokens=3, top_logprobs=2, include=["message.output_text.logprobs"]
    )
    (message,) = answer.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [len(entry.top_logprobs) for entry in part.logprobs] == [2] * len(part.logprobs)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"truncation": "auto"}, "truncation"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"extra_body": {"messages": []}}, "messages"),
    ],
    ids=str,
)
def test_an_error_names_its_field(openai: OpenAI, more: dict[str, Any], field: str) -> None:
    with pytest.raises(package.BadRequestError) as caught:
        openai.responses.create(**{**ASK, **more})
    assert (caught.value.param or "").startswith(field)
