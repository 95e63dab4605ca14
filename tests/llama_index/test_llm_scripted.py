"""What the translation makes of answers that are written down beforehand."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama, scripted_info
from llama_index.core.base.llms.types import MessageRole, TextBlock, ThinkingBlock
from scripted_index_llm import CALL, HI, params, scripted

from llamacpp_core import (
    InvalidParameterError,
    UnsupportedCapabilityError,
)
from llamacpp_integrations.llama_index import LlamaCpp

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
    assert LlamaCpp(llama=llama, max_tokens=-1).metadata.num_output == 250
    assert LlamaCpp(llama=llama, additional_kwargs={"max_tokens": 30}).metadata.num_output == 30


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
