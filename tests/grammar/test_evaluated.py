"""What counts as evaluated for unevaluatedProperties and unevaluatedItems."""

from __future__ import annotations

from typing import Any

import pytest
from grammar.matcher import accepts

from llamacpp_core.grammar import json_schema_to_gbnf


@pytest.mark.parametrize(
    ("schema", "valid", "wrong"),
    [
        (
            {
                "prefixItems": [{"const": "foo"}],
                "not": {"not": {"prefixItems": [True, {"const": "bar"}]}},
                "unevaluatedItems": False,
            },
            '["foo"]',
            '["foo","bar"]',
        ),
        (
            {
                "type": "object",
                "properties": {"foo": {"type": "string"}},
                "not": {"not": {"properties": {"bar": {"const": "bar"}}}},
                "unevaluatedProperties": False,
            },
            '{"foo":"x"}',
            '{"foo":"x","bar":"bar"}',
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "if": {"not": {"properties": {"b": {"const": 1}}, "required": ["b"]}},
                "else": {"required": ["a"]},
                "unevaluatedProperties": False,
            },
            '{"a":1}',
            '{"b":1,"a":1}',
        ),
    ],
)
def test_what_is_under_not_evaluates_nothing(schema: dict[str, Any], valid: str, wrong: str) -> None:
    grammar = json_schema_to_gbnf(schema)
    assert accepts(grammar, valid)
    assert not accepts(grammar, wrong)
