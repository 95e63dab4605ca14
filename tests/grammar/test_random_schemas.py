"""Schemas made at random in each draft: refused by name, or what the grammar makes is valid under them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from grammar.matcher import random_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf, parse_gbnf

NAMES = st.sampled_from(["a", "b", "c", 'q"'])
SMALL = st.integers(0, 4)
SCALARS = st.sampled_from([None, True, 0, 1, 2.5, -3, "", "a", "ab", "b1"])
LIMITS = SchemaLimits(max_string_length=20, max_array_items=6, max_properties=4, max_depth=2)
DEPENDENT = st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2)


def optional(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def with_type(name: str, keywords: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda k, typed: {**k, "type": name} if typed else k, keywords, st.booleans())


NUMERIC = optional(
    minimum=st.integers(-20, 20) | st.sampled_from([0.5, -1.25]),
    maximum=st.integers(-20, 120) | st.sampled_from([0.75, 3.125]),
    exclusiveMinimum=st.integers(-20, 20),
    exclusiveMaximum=st.integers(-20, 120),
    multipleOf=st.sampled_from([1, 3, 7, 0.5, 0.1]),
)
STRING = optional(
    minLength=SMALL,
    maxLength=st.integers(2, 9),
    pattern=st.sampled_from(["^a", "b$", "^[ab]+$", r"\d", "^(?!a).*$", 'x"|y']),
    format=st.sampled_from(["date", "uuid", "ipv4"]),
)
LEAVES = st.one_of(
    st.booleans(),
    st.just({}),
    with_type("integer", NUMERIC),
    with_type("number", NUMERIC),
    with_type("string", STRING),
    st.sampled_from(
        [{"type": "null"}, {"type": "boolean"}, {"type": ["string", "null"]}, {"$ref": "#/$defs/d"}]
    ),
    st.builds(lambda v: {"enum": v}, st.lists(SCALARS, min_size=1, max_size=4)),
    st.builds(lambda v: {"const": v}, SCALARS),
)


def compound(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    objects = optional(
        properties=st.dictionaries(NAMES, inner, max_size=3),
        required=st.lists(NAMES, max_size=2, unique=True),
        additionalProperties=inner,
        propertyNames=st.sampled_from([{"maxLength": 2}, {"enum": ["a", "zz"]}, {"pattern": "^[abz]"}]),
        minProperties=st.integers(0, 1),
        maxProperties=st.integers(1, 5),
        unevaluatedProperties=st.just(False),
        patternProperties=st.dictionaries(st.sampled_from(["^a", "b$", "[cz]"]), inner, max_size=2),
        dependentRequired=DEPENDENT,
        dependentSchemas=st.dictionaries(NAMES, inner, max_size=1),
        dependencies=DEPENDENT | st.dictionaries(NAMES, inner, max_size=1),
    )
    arrays = optional(
        items=inner | several,
        prefixItems=several,
        additionalItems=inner,
        minItems=st.integers(0, 3),
        maxItems=SMALL,
        uniqueItems=st.booleans(),
        contains=inner,
        minContains=st.integers(0, 2),
        maxContains=st.integers(1, 2),
        unevaluatedItems=st.just(False),
    )
    applied = optional(allOf=several, anyOf=several, oneOf=several, **{"not": inner})
    conditions = optional(**{"if": inner, "then": inner, "else": inner})
    return st.one_of(
        with_type("object", objects),
        with_type("array", arrays),
        applied,
        st.builds(lambda a, b: {**a, **b}, with_type("object", objects), applied),
        st.builds(lambda a, b: {**a, **b}, with_type("object", objects), conditions),
        st.builds(lambda a, b: {**a, **b}, with_type("array", arrays), conditions),
        st.builds(lambda a, b: {**a, **b}, with_type("integer", NUMERIC), applied),
        st.builds(lambda a, b: {**a, **b}, with_type("string", STRING), applied),
    )


SCHEMAS = st.recursive(LEAVES, compound, max_leaves=8)


def _exact(text: str) -> Any:
    """What a JSON text says, with decimals as they are written: as doubles 0.3 is no multiple of 0.1."""

    def number(text: str) -> int | Decimal:
        exact = Fraction(text)
        return int(exact) if exact.denominator == 1 else Decimal(text)

    return json.loads(text, parse_float=number)


def _multiple_of(validator: Any, factor: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    """``multipleOf`` for decimals of any size."""
    if validator.is_type(value, "number") and Fraction(value) % Fraction(factor):
        yield ValidationError(f"{value} is not a multiple of {factor}")


def _misjudged(schema: Any) -> bool:
    """Whether ``jsonschema`` itself errs about a schema.

    In draft 2019-09 it takes properties under ``additionalProperties`` for unevaluated unless that is true,
    and with true or false as ``items`` it may fail beside ``additionalItems`` and ``unevaluatedItems``.
    """
    text = json.dumps(schema)
    if "2019-09" in text and "unevaluatedProperties" in text and '"additionalProperties": {' in text:
        return True
    beside = "additionalItems" in text or "unevaluatedItems" in text
    return beside and ('"items": true' in text or '"items": false' in text)


DRAFTS = [
    *(f"http://json-schema.org/draft-0{draft}/schema#" for draft in (4, 6, 7)),
    *(f"https://json-schema.org/draft/{year}/schema" for year in ("2019-09", "2020-12")),
]


#: ``--hypothesis-profile=long`` makes thousands, other ones each time; else they are always the same.
EXAMPLES = 4 * settings().max_examples


@pytest.mark.timeout(EXAMPLES)
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 400,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(schema=SCHEMAS, definition=SCHEMAS, draft=st.sampled_from(DRAFTS), seed=st.integers(0, 1000))
def test_random_schemas(schema: Any, definition: Any, draft: str, seed: int) -> None:
    whole = {"allOf": [schema]} if isinstance(schema, bool) else dict(schema)
    whole |= {"$schema": draft, "$defs": {"d": definition}}
    gbnf, message = "", "$"
    try:
        gbnf = json_schema_to_gbnf(whole, limits=LIMITS)
    except GrammarError as error:
        message = str(error)
    assert message.startswith("$")
    if not gbnf:
        return
    parse_gbnf(gbnf)
    kind = validator_for(whole)
    try:
        kind.check_schema(whole)
    except SchemaError:  # words of one draft mean something else, or nothing, in another
        return
    if _misjudged(whole):
        return
    exact = extend(kind, {"multipleOf": _multiple_of})
    judge = exact(_exact(json.dumps(whole)), format_checker=kind.FORMAT_CHECKER)
    for number in range(4):
        judge.validate(_exact(random_text(gbnf, seed + number, fuel=150)))
