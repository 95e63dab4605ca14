"""Objects: in which order properties come, and which names others may have."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from grammar.matcher import accepts, max_stacks
from hypothesis import given, settings
from hypothesis import strategies as st

from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf
from llamacpp_core.grammar.names import other_names
from llamacpp_core.grammar.strings import PREFIX

TEXT = {"type": "string", "maxLength": 3}
INT = {"type": "integer"}


def _object(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], **more}


def _takes(schema: dict[str, Any], value: str, **options: Any) -> bool:
    return accepts(json_schema_to_gbnf(schema, **options), value)


def test_required_properties_may_come_in_the_order_of_required() -> None:
    schema = _object({"a": INT, "b": INT, "c": INT, "d": INT}, "c", "a")
    for text in ('{"a":1,"c":2}', '{"c":2,"a":1}', '{"c":1,"a":2,"b":3,"d":4}', '{"a":1,"b":2,"c":3,"d":4}'):
        assert _takes(schema, text), text
    for text in ('{"c":1,"b":2,"a":3}', '{"c":1}', '{"c":1,"a":2,"d":3,"b":4}', '{"c":1,"a":2,"c":3}'):
        assert not _takes(schema, text), text


@pytest.mark.parametrize(
    ("schema", "options", "taken", "refused"),
    [
        (
            _object({"a": INT, "b": INT}, "b", "a"),
            {"property_order": "sorted"},
            '{"a":1,"b":1}',
            '{"b":1,"a":1}',
        ),
        (_object({"a": INT, "b": INT}, "b", "a", minProperties=1), {}, '{"a":1,"b":1}', '{"b":1,"a":1}'),
        (
            _object({"x": INT, "a": INT}, "a"),
            {"property_order": "sorted"},
            '{"a":1,"x":1}',
            '{"x":1,"a":1}',
        ),
        (_object({"x": INT, "a": INT}, "a", minProperties=2), {}, '{"x":1,"a":1}', '{"a":1,"x":1}'),
    ],
)
def test_one_order_where_it_is_asked_for_or_required_says_none(
    schema: dict[str, Any], options: dict[str, Any], taken: str, refused: str
) -> None:
    assert _takes(schema, taken, **options)
    assert not _takes(schema, refused, **options)


@given(st.lists(st.sampled_from("01"), max_size=5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_required_properties_may_come_before_the_others(needs: list[str], open_: bool) -> None:
    names = "abcde"[: len(needs)]
    required = [name for name, need in zip(names, needs, strict=True) if need == "1"]
    schema = _object(dict.fromkeys(names, INT), *required, additionalProperties=INT if open_ else False)
    gbnf = json_schema_to_gbnf(schema)
    for n in range(len(names) + 1):
        for some in permutations(names, n):
            others = [name for name in names if name in some and name not in required]
            right = {*required} <= {*some} and [*some] in (sorted(some), required + others)
            for last in ("", "z") if open_ else ("",):
                text = "{" + ",".join(f'"{name}":1' for name in [*some, *last]) + "}"
                assert accepts(gbnf, text) == right, (required, text)


def test_values_are_read_in_one_way_where_required_ones_may_come_first() -> None:
    inner: dict[str, Any] = {"enum": ["abc"]}
    text = '"abc"'
    for _ in range(6):
        inner = _object({"x": INT, "a": inner, "y": INT, "b": INT}, "a", "b")
        text = '{"a":' + text + ',"b":1}'
    assert max_stacks(json_schema_to_gbnf(inner), text) < 20


def test_what_is_inside_is_not_read_in_two_ways_through_many_levels() -> None:
    deep = {"type": "array", "items": {"type": "array", "items": INT}}
    assert not _takes(_object({"a": deep, "b": INT, "c": INT}, "a", "c", "b"), '{"a":[[1]],"c":1,"b":2}')
    assert _takes(_object({"a": deep, "b": INT}, "b", "a"), '{"b":2,"a":[[1]]}')


def test_an_inner_object_that_lists_no_property_is_free() -> None:
    schema = _object({"options": {"type": "object", "properties": {}}}, "options")
    assert _takes(schema, '{"options":{"depth":[1,2]}}')
    assert not _takes({"type": "object", "properties": {}}, '{"depth":1}')
    assert _takes({"type": "object", "properties": {}}, "{}")


@given(
    st.lists(st.text('ab"\\\u00e9\n', max_size=4), unique=True, max_size=6),
    st.text('ab"\\\u00e9\n', max_size=5),
)
@settings(max_examples=100, deadline=None)
def test_other_names_are_all_names_but_the_listed(names: list[str], name: str) -> None:
    start, rules = other_names(tuple(names), 8)
    lines = [f'root ::= "\\"" {start} "\\""', *(f"{key} ::= {body}" for key, body in rules.items())]
    grammar = "\n".join(lines).replace(PREFIX, "n-")
    assert accepts(grammar, json.dumps(name, ensure_ascii=False)) is (name not in names)


def test_names_of_any_length_are_told_apart() -> None:
    schema = _object({"a" * 250: INT}, additionalProperties=INT)
    assert _takes(schema, '{"aa":1}')
    gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(max_key_length=None))
    assert not accepts(gbnf, json.dumps({"a" * 250: "x"}, separators=(",", ":")))


def test_an_object_may_list_hundreds_of_properties() -> None:
    schema = _object({f"p{number}": INT for number in range(600)}, "p7")
    assert _takes(schema, '{"p7":1}')
    assert _takes(schema, '{"p0":1,"p7":2,"p599":3}')
    assert not _takes(schema, '{"p0":1,"p599":3}')
    assert _takes(schema, '{"p7":2,"p0":1,"p599":3}')
    assert not _takes(schema, '{"p8":1,"p7":2,"p599":3}')


@pytest.mark.parametrize("others", [False, {"type": "integer"}])
def test_what_may_follow_a_member_is_the_same_with_and_without_a_count(others: Any) -> None:
    properties = dict.fromkeys("abc", INT)
    plain = _object(properties, "b", additionalProperties=others)
    counted = _object(properties, "b", additionalProperties=others, maxProperties=9)
    texts = [
        "{}",
        *(json.dumps(dict.fromkeys(names, 1), separators=(",", ":")) for names in _subsets("abcx")),
    ]
    for text in texts:
        assert _takes(plain, text) == _takes(counted, text), text
    assert sum(_takes(plain, text) for text in texts) == (8 if others else 4)


def _subsets(names: str) -> list[str]:
    return [
        "".join(name for bit, name in enumerate(names) if chosen >> bit & 1)
        for chosen in range(1, 1 << len(names))
    ]
