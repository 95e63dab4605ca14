"""Schemas inside themselves: as deep as the limits say, and never into a place with no way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from grammar.matcher import accepts, accepts_prefix

from llamacpp_core import Llama
from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf
from llamacpp_core.grammar.tool_call import tool_call_gbnf

SELF = {"$ref": "#"}
INT = {"type": "integer"}


def obj(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def linked(depth: int) -> Any:
    return {"v": 1, "next": linked(depth - 1)} if depth else {"v": 1}


def linked_in_front(depth: int) -> Any:
    return {"next": linked_in_front(depth - 1), "v": 1} if depth else {"v": 1}


def named(depth: int) -> Any:
    return {"k": named(depth - 1)} if depth else {}


def nullable(depth: int) -> Any:
    return {"v": 1, "next": nullable(depth - 1) if depth else None}


def tree(depth: int) -> Any:
    return {"kids": [tree(depth - 1)] if depth else []}


def full_tree(depth: int) -> Any:
    return {"kids": [full_tree(depth - 1)]} if depth else 7


def mutual(depth: int) -> Any:
    return {"b": {"a": mutual(depth - 1)}} if depth else {"b": {}}


SCHEMAS: dict[str, tuple[dict[str, Any], Callable[[int], Any]]] = {
    "an optional property": (obj({"v": INT, "next": SELF}, ["v"]), linked),
    "an optional property in front": (
        obj({"next": SELF, "v": INT}, ["v"]),
        linked_in_front,
    ),
    "null or itself": (obj({"v": INT, "next": {"anyOf": [{"type": "null"}, SELF]}}, ["v", "next"]), nullable),
    "a list of itself": (obj({"kids": {"type": "array", "items": SELF}}, ["kids"]), tree),
    "itself or a number": (
        {"anyOf": [INT, obj({"kids": {"type": "array", "items": SELF, "minItems": 1}}, ["kids"])]},
        full_tree,
    ),
    "two that need each other": (
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": obj({"b": {"$ref": "#/$defs/b"}}, ["b"]),
                "b": obj({"a": {"$ref": "#/$defs/a"}}, []),
            },
        },
        mutual,
    ),
    "values of any name": (
        {"type": "object", "additionalProperties": SELF},
        named,
    ),
}


def text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("name", SCHEMAS)
def test_depth_is_bounded(name: str, most: int) -> None:
    schema, nested = SCHEMAS[name]
    grammar = json_schema_to_gbnf(schema, limits=SchemaLimits(max_recursion=most, max_array_items=3))
    depths = [depth for depth in range(8) if accepts(grammar, text(nested(depth)))]
    assert depths == list(range(depths[-1] + 1)), "every depth up to the deepest"
    assert depths[-1] == most
    # Where one more would begin, it cannot begin at all: what is begun can be ended.
    deeper, deepest = text(nested(most + 1)), text(nested(most))
    begun = max(end for end in range(len(deeper) + 1) if accepts_prefix(grammar, deeper[:end]))
    same = next(i for i, (a, b) in enumerate(zip(deeper, deepest, strict=False)) if a != b)
    assert begun == same


@pytest.mark.parametrize("name", SCHEMAS)
def test_without_a_bound(name: str) -> None:
    schema, nested = SCHEMAS[name]
    grammar = json_schema_to_gbnf(schema, limits=SchemaLimits(max_recursion=None))
    assert accepts(grammar, text(nested(30)))
    assert not accepts(json_schema_to_gbnf(schema), text(nested(30)))
    assert accepts(json_schema_to_gbnf(schema), text(nested(8)))


def test_a_schema_that_needs_more() -> None:
    schema = {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": obj({"list": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}, ["list"])
        },
    }
    with pytest.raises(GrammarError, match="no finite value"):
        json_schema_to_gbnf(schema)
    rare = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [obj({"x": {"$ref": "#/$defs/b"}}, ["x"])]}}}
    rare["$defs"]["b"] = {"anyOf": [obj({"y": {"$ref": "#/$defs/a"}}, ["y"]), {"$ref": "#/$defs/c"}]}
    rare["$defs"]["c"] = obj({"z": {"anyOf": [INT, {"$ref": "#/$defs/c"}]}}, ["z"])
    with pytest.raises(GrammarError, match=r"more than 0 times inside each other; raise max_recursion"):
        json_schema_to_gbnf(rare, limits=SchemaLimits(max_recursion=0))
    assert accepts(json_schema_to_gbnf(rare, limits=SchemaLimits(max_recursion=1)), '{"x":{"z":1}}')


def test_tools_have_the_bound_too() -> None:
    node = {"$defs": {"node": obj({"next": {"$ref": "#/$defs/node"}}, [])}, "type": "object"}
    node |= {"properties": {"root": {"$ref": "#/$defs/node"}}, "required": ["root"]}
    tool = {"type": "function", "function": {"name": "plant", "parameters": node}}
    grammar = tool_call_gbnf([tool], limits=SchemaLimits(max_recursion=1))
    head = '{"name":"plant","arguments":{"root":'
    assert accepts(grammar, head + '{"next":{}}}}')
    assert not accepts_prefix(grammar, head + '{"next":{"next"')


@pytest.mark.parametrize("name", ["a list of itself", "null or itself", "itself or a number"])
def test_a_weak_model_comes_to_an_end(name: str, llm: Llama) -> None:
    schema, _ = SCHEMAS[name]
    described = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = llm.create_chat_completion(
        [{"role": "user", "content": "Nest it as deeply as you can: lists in lists in lists, without end."}],
        response_format=described,
        schema_limits={"max_array_items": 1},
        max_tokens=300,
        temperature=0.0,
    )
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    jsonschema.validate(json.loads(choice["message"]["content"]), schema)


def test_rules_with_and_without_room_for_another_level_are_told_apart() -> None:
    # A rule is written as it stands where all in it is possible, and without its branch where that is not.
    schema = {
        "type": "object",
        "properties": {"either": {"anyOf": [INT, SELF]}, "both": {"type": "array", "items": SELF}},
        "additionalProperties": False,
    }
    limits = SchemaLimits(max_recursion=2)
    gbnf = json_schema_to_gbnf(schema, limits=limits)
    for text in ('{"either":{"either":1}}', '{"either":{"either":{}}}', '{"both":[{"both":[{}, {}]}]}'):
        assert accepts(gbnf, text), text
    for text in ('{"either":{"either":{"either":1}}}', '{"both":[{"both":[{"both":[{}]}]}]}'):
        assert not accepts(gbnf, text), text
