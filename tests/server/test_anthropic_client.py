"""What Anthropic's own client gets from the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic as package
import httpx
import pytest
from anthropic import Anthropic
from server.conftest import Served

from llamacpp_core import Llama

PARIS: Any = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ASK: Any = {"model": "chat", "messages": PARIS, "max_tokens": 8}
# The client's newest versions have no parameter for it any more.
ASK |= {"extra_body": {"temperature": 0}}
PLAIN = {"model": "chat", "messages": PARIS, "max_tokens": 8}
FORCED: Any = {
    **ASK,
    "tools": [WEATHER],
    "tool_choice": {"type": "tool", "name": "get_weather"},
    "max_tokens": 60,
}


@pytest.fixture(scope="module")
def anthropic(served: Served) -> Iterator[Anthropic]:
    with Anthropic(base_url=served.url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_an_answer(anthropic: Anthropic, llm: Llama) -> None:
    answer = anthropic.messages.create(**ASK, system="You are brief.")
    messages = [{"role": "system", "content": "You are brief."}, *PARIS]
    here = llm.create_chat_completion(messages, temperature=0, max_tokens=8)
    (block,) = answer.content
    assert block.type == "text"
    assert block.text == here["choices"][0]["message"]["content"]
    usage = answer.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == here["usage"]["prompt_tokens"]
    assert answer.stop_reason == (
        "max_tokens" if here["choices"][0]["finish_reason"] == "length" else "end_turn"
    )


def test_a_stream_makes_the_same_message(anthropic: Anthropic) -> None:
    whole = anthropic.messages.create(**ASK)
    with anthropic.messages.stream(**ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.model_dump() for block in final.content] == [block.model_dump() for block in whole.content]
    assert text == final.content[0].text  # type: ignore[union-attr]
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("choice", [{"type": "tool", "name": "get_weather"}, {"type": "any"}])
def test_a_forced_call_holds_its_schema(anthropic: Anthropic, choice: Any) -> None:
    answer = anthropic.messages.create(**FORCED | {"tool_choice": choice})
    call = answer.content[-1]
    assert call.type == "tool_use"
    assert (call.name, set(call.input)) == ("get_weather", {"city"})
    assert answer.stop_reason == "tool_use"


def test_a_forced_call_streams(anthropic: Anthropic) -> None:
    with anthropic.messages.stream(**FORCED) as stream:
        final = stream.get_final_message()
    call = final.content[-1]
    assert call.type == "tool_use"
    assert set(call.input) == {"city"}  # type: ignore[call-overload]


def test_a_call_and_its_result_go_back(anthropic: Anthropic, llm: Llama) -> None:
    first = anthropic.messages.create(**FORCED)
    call = first.content[-1]
    assert call.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    question = {"type": "text", "text": "So?"}
    messages: Any = [
        *PARIS,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, question]},
    ]
    answer = anthropic.messages.create(**ASK | {"messages": messages, "tools": [WEATHER]})
    assert answer.stop_reason in ("end_turn", "max_tokens", "tool_use")


def test_structured_output(anthropic: Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    answer = anthropic.messages.create(
        **ASK | {"max_tokens": 20}, output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    assert answer.content[0].text.replace(" ", "") in ('{"yes":true}', '{"yes":false}')  # type: ignore[union-attr]


def test_tokens_are_counted(anthropic: Anthropic, llm: Llama) -> None:
    counted = anthropic.messages.count_tokens(model="chat", messages=PARIS)
    assert counted.input_tokens == llm.count_tokens(messages=PARIS)


def test_stop_sequences_end_the_answer(anthropic: Anthropic) -> None:
    asked = ASK | {"stop_sequences": ["nowhere", "aris"], "max_tokens": 20}
    answer = anthropic.messages.create(**asked)
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "aris")
    with anthropic.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "aris")
    assert "aris" not in answer.content[0].text  # type: ignore[union-attr]


def test_models(anthropic: Anthropic) -> None:
    assert [model.id for model in anthropic.models.list()] == ["chat", "embedder"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"stop_sequences": [""]}, "stop_sequences[0]"),
    ({"temperature": -1}, "temperature"),
    ({"system": [{"type": "image"}]}, "system[0]"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
    ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
    ({"tools": [{**WEATHER, "input_schema": 3}]}, "tools[0].input_schema"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort"),
    ({"thinking": {"type": "maybe"}}, "thinking.type"),
    ({"n": 2}, "n"),
    ({"temprature": 2}, "temprature"),
    ({"system": "a", "messages": [{"role": "user", "content": "\0"}]}, "messages[0]"),
]


@pytest.mark.parametrize(("more", "field"), BAD, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_names_its_field(
    served: Served, llm: Llama, more: dict[str, Any], field: str, stream: bool
) -> None:
    refused = httpx.post(f"{served.url}/v1/messages", json={**PLAIN, **more, "stream": stream})
    body = refused.json()
    assert (refused.status_code, body["type"]) == (400, "error")
    assert (body["error"]["type"], body["error"]["param"]) == ("invalid_request_error", field)
    assert field.split("[")[0].split(".")[0] in body["error"]["message"]


def test_a_result_without_its_call_names_its_block(served: Served, llm: Llama) -> None:
    result = {"type": "tool_result", "tool_use_id": "x", "content": "y"}
    messages = [*PARIS, {"role": "user", "content": [{"type": "text", "text": "a"}, result]}]
    refused = httpx.post(f"{served.url}/v1/messages", json=PLAIN | {"system": "s", "messages": messages})
    assert refused.json()["error"]["param"] == "messages[1].content[1]"


def test_an_unknown_model_is_not_found(anthropic: Anthropic) -> None:
    with pytest.raises(package.NotFoundError, match="claude"):
        anthropic.messages.create(**ASK | {"model": "claude"})
