"""Grammars for forced tool calls."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from grammar.matcher import accepts, accepts_prefix, max_stacks, random_text
from jsonschema import Draft202012Validator

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import (
    SchemaCompiler,
    SchemaLimits,
    parse_gbnf,
    tool_arguments_gbnf,
    tool_call_gbnf,
)


def tool(name: str, parameters: Any = None, **more: Any) -> dict[str, Any]:
    function = {
        "name": name,
        "description": "d",
        **({} if parameters is None else {"parameters": parameters}),
    }
    return {"type": "function", "function": {**function, **more}}


WEATHER = tool(
    "get_weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 14}},
        "required": ["city"],
    },
)
TIME = tool(
    "get_time", {"type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"]}
)
STOP = tool('st"op.ü')
TOOLS = [WEATHER, TIME, STOP]


def call(name: str, arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def test_one_call() -> None:
    gbnf = tool_call_gbnf(TOOLS)
    assert accepts(gbnf, call("get_weather", {"city": "Köln", "days": 3}))
    assert accepts(gbnf, call("get_time", {"zone": "UTC"}))
    assert accepts(gbnf, call('st"op.ü', {}))
    assert accepts(gbnf, call("get_time", {"zone": "UTC"}).replace(" ", ""))


def test_the_name_decides_the_arguments() -> None:
    gbnf = tool_call_gbnf(TOOLS)
    for wrong in (
        call("get_weather", {"zone": "UTC"}),
        call("get_weather", {}),
        call("get_time", {"zone": "EST"}),
        call("other", {}),
        "[" + call("get_time", {"zone": "UTC"}) + "]",
        "",
    ):
        assert not accepts(gbnf, wrong)
    assert accepts_prefix(gbnf, '{"name": "get_')
    assert not accepts_prefix(gbnf, "Sure")


def test_parallel_calls() -> None:
    gbnf = tool_call_gbnf(TOOLS, parallel=True, max_calls=3)
    one = call("get_time", {"zone": "UTC"})
    assert accepts(gbnf, f"[{one}]")
    assert accepts(gbnf, f"[{one}, {one},{one}]")
    assert not accepts(gbnf, f"[{one}, {one}, {one}, {one}]")
    assert not accepts(gbnf, "[]")
    assert not accepts(gbnf, one)


@pytest.mark.parametrize("parallel", [False, True])
def test_what_is_made_is_a_valid_call(parallel: bool) -> None:
    gbnf = tool_call_gbnf(TOOLS, parallel=parallel)
    schemas = {t["function"]["name"]: t["function"].get("parameters", {"maxProperties": 0}) for t in TOOLS}
    for seed in range(60):
        made = json.loads(random_text(gbnf, seed))
        for one in made if parallel else [made]:
            assert list(one) == ["name", "arguments"]
            Draft202012Validator(schemas[one["name"]]).validate(one["arguments"])


def test_names_that_begin_alike_cost_little() -> None:
    gbnf = tool_call_gbnf([tool(f"get_the_{i}") for i in range(30)])
    assert max_stacks(gbnf, call("get_the_17", {})) <= 12


def test_arguments_alone() -> None:
    gbnf = tool_arguments_gbnf(TIME, root="args")
    assert parse_gbnf(gbnf, root="args").root == "args"
    assert gbnf.startswith("args ::=")


def test_root_can_be_renamed() -> None:
    assert parse_gbnf(tool_call_gbnf(TOOLS, root="call-root"), root="call-root")


def test_schemas_with_references_do_not_mix() -> None:
    def with_defs(kind: str) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/X"}},
            "required": ["x"],
            "$defs": {"X": {"type": kind}},
        }

    gbnf = tool_call_gbnf([tool("a", with_defs("integer")), tool("b", with_defs("boolean"))])
    assert accepts(gbnf, call("a", {"x": 1}))
    assert accepts(gbnf, call("b", {"x": True}))
    assert not accepts(gbnf, call("a", {"x": True}))
    assert not accepts(gbnf, call("b", {"x": 1}))


def test_compiler_puts_several_schemas_into_one_grammar() -> None:
    compiler = SchemaCompiler(limits=SchemaLimits(max_string_length=5))
    first = compiler.add({"type": "string"}, "first")
    second = compiler.add({"type": "array", "items": {"type": "string"}}, "second")
    gbnf = compiler.render(f'{first} "|" {second}')
    assert accepts(gbnf, '"abc"|["x", ""]')
    assert gbnf.count("char ::=") == 1


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([], "tools: at least one tool is needed"),
        ([WEATHER, WEATHER], r"tools\[1\].function.name: another tool has the name 'get_weather'"),
        (["x"], r"tools\[0\]: expected"),
        ([{"type": "retrieval", "function": {"name": "x"}}], r"tools\[0\].type: only 'function'"),
        ([tool("")], r"tools\[0\].function.name: expected a name"),
        ([tool("x", {"type": "array"})], r"tools\[0\].function.parameters.type: .*object"),
        ([tool("x", [])], r"tools\[0\].function.parameters: expected a schema"),
        (
            [WEATHER, tool("x", {"properties": {"a": {"type": "string", "pattern": "("}}})],
            r"tools\[1\].function.parameters.properties.a.pattern: '\(' is never closed",
        ),
    ],
)
def test_refusals(tools: list[Any], message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        tool_call_gbnf(tools)


@pytest.mark.parametrize("count", [0, True, "3", 1001])
def test_max_calls_is_checked(count: Any) -> None:
    with pytest.raises(GrammarError, match="max_calls"):
        tool_call_gbnf(TOOLS, parallel=True, max_calls=count)


def test_twenty_tools_compile_fast() -> None:
    properties = {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "when": {"type": "string", "format": "date"},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "more": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}}},
    }
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    best = min(_seconds([tool(f"tool_{run}_{i}", parameters) for i in range(20)]) for run in range(5))
    assert best < 0.02
    tools = [tool(f"tool_0_{i}", parameters) for i in range(20)]
    assert min(_seconds(tools) for _ in range(5)) < 0.005


def _seconds(tools: list[dict[str, Any]]) -> float:
    start = time.process_time()
    tool_call_gbnf(tools, parallel=True)
    return time.process_time() - start
