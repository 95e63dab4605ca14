"""Mistakes are refused where they are made, with the field's, the tool's or the message's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import ScriptedLlama, scripted_info
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ImageBlock,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.prompts import PromptTemplate
from scripted_index_llm import HI, params, scripted

from llamacpp_core.errors import InvalidMessageError, InvalidParameterError
from llamacpp_integrations.llama_index import (
    LlamaCpp,
    LlamaCppEmbedding,
    LlamaCppRerank,
)

KINDS: dict[str, Any] = {"llm": LlamaCpp, "embedding": LlamaCppEmbedding, "rerank": LlamaCppRerank}

BAD_VALUES = [
    ("llm", "temperature", "hot"),
    ("llm", "temperature", -1),
    ("llm", "top_p", 2),
    ("llm", "max_tokens", "many"),
    ("llm", "stop", 3),
    ("embedding", "dimensions", 99),
    ("embedding", "dimensions", 0),
    ("embedding", "max_tokens", 0),
    ("embedding", "overflow", "cut"),
    ("embedding", "text_instruction", 3),
    ("rerank", "top_n", 0),
    ("rerank", "metadata_mode", "everything"),
]


WAYS: list[Callable[[Any, str, Any], Any]] = [
    lambda kind, name, value: kind(llama=ScriptedLlama(), **{name: value}),
    lambda kind, name, value: setattr(kind(llama=ScriptedLlama()), name, value),
    lambda kind, name, value: kind(llama=ScriptedLlama()).model_copy(update={name: value}),
]


@pytest.mark.parametrize("way", WAYS, ids=["construct", "assign", "copy"])
@pytest.mark.parametrize(("kind", "name", "value"), BAD_VALUES)
def test_values_of_fields(kind: str, name: str, value: Any, way: Callable[[Any, str, Any], Any]) -> None:
    with pytest.raises(InvalidParameterError, match=name) as caught:
        way(KINDS[kind], name, value)
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"temprature": 1}, "temprature"),
        ({"stream": True}, "stream"),
        ({"n": 2}, "n"),
        ({"n_ctx": 512}, "n_ctx"),
        ({"typical_p": "x"}, "typical_p"),
        ({"logit_bias": {5000: 1}}, "logit_bias"),
    ],
)
def test_arguments_for_all_calls(given: dict[str, Any], parameter: str) -> None:
    for make in (
        lambda: scripted("x", additional_kwargs=given),
        lambda: setattr(scripted("x")[0], "additional_kwargs", given),
    ):
        with pytest.raises(InvalidParameterError) as caught:
            make()
        assert caught.value.parameter == parameter


def test_arguments_for_all_calls_that_can_work() -> None:
    given = {"grammar": 'root ::= "a"', "echo": True, "extra_headers": {}, "reasoning_effort": "low"}
    assert scripted("x", additional_kwargs=given)[0].additional_kwargs == given


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("llama", ["smollm2-135m-instruct", 3])
def test_what_is_no_model(kind: Any, llama: Any) -> None:
    with pytest.raises(InvalidParameterError, match="goes into model=") as caught:
        kind(llama=llama)
    assert caught.value.parameter == "llama"
    with pytest.raises(InvalidParameterError, match="goes into llama="):
        kind(ScriptedLlama())


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"chat_template": "x"}, "chat_template"),
        ({"load_options": {"lora": []}}, "lora"),
        ({"progress": True}, "progress"),
        ({"typical_p": 0.9}, "typical_p"),
    ],
)
def test_keywords_in_the_wrong_place(given: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError, match=parameter) as caught:
        scripted("x", **given)
    assert caught.value.parameter == parameter


def test_arguments_of_calls_are_told_from_unknown_names() -> None:
    with pytest.raises(InvalidParameterError, match=r"additional_kwargs=\{'grammar': \.\.\.\}"):
        scripted("x", grammar='root ::= "a"')


@pytest.mark.parametrize(
    "given",
    [
        {"n_ctx": 512, "load_options": {"n_ctx": 256}},
        {"type_k": "f16", "load_options": {"type_k": "q8_0"}},
    ],
)
def test_two_values_for_one_load_option(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="give it once"):
        LlamaCpp("smollm2-135m-instruct", **given)
    with pytest.raises(InvalidParameterError, match="must be a dict"):
        LlamaCpp("smollm2-135m-instruct", load_options=["n_ctx"])


def test_hooks_that_would_have_no_effect_cannot_be_set_later() -> None:
    model, _ = scripted("x")
    with pytest.raises(InvalidParameterError, match="chat_template="):
        model.completion_to_prompt = str.upper
    with pytest.raises(InvalidParameterError, match="chat_template="):
        model.model_copy(update={"messages_to_prompt": str})


def test_one_stop_string() -> None:
    model, llama = scripted("x", stop="END")
    assert model.stop == ["END"]
    model.stop = "STOP"  # type: ignore[assignment]
    model.chat(HI)
    assert params(llama)["stop"] == ["STOP"]


# Copies


def test_a_copy_that_is_loaded_in_another_way() -> None:
    with LlamaCpp("smollm2-135m-instruct", n_ctx=512, temperature=0.5, type_k="f16") as model:
        with model.model_copy(update={"n_ctx": 256}) as other:
            assert (other.metadata.context_window, other.temperature) == (256, 0.5)
            assert other.load_options == model.load_options == {"type_k": "f16"}
        assert model.metadata.context_window == 512
        same = model.model_copy(update={"temperature": 0.1})
        assert (same.client is model.client, same.temperature, model.temperature) == (True, 0.1, 0.5)
        with pytest.raises(InvalidParameterError, match="temprature"):
            model.model_copy(update={"temprature": 1})


def test_a_copy_of_a_model_that_was_given() -> None:
    model, _ = scripted("x")
    with pytest.raises(InvalidParameterError, match=r"llama=Llama\(\.\.\.\)"):
        model.model_copy(update={"n_ctx": 512})


def test_instructions_that_are_taken_back_are_the_authors_again() -> None:
    import dataclasses

    info = dataclasses.replace(scripted_info(), name="nomic-embed-text-v1.5")
    model = LlamaCppEmbedding(llama=ScriptedLlama(info=info), query_instruction="q ")
    model.query_instruction = None
    assert model.query_instruction == "search_query: "


# Calls


@pytest.mark.parametrize("prompt", [None, 3, b"x", ["x"], PromptTemplate("x")])
@pytest.mark.parametrize("formatted", [False, True])
async def test_prompts_that_are_no_text(prompt: Any, formatted: bool) -> None:
    model, llama = scripted("x")
    for call in (model.complete, model.stream_complete):
        with pytest.raises(InvalidParameterError, match="prompt must be a string"):
            call(prompt, formatted=formatted)
    for acall in (model.acomplete, model.astream_complete):
        with pytest.raises(InvalidParameterError, match="prompt must be a string"):
            await acall(prompt, formatted=formatted)
    assert llama.calls == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_ctx": 512}, "n_ctx is fixed when the model is loaded"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs=True"),
    ],
)
def test_arguments_of_a_call(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParameterError, match=said):
        scripted("x")[0].complete("x", formatted=True, **given)


def call_of(arguments: Any) -> ChatMessage:
    block = ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs=arguments)
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (call_of({"a": {1}}), r"messages\[0\]\.blocks\[0\].*'f' are not JSON"),
        (call_of({"a": float("nan")}), r"messages\[0\]\.blocks\[0\].*'f' are not JSON"),
        (
            ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": 3}),
            r"messages\[0\]\.additional_kwargs\['tool_calls'\]: must be a list",
        ),
        (ChatMessage(blocks=[ImageBlock()]), r"messages\[0\]\.blocks\[0\]: its data cannot be read"),
        (ChatMessage(blocks=[AudioBlock()]), r"messages\[0\]\.blocks\[0\]: its data cannot be read"),
    ],
)
def test_messages(message: ChatMessage, where: str) -> None:
    model = LlamaCpp(llama=ScriptedLlama(info=scripted_info(image=True, audio=True)))
    with pytest.raises(InvalidMessageError, match=where):
        model.chat([message])


def test_what_other_llms_keep_beside_the_blocks_is_not_lost() -> None:
    model, llama = scripted("x")
    call = {"name": "f", "arguments": '{"a": 1}'}
    model.chat(
        [
            ChatMessage(content="q", additional_kwargs={"name": "Ann"}),
            ChatMessage(
                role="assistant", additional_kwargs={"function_call": call, "reasoning_content": "hm"}
            ),
            ChatMessage(role="function", content="3", additional_kwargs={"name": "f"}),
        ]
    )
    asked, called, answered = llama.calls[0][1]
    assert asked["name"] == "Ann"
    assert (called["tool_calls"][0]["function"], called["reasoning_content"]) == (call, "hm")
    assert (answered["role"], answered["name"]) == ("tool", "f")


@pytest.mark.parametrize("messages", [{}, None, "x", [1], 5, ChatMessage(content="x"), [{"role": "user"}]])
def test_what_are_no_messages(messages: Any) -> None:
    llm = LlamaCpp(llama=ScriptedLlama())
    for ask in (
        lambda: llm.chat(messages),
        lambda: list(llm.stream_chat(messages=messages)),
        lambda: asyncio.run(llm.achat(messages)),
        lambda: asyncio.run(llm.astream_chat(messages)),
    ):
        with pytest.raises(InvalidMessageError, match="messages"):
            ask()
