"""Mistakes are refused where they are made, with the field's or message's name."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from fakes import ScriptedLlama, scripted_info
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings, LlamaCppLLM, LlamaCppRerank

CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"sampling": {"dryy": 1}}, "dryy"),
        ({"timeout": 0}, "timeout"),
        ({"n_ctx": 512}, "n_ctx"),
        ({"llama": "smollm2"}, "llama"),
    ],
)
def test_construction(kind: Any, given: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name) as caught:
        kind(**{"llama": ScriptedLlama()} | given)
    assert caught.value.parameter == name


def test_construction_of_the_others() -> None:
    with pytest.raises(InvalidParameterError, match="reasoning_effort"):
        ChatLlamaCpp(llama=ScriptedLlama(), reasoning_effort="extreme")
    with pytest.raises(InvalidParameterError, match="overflow"):
        LlamaCppEmbeddings(llama=ScriptedLlama(), overflow="cut")
    with pytest.raises(InvalidParameterError, match="dimensions must be between 1"):
        LlamaCppEmbeddings(llama=ScriptedLlama(), dimensions=0)
    with pytest.raises(InvalidParameterError, match="top_n"):
        LlamaCppRerank(llama=ScriptedLlama(), top_n=0)
    with pytest.raises(InvalidParameterError, match="mean the same"):
        ChatLlamaCpp(model="smollm2-135m-instruct", model_path="other.gguf")


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
def test_a_model_without_text(kind: Any) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="LlamaCppEmbeddings"):
        kind(llama=ScriptedLlama(info=scripted_info(completion=False)))


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM, LlamaCppEmbeddings, LlamaCppRerank])
@pytest.mark.parametrize("name", ["model", "n_ctx", "n_parallel", "load_options", "llama"])
def test_assigning_what_loading_decides(kind: Any, name: str) -> None:
    made = kind(llama=ScriptedLlama())
    with pytest.raises(InvalidParameterError, match=f"{name} is frozen") as caught:
        setattr(made, name, {"n_batch": 64} if name == "load_options" else 256)
    assert caught.value.parameter == name
    setattr(made, name, getattr(made, name))  # changes nothing


def test_assigning_a_sampling_field() -> None:
    made = ChatLlamaCpp(llama=ScriptedLlama())
    made.temperature = 0.7
    assert made._sampling_params["temperature"] == 0.7


def test_one_stop_string() -> None:
    assert ChatLlamaCpp(llama=ScriptedLlama(), stop="x").stop == ["x"]


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timeout": "soon"}, "timeout must be a number greater than 0, got 'soon'"),
        ({"temperature": "hot"}, "temperature must be a number at least 0, got 'hot'"),
        ({"n_ctx": 4096}, "n_ctx is fixed when the model is loaded"),
    ],
)
def test_calls(kind: Any, given: dict[str, Any], said: str) -> None:
    model = kind(llama=ScriptedLlama())
    for run in (model.invoke, lambda *a, **k: list(model.stream(*a, **k))):
        with pytest.raises(InvalidParameterError, match=said):
            run("x", **given)
    with pytest.raises(InvalidParameterError, match=said):
        asyncio.run(model.ainvoke("x", **given))


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        (
            [AIMessage("", tool_calls=[CALL]), ToolMessage("3", tool_call_id="zz")],
            r"messages\[1\].*'zz'.*'c1'",
        ),
        ([AIMessage("", tool_calls=[CALL | {"args": {"a": {1}}}])], r"messages\[0\]\.tool_calls\[0\]\.args"),
        ([AIMessage("", tool_calls=[CALL | {"args": {"a": float("nan")}}])], r"tool_calls\[0\]\.args"),
        ([AIMessage([{"type": "reasoning", "summary": "x"}])], r"messages\[0\]\.content\[0\]"),
    ],
)
def test_messages(messages: list[BaseMessage], where: str) -> None:
    with pytest.raises(InvalidMessageError, match=where):
        ChatLlamaCpp(llama=ScriptedLlama()).invoke(messages)


def test_blocks_of_other_providers_keep_their_text() -> None:
    llama = ScriptedLlama()
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    answer = AIMessage([summary, {"type": "refusal", "refusal": "no"}])
    ChatLlamaCpp(llama=llama).invoke([HumanMessage("x"), answer, HumanMessage("y")])
    assert llama.calls[0][1][1] == {"role": "assistant", "content": "no", "reasoning_content": "hm"}


@pytest.mark.parametrize("tools", ["add", {"type": "function"}, BaseModel, 3])
def test_tools_that_are_no_list(tools: Any) -> None:
    with pytest.raises(InvalidParameterError, match="tools must be a list"):
        ChatLlamaCpp(llama=ScriptedLlama()).bind_tools(tools)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_choices_and_strict() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama())
    with pytest.raises(InvalidParameterError, match="did you mean 'any'"):
        chat.bind_tools([add], tool_choice="Any")
    with pytest.raises(InvalidParameterError, match="strict must be True or False"):
        chat.bind_tools([add], strict="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["json", 3, {"type": "jsn"}, {"type": "json_objec"}])
def test_response_formats(value: Any) -> None:
    with pytest.raises(InvalidParameterError, match="response_format") as caught:
        ChatLlamaCpp(llama=ScriptedLlama()).invoke("x", response_format=value)
    assert caught.value.parameter == "response_format"


def test_schemas_that_are_understood() -> None:
    llama = ScriptedLlama("{}")
    chat = ChatLlamaCpp(llama=llama)
    chat.invoke("x", response_format={"type": "object"})
    assert llama.calls[0][2]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    chat.with_structured_output(add)  # type: ignore[arg-type]
    untitled = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    chat.with_structured_output(untitled, method="function_calling").invoke("x")
    assert llama.calls[-1][2]["tool_choice"]["function"]["name"] == "response"


class Node(BaseModel):
    """A tree."""

    name: str = Field(max_length=5)
    children: list[Node] = Field(default=[], max_length=1)


def plant(root: Node) -> None:
    """Plant a tree."""


@pytest.mark.parametrize("kind", [Node, plant, tool(plant)])
@pytest.mark.parametrize("strict", [None, True])
def test_tools_that_refer_to_themselves_keep_their_schema(kind: Any, strict: bool | None) -> None:
    llama = ScriptedLlama()
    ChatLlamaCpp(llama=llama).bind_tools([kind], strict=strict).invoke("x")
    parameters = llama.calls[0][2]["tools"][0]["function"]["parameters"]
    node = parameters["$defs"]["Node"]
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert ("additionalProperties" in node) is (strict is True)
    assert parameters["type"] == "object"


def test_a_copy_that_is_loaded_in_another_way() -> None:
    chat = ChatLlamaCpp(model="smollm2-135m-instruct", n_ctx=2048, temperature=0.5)
    other = chat.model_copy(update={"n_ctx": 512})
    assert (other.client.info.n_ctx, other.temperature) == (512, 0.5)
    assert other.profile
    assert other.profile["max_input_tokens"] == 512
    assert chat.model_copy(update={"temperature": 0.1}).client is chat.client
    with pytest.raises(InvalidParameterError, match="temprature"):
        chat.model_copy(update={"temprature": 1})
    for model in (chat, other):
        model.close()


def test_inputs_that_can_be_read_once() -> None:
    embeddings = LlamaCppEmbeddings(llama=ScriptedLlama())
    assert len(embeddings.embed_documents(text for text in ("a", "b"))) == 2  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="texts must be a list"):
        embeddings.embed_documents(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="documents must be a list"):
        LlamaCppRerank(llama=ScriptedLlama()).rerank("x", "abc")


def test_the_limit_that_was_passed_is_named(embeddings: LlamaCppEmbeddings) -> None:
    small = embeddings.model_copy(update={"max_tokens": 3, "overflow": "error"})
    with pytest.raises(InvalidParameterError, match=r"max_tokens allows 3 .* or raise max_tokens"):
        small.embed_query("one two three four")


def test_no_prompts() -> None:
    llm = LlamaCppLLM(llama=ScriptedLlama())
    assert llm.generate([]).generations == []
    assert asyncio.run(llm.agenerate([])).generations == []


def test_counting_takes_what_invoke_takes(chat: ChatLlamaCpp) -> None:
    expected = chat.get_num_tokens_from_messages([HumanMessage("Hello")])
    for given in ("Hello", [("human", "Hello")], [{"role": "user", "content": "Hello"}]):
        assert chat.get_num_tokens_from_messages(given) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("choice", [np.array([1, 2]), 5, [1], 1.5])
def test_tool_choices_of_no_use(choice: Any) -> None:
    with pytest.raises(InvalidParameterError, match="tool_choice must be"):
        ChatLlamaCpp(llama=ScriptedLlama()).bind_tools([], tool_choice=choice)
