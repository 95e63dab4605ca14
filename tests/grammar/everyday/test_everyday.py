"""Schemas as the tools of the day write them: nearly all compile, and what is made is valid under them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grammar.everyday import from_mcp, from_openapi, from_pydantic, from_schemars, from_zod
from grammar.matcher import accepts, random_text
from jsonschema import Draft202012Validator, validators

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf

LIMITS = SchemaLimits(max_string_length=20, max_array_items=5, max_properties=4)
SCHEMAS: dict[str, Any] = {
    **{f"pydantic: {name}": adapter.json_schema() for name, adapter in from_pydantic.ADAPTERS.items()},
    **{f"zod: {name}": schema for name, schema in from_zod.SCHEMAS.items()},
    **{f"schemars: {name}": schema for name, schema in from_schemars.SCHEMAS.items()},
    **{f"mcp: {name}": schema for name, schema in from_mcp.SCHEMAS.items()},
    **{f"openapi: {name}": schema for name, schema in from_openapi.SCHEMAS.items()},
}
#: What is refused, with why.
REFUSED = {
    "zod: intersection of unknown strings": "pattern",
}


def judge(schema: Any) -> Any:
    if "components" in schema or "openapis" in schema.get("$schema", "") or "exclusiveMinimum" in schema:
        return Draft202012Validator(from_openapi.lowered(schema))
    kind = validators.validator_for(schema, default=Draft202012Validator)
    return kind(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_table_is_wide() -> None:
    assert len(SCHEMAS) >= 160
    assert len(REFUSED) <= 0.05 * len(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS.keys() - REFUSED.keys()))
def test_what_is_made_is_valid(name: str) -> None:
    schema = SCHEMAS[name]
    gbnf = json_schema_to_gbnf(schema, limits=LIMITS)
    for seed in range(6):
        judge(schema).validate(json.loads(random_text(gbnf, seed, fuel=150)))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_says_why(name: str) -> None:
    with pytest.raises(GrammarError, match=REFUSED[name]):
        json_schema_to_gbnf(SCHEMAS[name])


@pytest.mark.parametrize("name", sorted(from_pydantic.ADAPTERS.keys() - from_pydantic.NOT_READ_BACK))
def test_pydantic_reads_back_what_is_made(name: str) -> None:
    adapter = from_pydantic.ADAPTERS[name]
    gbnf = json_schema_to_gbnf(adapter.json_schema(), limits=LIMITS)
    for seed in range(6):
        adapter.validate_json(random_text(gbnf, seed, fuel=150))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pydantic: set of str", ["red", "green", "blue"]),
        ("pydantic: set of int", [1, 2, 3]),
        ("pydantic: set of literals", ["c", "a"]),
        ("pydantic: dict by pattern", {"ab": 1.5}),
        ("pydantic: multiple of a half", 2.5),
        ("pydantic: dict by literal", {"b": 1}),
        ("zod: tuple", ["a", 1]),
        ("zod: map", [["a", 1], ["b", 2]]),
        ("schemars: numbers", {"a": 1, "b": 2, "c": 3, "d": -4, "e": 5}),
        ("openapi: nullable", {"name": None}),
    ],
)
def test_values_that_are_meant(name: str, value: Any) -> None:
    assert accepts(json_schema_to_gbnf(SCHEMAS[name]), json.dumps(value))
