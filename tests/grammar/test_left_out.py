"""Tools whose schemas no grammar can hold in full: offered all the same, their calls checked."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from grammar.matcher import accepts

from llamacpp_core import Llama
from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import call_or_answer_gbnf, loose_tools, problem_of, tool_call_gbnf
from llamacpp_core.grammar.json_schema import loose_schema
from llamacpp_core.request.tool_choice import ToolChoice
from llamacpp_core.request.validation import call_check

ROWS = {"type": "array", "items": {"type": "array"}, "uniqueItems": True}
WORD = {"type": "string", "pattern": r"\bword\b"}
COUNT = {"type": "integer", "minimum": 1}


def tool(name: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


LOOSE = tool("loose", {"rows": ROWS, "word": WORD, "count": COUNT}, ["rows"])
HELD = tool("held", {"count": COUNT}, ["count"])


def call(name: str, arguments: str) -> str:
    return f'<c>{{"name": "{name}", "arguments": {arguments}}}</c>'


def test_only_what_cannot_be_held_is_left_out() -> None:
    gbnf = call_or_answer_gbnf([LOOSE, HELD], None, opening="<c>", closing="</c>", lenient=True)
    assert accepts(gbnf, call("loose", '{"rows": [[1], [1]], "word": "x", "count": 1}'))
    assert not accepts(gbnf, call("loose", '{"rows": [[1]], "count": 0}'))
    assert not accepts(gbnf, call("loose", '{"rows": 1}'))
    assert not accepts(gbnf, call("loose", '{"word": "x"}'))
    assert not accepts(gbnf, call("held", '{"count": 0}'))


def test_what_is_left_out_is_named() -> None:
    assert loose_tools([HELD]) == {}
    left = loose_tools([HELD, LOOSE])
    assert list(left) == ["loose"]
    assert [message.split(":")[0] for message in left["loose"]] == [
        "$.properties.rows.uniqueItems",
        "$.properties.word.pattern",
    ]


def test_forced_calls_and_answers_stay_exact() -> None:
    with pytest.raises(GrammarError, match="uniqueItems"):
        tool_call_gbnf([LOOSE])
    with pytest.raises(GrammarError, match="uniqueItems"):
        call_or_answer_gbnf([HELD], ROWS, opening="<c>", closing="</c>", lenient=True)


@pytest.mark.parametrize("installed", [True, False])
def test_values_are_checked(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "jsonschema", None)
    schema = LOOSE["function"]["parameters"]
    assert problem_of({"rows": [[1], [2]]}, schema) is None
    assert problem_of({"rows": [[1], [1]]}, schema)
    assert problem_of({"rows": [], "count": 0}, schema)
    assert problem_of({}, schema)


def test_decimals_are_checked_as_they_are_written() -> None:
    assert problem_of(0.3, {"multipleOf": 0.1}) is None
    assert problem_of("x", {"multipleOf": 0.1}) is None
    assert "0.35 is not a multiple of 0.1" in str(problem_of(0.35, {"multipleOf": 0.1}))


def test_calls_are_checked_where_something_was_left_out() -> None:
    assert call_check(ToolChoice("auto", [HELD], True)) is None
    assert call_check(ToolChoice("forced", [LOOSE], True)) is None
    check = call_check(ToolChoice("auto", [HELD, LOOSE], True))
    assert check is not None
    assert check({"name": "loose", "arguments": '{"rows": []}'}) is None
    assert "non-unique" in str(check({"name": "loose", "arguments": '{"rows": [[1], [1]]}'}))
    assert "not JSON" in str(check({"name": "loose", "arguments": '{"rows": ['}))


def test_a_greeting_is_answered_with_any_tool(llm: Llama) -> None:
    answer = llm.create_chat_completion(
        [{"role": "user", "content": "hi"}], tools=[LOOSE, HELD], max_tokens=8, temperature=0
    )
    assert answer["choices"][0]["message"]["role"] == "assistant"


@pytest.mark.parametrize(
    "broken", [{"$ref": -1}, {"$ref": "date-time"}, {"pattern": "("}, {"type": "number", "$ref": "#/none"}]
)
def test_a_schema_that_is_none_is_no_fault_of_the_value(broken: dict[str, Any]) -> None:
    assert problem_of({"a": 1}, {"type": "object", "properties": {"a": broken, "b": {"$ref": 5}}}) is None


def test_a_loose_schema_without_a_value_is_checked_later() -> None:
    broken = {"not": {"maxItems": 2.5}, "type": "array", "enum": ["a"]}
    held = loose_schema(json.dumps({"type": "object", "properties": {"a": broken}}))
    assert "maxItems" in held.left_out[0]
    assert accepts(held.gbnf, "{}")
