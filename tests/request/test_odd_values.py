"""Values of a wrong kind, wherever they can be given: a typed error that names the field, never another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from llamacpp_core import InvalidMessageError, InvalidParameterError, Llama

HELLO = [{"role": "user", "content": "Hi"}]
CAPITAL = "The capital of France is"


def deep() -> dict[str, Any]:
    outer: dict[str, Any] = {}
    inner = outer
    for _ in range(5000):
        inner["a"] = {}
        inner = inner["a"]
    return outer


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "prompt",
    [None, 5, b"Hi", bytearray(b"Hi"), ["a"], [1.0], [True], {1: 2}, {1, 2}, [[1]]],
    ids=repr,
)
def test_prompts_that_are_none(llm: Llama, prompt: Any) -> None:
    with pytest.raises(InvalidParameterError, match="must be text or a list of token ids") as caught:
        llm.create_completion(prompt, max_tokens=1)
    assert caught.value.parameter == "prompt"


def test_a_prompt_that_can_be_read_once(llm: Llama) -> None:
    ids = llm.tokenize(CAPITAL)
    settings: dict[str, Any] = {"max_tokens": 2, "temperature": 0, "echo": True}
    choice = llm.create_completion(iter(ids), **settings)["choices"][0]  # type: ignore[call-overload]
    assert choice["text"].startswith(CAPITAL)
    assert choice == llm.create_completion(ids, **settings)["choices"][0]


def test_echo_is_no_array(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="echo"):
        llm.create_completion("Hi", echo=np.array([True, False]))


@pytest.mark.parametrize("flag", ["yes", None, 2, 1.0])
def test_flags_of_the_tokenizer(llm: Llama, flag: Any) -> None:
    for name, call in {
        "add_bos": lambda: llm.tokenize("Hi", add_bos=flag),
        "special": lambda: llm.tokenize("Hi", special=flag),
        "special ": lambda: llm.detokenize([5], special=flag),
        "tokenize": lambda: llm.apply_chat_template(HELLO, tokenize=flag),
    }.items():
        with pytest.raises(InvalidParameterError, match=f"{name.strip()} must be True or False"):
            call()


@pytest.mark.parametrize("extra", [{"tools": []}, {"colour": "red"}, {"tool_choice": "auto"}])
def test_a_text_is_counted_by_itself(llm: Llama, extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="goes with messages"):
        llm.count_tokens("Hi", **extra)


def call(arguments: Any) -> list[dict[str, Any]]:
    function = {"name": "f", "arguments": arguments}
    return [
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]},
    ]


@pytest.mark.parametrize(
    "arguments",
    [{"a": object()}, {"a": {1}}, {"a": math.nan}, '{"a": NaN}', circular(), deep(), [1], None, "{", 5],
    ids=["object", "set", "nan", "NaN", "circular", "deep", "list", "none", "cut", "number"],
)
def test_arguments_of_a_call_are_a_json_object(llm: Llama, arguments: Any) -> None:
    with pytest.raises(InvalidMessageError, match="must be a JSON object") as caught:
        llm.create_chat_completion(call(arguments), max_tokens=1)
    assert caught.value.index == 1


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"tool_calls": [CALL]}, ".tool_calls"),
        ({"function_call": CALL["function"]}, ".function_call"),
        ({"tool_call_id": "1"}, ".tool_call_id"),
        ({"role": np.array(["user", "tool"])}, ".role"),
    ],
)
def test_what_a_user_message_cannot_have(llm: Llama, more: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        llm.create_chat_completion([HELLO[0] | more], max_tokens=1)
    assert caught.value.parameter == f"messages[0]{path}"


def test_the_old_role_of_an_answer_may_name_its_call(llm: Llama) -> None:
    answered = [*call("{}"), {"role": "function", "name": "f", "tool_call_id": "1", "content": "5"}]
    assert llm.count_tokens(messages=answered) > llm.count_tokens(messages=call("{}"))


@pytest.mark.parametrize("empty", [None, []])
def test_empty_calls_belong_everywhere(llm: Llama, empty: Any) -> None:
    assert llm.count_tokens(messages=[HELLO[0] | {"tool_calls": empty}]) == llm.count_tokens(messages=HELLO)


@pytest.mark.parametrize("functions", [5, "abc", {}])
def test_functions_are_a_list(llm: Llama, functions: Any) -> None:
    with pytest.raises(InvalidParameterError, match="functions must be a list"):
        llm.create_chat_completion(HELLO, functions=functions)


@pytest.mark.parametrize("tools", ["", 0, {}, np.array([1, 2])], ids=["text", "number", "dict", "array"])
def test_tools_are_a_list(llm: Llama, tools: Any) -> None:
    for use in (llm.create_chat_completion, llm.apply_chat_template):
        with pytest.raises(InvalidParameterError, match="tools must be a list"):
            use(HELLO, tools=tools)  # type: ignore[operator]


def test_descriptions_and_choices_of_tools(llm: Llama) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": 5}}
    with pytest.raises(InvalidParameterError, match=r"tools\[0\]\.function\.description must be a string"):
        llm.create_chat_completion(HELLO, tools=[tool])
    with pytest.raises(InvalidParameterError, match="tool_choice must be"):
        llm.create_chat_completion(HELLO, tool_choice=np.array(["auto", "none"]))


@pytest.mark.parametrize(
    "kwargs",
    [5, [], {1: 2}, {"a": {1}}, {"a": object()}, {"a": math.nan}, {"a": circular()}, {"a": deep()}],
    ids=["number", "list", "key", "set", "object", "nan", "circular", "deep"],
)
def test_what_no_template_takes(llm: Llama, kwargs: Any) -> None:
    with pytest.raises(InvalidParameterError, match="chat_template_kwargs"):
        llm.create_chat_completion(HELLO, chat_template_kwargs=kwargs, max_tokens=1)


def test_a_schema_of_a_json_object_is_a_schema(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="schema"):
        llm.create_chat_completion(HELLO, response_format={"type": "json_object", "schema": []})


@pytest.mark.parametrize("name", ["stop", "temperature", "top_p", "min_p"])
def test_none_is_the_methods_own_default(llm: Llama, name: str) -> None:
    settings: dict[str, Any] = {"max_tokens": 12, "seed": 3}
    answers = [
        llm.create_chat_completion([{"role": "user", "content": "Tell me a story."}], **settings, **more)
        for more in ({}, {name: None})
    ]
    assert answers[0]["choices"][0]["message"] == answers[1]["choices"][0]["message"]


@pytest.fixture
def handled(llm: Llama) -> Iterator[Llama]:
    """The shared model, whose chat format is put back."""
    before = llm.chat_format, llm.chat_handler
    yield llm
    llm.chat_format, llm.chat_handler = before


@pytest.mark.parametrize("messages", [None, "Hi", b"Hi", {}, 5])
def test_handlers_get_lists_of_messages(handled: Llama, messages: Any) -> None:
    handled.chat_format = "chatml"
    with pytest.raises(InvalidMessageError, match="messages"):
        handled.create_chat_completion(messages)


def test_formats_and_handlers_that_are_none(handled: Llama) -> None:
    handled.chat_format = 5  # type: ignore[assignment]
    with pytest.raises(InvalidParameterError, match="chat_format must be a name"):
        handled.create_chat_completion(HELLO)
    handled.chat_handler = "chatml"  # type: ignore[assignment]
    with pytest.raises(InvalidParameterError, match="chat_handler must be a function"):
        handled.create_chat_completion(HELLO)


VECTORS: dict[str, Callable[[Llama], Any]] = {
    "model": lambda llm: llm.create_embedding("Hi", model=5),  # type: ignore[arg-type]
    "progress": lambda llm: llm.embed("Hi", progress="yes"),  # type: ignore[arg-type]
    "progress must": lambda llm: llm.embed_stream(["Hi"], progress="yes"),  # type: ignore[arg-type]
    "return_documents": lambda llm: llm.rerank("q", ["a"], return_documents="yes"),  # type: ignore[arg-type]
    "query": lambda llm: llm.rerank("", []),
    "query must": lambda llm: llm.rerank(None, []),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", VECTORS)
def test_embeddings_and_reranking(embedder: Llama, name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        VECTORS[name](embedder)


async def test_reranking_of_no_documents_in_a_coroutine(embedder: Llama) -> None:
    assert await embedder.arerank("q", []) == []
    with pytest.raises(InvalidParameterError, match="query"):
        await embedder.arerank("", [])


@pytest.mark.parametrize("name", ["messages", "tools", "bos_token", "eos_token", "add_generation_prompt"])
def test_variables_of_templates_that_have_another_way_in(name: str, llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="what the template gets from the call itself") as caught:
        llm.apply_chat_template([{"role": "user", "content": "x"}], chat_template_kwargs={name: "y"})
    assert caught.value.parameter == f"chat_template_kwargs[{name!r}]"
