"""Compiling schemas: what is refused and how, limits, strictness of the JSON text."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
from typing import Any

import pytest
from grammar.matcher import accepts, accepts_prefix
from hypothesis import given, settings
from hypothesis import strategies as st

from llamacpp_core.errors import GrammarError, InvalidParameterError
from llamacpp_core.grammar import SchemaCompiler, SchemaLimits, json_schema_to_gbnf

INT = {"type": "integer"}
OPEN_A = {"properties": {"a": INT}}

REFUSED: list[tuple[Any, str]] = [
    ({"type": "strin"}, "$.type: expected one of"),
    ({"type": []}, "$.type: expected one of"),
    ({"enum": []}, "$.enum: expected a list with at least one value"),
    ({"type": "string", "enum": [1, 2]}, "$.enum: none of the values"),
    ({"type": "string", "minLength": -1}, "$.minLength: expected a whole number"),
    ({"type": "string", "maxLength": 10**9}, "$.maxLength: "),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "$: no integer lies between 5 and 4"),
    ({"type": "number", "minimum": 1, "exclusiveMaximum": 1}, "$: no number"),
    (
        {"type": "object", "maxProperties": 0, **OPEN_A, "required": ["a"]},
        "$.maxProperties: 1 properties are required",
    ),
    (
        {"type": "object", **OPEN_A, "required": ["b"], "additionalProperties": False},
        "$.required: the property 'b'",
    ),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "$.required: the property 'a'"),
    ({"anyOf": [INT, {"$ref": "#/$defs/no"}]}, "$.anyOf[1].$ref: '#/$defs/no' points to nothing"),
    ({"$ref": "https://example.com/x.json"}, "$.$ref: only references into the same schema"),
    ({"$ref": "#"}, "$.$ref: the schema refers to itself"),
    (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        "refers to itself",
    ),
    ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, INT]}}, "$ref": "#/$defs/a"}, "refers to itself"),
    ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "$: the schema has no finite value"),
    (False, "$: no value is valid under false"),
    ({"type": "string", "nullable": "yes"}, "$.nullable: expected true or false"),
    ({"required": "a"}, "$.required: expected a list of property names"),
    ({"properties": {"a": 1}}, "$.properties: expected an object of schemas"),
    (3, "$: a schema has to be an object, true or false, got int"),
    ([], "$: a schema has to be an object, true or false, got list"),
    ("{", "$: the schema is not valid JSON"),
    ('{"type": "string", "type": "integer"}', "$: the key 'type' occurs twice"),
    ('{"minimum": 1e999}', "$: the number 1e999 is beyond what a double holds"),
    ('{"minimum": NaN}', "$: the number NaN is beyond"),
    ({"minimum": float("inf")}, "$: the schema is not JSON"),
    ({"enum": [{1, 2}]}, "$: the schema is not JSON"),
    ({"enum": ["\ud800"]}, "$: a lone surrogate"),
    ({"properties": {"\udfff": INT}}, "$: a lone surrogate"),
    ({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 6}, "$.multipleOf: no number is left"),
    ({"type": "object", "patternProperties": {"(": INT}}, "$.patternProperties: '(' is never closed"),
    ({"not": {}}, "$: no value can satisfy all of it"),
    ({"type": "array", "items": {"type": "array"}, "uniqueItems": True}, "$.uniqueItems: a grammar cannot"),
    ({"type": "string", "minlength": 3}, "$.minlength: unknown keyword; 'minLength' was probably meant"),
    ({"additonalProperties": False}, "'additionalProperties' was probably meant"),
    ({"requried": ["a"]}, "'required' was probably meant"),
    ({"pattenr": "a"}, "'pattern' was probably meant"),
    (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "exclusiveMinimum": True},
        "belong to draft 4",
    ),
    ({"type": "string", "minLength": 5, "maxLength": 4}, "$.minLength: 5 is more than maxLength 4"),
    ({"type": "string", "pattern": "^a{9}$", "maxLength": 5}, "$.pattern: no string can match"),
    ({"type": "string", "format": "uuid", "maxLength": 5}, "$.format: no string can match"),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "$.minItems: "),
    ({"type": "array", "items": False, "minItems": 1}, "$.minItems: "),
    ({"type": "object", "minProperties": 3, "properties": {"a": INT, "b": INT}}, "$.minProperties: "),
    ({"type": "object", "minProperties": 2, "additionalProperties": INT}, "$.minProperties: names"),
    ({"$ref": "#anchor"}, "$.$ref: '#anchor' points to nothing"),
    ({"allOf": [INT, {"type": "string"}]}, "$: no value can satisfy all of it"),
    ({"oneOf": [{"type": "array"}, {"type": "array", "minItems": 0}]}, "$.oneOf: every value of a branch"),
    ({"oneOf": [{}, {"enum": [None]}, {}]}, "$.oneOf: every value of a branch may also match another"),
]


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_what_cannot_be_enforced_is_refused_by_name(schema: Any, message: str) -> None:
    with pytest.raises(GrammarError) as caught:
        json_schema_to_gbnf(schema)
    assert message in str(caught.value)
    assert caught.value.parameter == "json_schema"


def test_deep_schemas_are_refused() -> None:
    deep: Any = INT
    for _ in range(70):
        deep = {"type": "array", "items": deep}
    with pytest.raises(GrammarError, match="nested more than 64 deep"):
        json_schema_to_gbnf(deep)
    for _ in range(5000):
        deep = {"allOf": [deep]}
    with pytest.raises(GrammarError, match=r"recursion|deeply"):
        json_schema_to_gbnf(deep)


def test_schemas_that_combine_too_much_are_refused_soon() -> None:
    branches = [
        {"properties": {f"p{i}": {"const": j} for i in range(8)}, "required": [f"p{j}"]} for j in range(8)
    ]
    with pytest.raises(GrammarError, match=r"too many|combinations|ruled out|overlap"):
        json_schema_to_gbnf({"type": "object", "allOf": [{"oneOf": branches}, {"not": {"oneOf": branches}}]})
    texts = {f"t{i}": {"pattern": f"^(a|b)*a[ab]{{8}}{i}", "maxLength": 900} for i in range(40)}
    with pytest.raises(GrammarError, match="states"):
        json_schema_to_gbnf({"properties": {k: {"type": "string", **v} for k, v in texts.items()}})
    assert json_schema_to_gbnf({"multipleOf": 0.5, "enum": [1e308]}).startswith("root")


def test_large_schemas_are_refused() -> None:
    with pytest.raises(GrammarError, match="the limit is 1048576"):
        json_schema_to_gbnf(
            {"enum": ["x" * 1000 + str(i) for i in range(1200)] + [[i, "y" * 1000] for i in range(1200)]}
        )
    half = {"anyOf": [{"properties": {str(i): INT}} for i in range(20)]}
    with pytest.raises(GrammarError, match="combinations"):
        json_schema_to_gbnf({"allOf": [half, half | {"title": "x"}]})


@pytest.mark.parametrize(
    "text",
    [
        '"\n"',
        '"\x1f"',
        '"\\x"',
        '"\\u12g4"',
        '"\\ud800"',
        '"\\ud800\\u0041"',
        '"\\udc00"',
        '"a',
        "'a'",
        ' "a"',
        '"a" ',
    ],
)
def test_strings_are_strict(text: str) -> None:
    assert not accepts(json_schema_to_gbnf({"type": "string"}), text)


@pytest.mark.parametrize(
    "text",
    ['"\\ud83d\\ude00"', '"\\u00e9"', '"\\/"', '"é😀"', '"\\b\\f\\n\\r\\t\\"\\\\"', '"\u2028"', '"\\uFFFF"'],
)
def test_strings_may_hold(text: str) -> None:
    json.loads(text)
    assert accepts(json_schema_to_gbnf({"type": "string"}), text)


def test_length_counts_code_points_however_they_are_written() -> None:
    gbnf = json_schema_to_gbnf({"type": "string", "maxLength": 2})
    assert accepts(gbnf, '"\\ud83d\\ude00😀"')
    assert not accepts(gbnf, '"\\ud83d\\ude00😀a"')


def test_properties_are_closed_unless_opened() -> None:
    schema = {"type": "object", "properties": {"a": INT}}
    assert not accepts(json_schema_to_gbnf(schema), '{"b": 1}')
    assert accepts(json_schema_to_gbnf({**schema, "additionalProperties": True}), '{"b": 1}')
    assert not accepts(json_schema_to_gbnf({**schema, "additionalProperties": True}), '{"a": 1, "a": 2}')
    assert not accepts(json_schema_to_gbnf({**schema, "additionalProperties": {"type": "null"}}), '{"b": 1}')


def test_forbidden_properties_do_not_come_back_as_others() -> None:
    for others in (INT, True):
        schema = {"type": "object", "properties": {"a": False}, "additionalProperties": others}
        assert accepts(json_schema_to_gbnf(schema), '{"b": 1}')
        assert not accepts(json_schema_to_gbnf(schema), '{"a": 1}')


def test_property_order() -> None:
    schema = {"type": "object", "properties": {"b": INT, "a": INT}, "required": ["b", "a"]}
    assert accepts(json_schema_to_gbnf(schema), '{"b": 1, "a": 2}')
    assert not accepts(json_schema_to_gbnf(schema), '{"a": 1, "b": 2}')
    assert accepts(json_schema_to_gbnf(schema, property_order="sorted"), '{"a": 1, "b": 2}')
    with pytest.raises(InvalidParameterError, match="property_order"):
        json_schema_to_gbnf(schema, property_order="random")  # type: ignore[arg-type]


def test_size_is_linear_in_optional_properties() -> None:
    def size(n: int) -> int:
        return len(json_schema_to_gbnf({"type": "object", "properties": {f"p{i:03}": INT for i in range(n)}}))

    assert size(200) < 2.2 * size(100)


def test_nullable_is_a_word_of_openapi() -> None:
    plain = {"type": "integer", "nullable": True}
    assert not accepts(json_schema_to_gbnf(plain), "null")
    openapi = {"$schema": "https://spec.openapis.org/oas/3.0/schema/2021-09-28"}
    gbnf = json_schema_to_gbnf(plain | openapi)
    assert accepts(gbnf, "null")
    assert accepts(gbnf, "5")
    framed = {"components": {"schemas": {"x": plain}}, "$ref": "#/components/schemas/x"}
    assert accepts(json_schema_to_gbnf(framed), "null")
    assert not accepts(json_schema_to_gbnf(plain | openapi | {"enum": [1, 2]}), "null")
    assert not accepts(json_schema_to_gbnf(plain | openapi | {"allOf": [INT]}), "null")


@pytest.mark.parametrize(
    ("limits", "schema", "good", "bad"),
    [
        ({"max_string_length": 3}, {"type": "string"}, '"abc"', '"abcd"'),
        ({"max_string_length": 3}, {"type": "string", "maxLength": 5}, '"abcde"', '"abcdef"'),
        ({"max_string_length": 3}, {"type": "string", "minLength": 5}, '"abcde"', '"abcdef"'),
        ({"max_string_length": 5000}, {"type": "string"}, '"' + "x" * 5000 + '"', '"' + "x" * 5001 + '"'),
        ({"max_pattern_length": 3}, {"type": "string", "pattern": "^a*$"}, '"aaa"', '"aaaa"'),
        ({"max_pattern_length": 3}, {"type": "string", "pattern": "^a{9}$"}, '"aaaaaaaaa"', '"aaa"'),
        ({"max_integer_digits": 2}, INT, "-99", "100"),
        ({"max_integer_digits": 2}, {"type": "integer", "minimum": 500}, "999", "1000"),
        ({"max_integer_digits": 2}, {"type": "integer", "minimum": 0, "maximum": 12345}, "12345", "12346"),
        ({"max_fraction_digits": 2}, {"type": "number"}, "1.25", "1.255"),
        ({"max_fraction_digits": 0}, {"type": "number"}, "1", "1.5"),
        ({"max_exponent_digits": 0}, {"type": "number"}, "1", "1e5"),
        ({"max_exponent_digits": 1}, {"type": "number"}, "1e5", "1e10"),
        ({"max_array_items": 2}, {"type": "array", "items": INT}, "[1, 2]", "[1, 2, 3]"),
        ({"max_array_items": 2}, {"type": "array", "items": INT, "maxItems": 3}, "[1, 2, 3]", "[1, 2, 3, 4]"),
        (
            {"max_properties": 1},
            {"type": "object", "additionalProperties": INT},
            '{"a": 1}',
            '{"a": 1, "b": 2}',
        ),
        ({"max_key_length": 2}, {"type": "object"}, '{"ab": 1}', '{"abc": 1}'),
        ({"max_depth": 1}, {}, "[1]", "[[1]]"),
        ({"max_depth": 0}, {}, '"x"', "[]"),
        ({"max_depth": 2}, {"type": "object"}, '{"a": [1]}', '{"a": [[1]]}'),
        ({"whitespace": "none"}, {"type": "array", "items": INT}, "[1,2]", "[1, 2]"),
        ({"whitespace": "space"}, {"type": "array", "items": INT}, "[1, 2,3]", "[1,  2]"),
        ({"whitespace": "space"}, {"type": "array", "items": INT}, "[]", "[\n]"),
        ({"whitespace": "pretty"}, {"type": "array", "items": INT}, "[\n  1,\n  2\n]", "[1 ,2]"),
        ({"whitespace": "pretty"}, {"type": "object"}, '{\n "a": {\n } \n}'.replace(" \n", "\n"), "{\n\n\n}"),
    ],
)
def test_limits(limits: dict[str, Any], schema: Any, good: str, bad: str) -> None:
    gbnf = json_schema_to_gbnf(schema, limits=SchemaLimits(**limits))
    assert accepts(gbnf, good)
    assert not accepts(gbnf, bad)


def test_no_limits() -> None:
    unlimited = SchemaLimits(
        max_string_length=None,
        max_pattern_length=None,
        max_key_length=None,
        max_integer_digits=None,
        max_fraction_digits=None,
        max_exponent_digits=None,
        max_array_items=None,
        max_properties=None,
        max_depth=None,
    )
    text = json.dumps({"k" * 100: [[[[[["x" * 3000, [1] * 100]]]]]], **{str(i): i for i in range(50)}})
    assert accepts(json_schema_to_gbnf({}, limits=unlimited), text)
    assert accepts(json_schema_to_gbnf({"pattern": "^a+$"}, limits=unlimited), '"' + "a" * 500 + '"')
    assert accepts(json_schema_to_gbnf(INT, limits=unlimited), "9" * 40)
    assert accepts(json_schema_to_gbnf({"type": "number", "minimum": 1}, limits=unlimited), "9" * 40 + ".5")
    assert accepts(json_schema_to_gbnf({"type": "number"}, limits=unlimited), "1." + "3" * 40 + "e1000")


def test_root_name() -> None:
    assert json_schema_to_gbnf(INT, root="my-root").startswith("my-root ::= ")
    with pytest.raises(InvalidParameterError, match="root must be a rule name"):
        json_schema_to_gbnf(INT, root="my_root")


def test_rule_names_do_not_collide() -> None:
    schema = {
        "type": "object",
        "properties": {
            name: {"type": "integer", "minimum": i}
            for i, name in enumerate(["root", "char", "ws", "a b", "a-b", "日本"])
        },
        "required": ["root", "char", "ws", "a b", "a-b", "日本"],
    }
    assert accepts(
        json_schema_to_gbnf(schema),
        json.dumps({"root": 0, "char": 1, "ws": 2, "a b": 3, "a-b": 4, "日本": 5}, ensure_ascii=False),
    )


def test_equal_schemas_share_their_rules() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}, "age": INT}, "required": ["name"]}
    once = json_schema_to_gbnf({"type": "object", "properties": {"a": person}})
    twice = json_schema_to_gbnf({"type": "object", "properties": {"a": person, "b": person}})
    assert len(twice) < len(once) + 120


def test_results_are_cached_by_content() -> None:
    schema = {"type": "object", "properties": {"cached": INT}}
    first = json_schema_to_gbnf(schema)
    assert json_schema_to_gbnf(dict(schema)) is first
    schema["properties"] = {"changed": INT}
    assert "changed" in json_schema_to_gbnf(schema)


def test_compiler_takes_python_objects() -> None:
    compiler = SchemaCompiler()
    symbol = compiler.add({"type": "array", "prefixItems": ({"const": 1}, {"const": 2})}, "pair")
    assert accepts(compiler.render(symbol), "[1, 2]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(JSON)
def test_const_is_exact(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    gbnf = json_schema_to_gbnf({"const": value})
    assert accepts(gbnf, text)
    assert not accepts(gbnf, text + " ")
    assert not accepts(gbnf, text[:-1])


@settings(deadline=None, max_examples=60)
@given(JSON)
def test_free_form_takes_any_json(value: Any) -> None:
    gbnf = json_schema_to_gbnf({}, limits=SchemaLimits(max_depth=None))
    assert accepts(gbnf, json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f"))
    assert accepts(
        gbnf, json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("\x7f", "\\u007f")
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=12), st.text(max_size=4))
def test_enums_of_strings_are_exact(values: list[str], other: str) -> None:
    gbnf = json_schema_to_gbnf({"enum": values})
    for value in values:
        assert accepts(gbnf, json.dumps(value, ensure_ascii=False))
    text = json.dumps(other, ensure_ascii=False)
    assert accepts(gbnf, text) == (other in values)
    assert accepts_prefix(gbnf, '"')


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"pattern": "^a+$"}}, "additionalProperties": {"type": "integer"}},
        {"oneOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "string"}]},
        {"properties": {"next": {"$ref": "#"}, "all": {"type": "array", "items": {"$ref": "#"}}}},
    ],
)
def test_nothing_is_left_for_the_garbage_collector(schema: dict[str, Any]) -> None:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        json_schema_to_gbnf(schema, root="left-over")
        assert gc.collect() == 0
    finally:
        if was_on:
            gc.enable()


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "strin"}])
def test_the_garbage_collector_is_left_as_it_was(schema: dict[str, str], is_on: bool) -> None:
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with suppress(GrammarError):
            SchemaCompiler().add(schema, "value")
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()
