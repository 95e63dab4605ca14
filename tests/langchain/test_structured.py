from __future__ import annotations

import json
from typing import Any, TypedDict

import pytest
from fakes import Answer, ScriptedLlama
from pydantic import BaseModel, Field

from llamacpp_core.errors import IncompleteOutputError, InvalidParameterError
from llamacpp_integrations.langchain import ChatLlamaCpp

METHODS = ("function_calling", "json_schema", "json_mode")


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=150)


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: int


JSON_SCHEMA = {
    "title": "Person",
    "description": "A person.",
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
ANNA = {"name": "Anna", "age": 31}


def scripted(method: str, value: Any = ANNA, **answer: Any) -> ChatLlamaCpp:
    text = value if isinstance(value, str) else json.dumps(value)
    if method == "function_calling":
        return ChatLlamaCpp(llama=ScriptedLlama(Answer(tool_calls=[("Person", text)], **answer)))
    return ChatLlamaCpp(llama=ScriptedLlama(Answer(text, **answer)))


@pytest.mark.parametrize("method", METHODS)
def test_pydantic_gives_instances(method: str) -> None:
    chain = scripted(method).with_structured_output(Person, method=method)
    assert chain.invoke("x") == Person(**ANNA)
    assert list(chain.stream("x"))[-1] == Person(**ANNA)


@pytest.mark.parametrize("method", METHODS)
def test_json_schema_gives_dicts_that_grow(method: str) -> None:
    chain = scripted(method).with_structured_output(JSON_SCHEMA, method=method)
    assert chain.invoke("x") == ANNA
    partial = list(chain.stream("x"))
    assert partial[-1] == ANNA
    assert {"name": "An"} in [{k: v[:2] for k, v in p.items() if k == "name"} for p in partial[:-1]]


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_typed_dict(method: str) -> None:
    chain = scripted(method).with_structured_output(PersonDict, method=method)
    assert chain.invoke("x") == ANNA


@pytest.mark.parametrize("method", METHODS)
async def test_async(method: str) -> None:
    chain = scripted(method).with_structured_output(Person, method=method)
    assert await chain.ainvoke("x") == Person(**ANNA)
    assert [part async for part in chain.astream("x")][-1] == Person(**ANNA)


@pytest.mark.parametrize("method", METHODS)
def test_include_raw(method: str) -> None:
    chain = scripted(method).with_structured_output(Person, method=method, include_raw=True)
    out = chain.invoke("x")
    assert out["parsed"] == Person(**ANNA)
    assert out["parsing_error"] is None
    assert out["raw"].usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("method", METHODS)
def test_include_raw_keeps_a_parsing_error(method: str) -> None:
    too_old = ANNA | {"age": 999}  # JSON, but not a Person: only pydantic knows
    chain = scripted(method, too_old).with_structured_output(Person, method=method, include_raw=True)
    out = chain.invoke("x")
    assert out["parsed"] is None
    assert "999" in str(out["parsing_error"])


@pytest.mark.parametrize("method", METHODS)
def test_cut_off(method: str) -> None:
    chain = scripted(method, '{"name": "An', cut=True).with_structured_output(Person, method=method)
    with pytest.raises(IncompleteOutputError) as caught:
        chain.invoke("x")
    assert caught.value.partial == '{"name": "An'


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": None},
        {"schema": Person, "method": "telepathy"},
        {"schema": Person, "method": "json_mode", "strict": True},
        {"schema": Person, "method": "function_calling", "tools": [Person]},
        {"schema": Person, "colour": "red"},
        {"schema": 3},
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        scripted("json_schema").with_structured_output(**wrong)


def test_json_mode_without_a_schema() -> None:
    llama = ScriptedLlama('{"free": [1]}')
    assert ChatLlamaCpp(llama=llama).with_structured_output(method="json_mode").invoke("x") == {"free": [1]}
    assert llama.calls[0][2]["response_format"] == {"type": "json_object"}


def test_recursive_schemas_keep_their_references() -> None:
    class Node(BaseModel):
        children: list[Node] = []

    llama = ScriptedLlama('{"children": [{"children": []}]}')
    found = ChatLlamaCpp(llama=llama).with_structured_output(Node).invoke("x")
    assert found.children[0].children == []
    assert "$defs" in llama.calls[0][2]["response_format"]["json_schema"]["schema"]


def test_tools_beside_a_schema() -> None:
    def look_up(name: str) -> str:
        """Look a person up."""
        return name

    llama = ScriptedLlama(Answer(tool_calls=[("look_up", {"name": "Anna"})]), json.dumps(ANNA))
    chain = ChatLlamaCpp(llama=llama).with_structured_output(Person, tools=[look_up], include_raw=True)
    first = chain.invoke("x")
    assert first["parsed"] is None
    assert first["parsing_error"] is None
    assert first["raw"].tool_calls[0]["name"] == "look_up"
    assert chain.invoke("x")["parsed"] == Person(**ANNA)


@pytest.mark.parametrize("method", METHODS)
def test_on_the_real_model(chat: ChatLlamaCpp, method: str) -> None:
    bound = chat.model_copy(update={"max_tokens": 80})
    found = bound.with_structured_output(Person, method=method).invoke("Anna is 31 years old.")
    assert isinstance(found, Person)


def test_streamed_dicts_on_the_real_model(chat: ChatLlamaCpp) -> None:
    bound = chat.model_copy(update={"max_tokens": 80})
    parts = list(bound.with_structured_output(JSON_SCHEMA).stream("Anna is 31 years old."))
    assert set(parts[-1]) == {"name", "age"}
    assert len(parts) > 2


@pytest.mark.parametrize("method", METHODS)
def test_a_report_on_what_no_grammar_holds(method: str) -> None:
    llm = scripted(method, problem="$.name: odd" if method != "function_calling" else None)
    chain = llm.with_structured_output(
        JSON_SCHEMA, method=method, include_raw=True, schema_strictness="report"
    )
    found = chain.invoke("x")
    assert found["parsed"] == ANNA
    report = found["raw"].response_metadata["schema_report"]
    assert report["left_out"] == ["$: something"]
    assert report["error"] == (None if method == "function_calling" else "$.name: odd")
    assert llm.client.calls[-1][2]["schema_strictness"] == "report"


def test_streams_end_with_the_report() -> None:
    llm = scripted("json_schema").bind(schema_strictness="report")
    chunks = list(llm.stream("x"))
    assert chunks[-1].response_metadata["schema_report"] == {"left_out": ["$: something"], "error": None}


def test_another_strictness_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="schema_strictness"):
        scripted("json_schema").with_structured_output(JSON_SCHEMA, schema_strictness="loose")
