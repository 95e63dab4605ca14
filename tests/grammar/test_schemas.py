"""What a compiled schema accepts and makes, over a wide table of schemas, with jsonschema as the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grammar.matcher import accepts, accepts_prefix, max_stacks, random_text
from grammar.schemas import SCHEMAS
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf, parse_gbnf
from llamacpp_core.grammar.formats import PATTERNS

CHECKER = Draft202012Validator.FORMAT_CHECKER
NAMES = sorted(SCHEMAS)
WHITESPACE = ("none", "space", "pretty")


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=CHECKER)


def test_every_format_is_judged() -> None:
    assert set(PATTERNS) <= set(CHECKER.checkers)


def test_the_table_is_wide() -> None:
    assert len(SCHEMAS) >= 80


@pytest.mark.parametrize("name", NAMES)
def test_valid_values_are_accepted(name: str) -> None:
    schema, values = SCHEMAS[name]
    for value in values:
        assert validator(schema).is_valid(value), value
        for whitespace, separators in (
            ("none", (",", ":")),
            ("space", (", ", ": ")),
            ("pretty", (",", ": ")),
        ):
            gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace=whitespace))
            text = json.dumps(value, ensure_ascii=False, separators=separators).replace("\x7f", r"\u007f")
            assert accepts(gbnf, text), (whitespace, text)
        indented = json.dumps(value, ensure_ascii=False, indent=2).replace("\x7f", r"\u007f")
        pretty = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace="pretty"))
        assert accepts(pretty, indented), indented


@pytest.mark.parametrize("name", NAMES)
def test_what_is_made_is_valid(name: str) -> None:
    schema, _ = SCHEMAS[name]
    judge = validator(schema)
    for whitespace in WHITESPACE:
        gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(whitespace=whitespace))
        for seed in range(15):
            text = random_text(gbnf, seed)
            value = json.loads(text)
            judge.validate(value)
            json.dumps(value, ensure_ascii=False).encode()
            assert accepts_prefix(gbnf, text[: min(len(text) // 2, 200)])


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), fuel=st.integers(0, 2000))
def test_what_is_made_is_valid_for_any_seed(name: str, seed: int, fuel: int) -> None:
    schema, _ = SCHEMAS[name]
    text = random_text(json_schema_to_gbnf(schema), seed, fuel=fuel)
    validator(schema).validate(json.loads(text))


@pytest.mark.parametrize("name", NAMES)
def test_ambiguity_is_low(name: str) -> None:
    schema, values = SCHEMAS[name]
    gbnf = json_schema_to_gbnf(schema)
    texts = [json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f") for value in values]
    # a place where one of n names or values may come costs n
    limit = 45 if name in ("optional, many", "ipv6") else 24
    assert max(max_stacks(gbnf, text) for text in texts) <= limit


@pytest.mark.parametrize("name", NAMES)
def test_every_grammar_parses_and_every_rule_is_used(name: str) -> None:
    grammar = parse_gbnf(json_schema_to_gbnf(SCHEMAS[name][0]))
    seen, todo = {"root"}, ["root"]
    while todo:
        for alternative in grammar.rules[todo.pop()]:
            names = {element.name for element in alternative if hasattr(element, "name")} - seen
            seen |= names
            todo += names
    assert {rule for rule in grammar.rules if "_" not in rule} <= seen
