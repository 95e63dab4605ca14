"""Schemas for the tests: each with some values that are valid under it and that its grammar has to accept."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

__all__ = ["SCHEMAS"]


def obj(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or [], **more}


STR, INT, NUM, NULL, BOOL = ({"type": t} for t in ("string", "integer", "number", "null", "boolean"))


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Address(BaseModel):
    street: str = Field(description="Street and number", max_length=30)
    zip: str = Field(pattern=r"^\d{5}$")
    country: Literal["DE", "FR"] = "DE"


class Person(BaseModel):
    """A person."""

    name: str
    age: int = Field(ge=0, le=130)
    email: str | None = None
    address: Address
    tags: list[str] = []
    color: Color = Color.RED
    score: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Pets(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(min_length=1, max_length=3)


class Event(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: uuid.UUID
    day: datetime.date
    at: AwareDatetime
    length: datetime.timedelta


class Bag(BaseModel):
    model_config = ConfigDict(extra="allow")
    counts: dict[str, int]
    by_color: dict[Literal["red", "green"], float]
    pair: tuple[int, str]
    price: decimal.Decimal
    anything: Any = None


_TREE = {
    "$defs": {"tree": obj({"v": INT, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, ["v"])},
    "$ref": "#/$defs/tree",
}
_LIST = obj({"head": STR, "tail": {"anyOf": [{"$ref": "#"}, NULL]}}, ["head", "tail"])
_EXPRESSION = {
    "$defs": {
        "expr": {"anyOf": [NUM, {"$ref": "#/$defs/op"}]},
        "op": obj(
            {
                "op": {"enum": ["+", "*"]},
                "args": {"type": "array", "items": {"$ref": "#/$defs/expr"}, "minItems": 2},
            },
            ["op", "args"],
        ),
    },
    "$ref": "#/$defs/op",
}
_LONG = [f"value-{i:03}" for i in range(150)]

#: Name to schema and valid values.
SCHEMAS: dict[str, tuple[Any, list[Any]]] = {
    # any value, single types
    "anything": ({}, [None, 1, "x", [1, {"a": [True]}], {"": {}}, {"a": {"b": [1.5, "é"]}}]),
    "true": (True, [0, [], {}]),
    "null": (NULL, [None]),
    "boolean": (BOOL, [True, False]),
    "string": (STR, ["", "a", 'q"\\\n\t\x01\x7f', "é漢😀", "/"]),
    "integer": (INT, [0, -1, 42, 999999999999999]),
    "number": (NUM, [0, -1, 2.5, 1e-07, 1e20, 123456.789]),
    "object": ({"type": "object"}, [{}, {"a": 1}, {"a": {"b": {}}, "ü": [None]}]),
    "array": ({"type": "array"}, [[], [1, "a", None], [[[]]]]),
    "types": ({"type": ["string", "null", "integer"]}, ["a", None, 3]),
    "number or integer": ({"type": ["number", "integer"]}, [1, 1.5]),
    "annotations": (
        {
            "type": "string",
            "title": "T",
            "description": "d",
            "default": 5,
            "examples": [1],
            "x-order": 1,
            "$comment": "c",
            "deprecated": True,
            "readOnly": True,
            "$schema": "https://json-schema.org/draft/2020-12/schema",
        },
        ["a"],
    ),
    # enum and const
    "enum": (
        {"enum": ["a", "ab", 1, 1.5, None, True, [1, "x"], {"k": [2]}, 'quo"te', "ü\n"]},
        ["a", "ab", 1, 1.5, None, True, [1, "x"], {"k": [2]}, 'quo"te', "ü\n"],
    ),
    "enum of a type": ({"type": "string", "enum": ["a", 1, "b"]}, ["a", "b"]),
    "enum under bounds": ({"enum": [1, 5, 10, "x"], "minimum": 2, "maximum": 9}, [5, "x"]),
    "enum with prefixes": ({"enum": ["a", "aa", "aaa", "b", ""]}, ["a", "aa", "aaa", "b", ""]),
    "enum, long": ({"enum": _LONG}, _LONG),
    "const": ({"const": "fixed"}, ["fixed"]),
    "const object": ({"const": {"a": [1, {"b": None}], "c": ""}}, [{"a": [1, {"b": None}], "c": ""}]),
    "const empty": ({"enum": [{}, [], ""]}, [{}, [], ""]),
    "const and enum": ({"const": 2, "enum": [1, 2, 3]}, [2]),
    "enum with pattern": ({"enum": ["abc", "xyz"], "pattern": "^a"}, ["abc"]),
    # integers
    "integer from": ({"type": "integer", "minimum": 17}, [17, 18, 99, 100, 12345]),
    "integer to": ({"type": "integer", "maximum": -3}, [-3, -4, -10, -9999]),
    "integer between": (
        {"type": "integer", "minimum": -105, "maximum": 2017},
        [-105, -99, 0, 9, 10, 1999, 2017],
    ),
    "integer exclusive": ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}, [1, 9]),
    "integer one": ({"type": "integer", "minimum": 7, "maximum": 7}, [7]),
    "integer, fractional bounds": ({"type": "integer", "minimum": 1.5, "maximum": 3.2}, [2, 3]),
    "integer beyond double": ({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, [0, 2**63 - 1024]),
    "integer with format": ({"type": "integer", "format": "int32"}, [0, 2**31 - 1, -(2**31)]),
    "integer multiples": (
        {"type": "integer", "multipleOf": 25, "minimum": 0, "maximum": 100},
        [0, 25, 50, 75, 100],
    ),
    "integer multiple of one": ({"type": "integer", "multipleOf": 1}, [3]),
    # numbers
    "number from": ({"type": "number", "minimum": 0.5}, [0.5, 0.51, 1, 17.25]),
    "number above": ({"type": "number", "exclusiveMinimum": 0}, [0.1, 1, 0.001]),
    "number below": ({"type": "number", "exclusiveMaximum": 0}, [-0.1, -1]),
    "number to": ({"type": "number", "maximum": 100}, [100, 99.99, -5.5, 0]),
    "number between": ({"type": "number", "minimum": -1.25, "maximum": 3.75}, [-1.25, 0, 3.75, 3.5, -1]),
    "number in unit": ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5, 0.999]),
    "number, big exclusive": ({"type": "number", "exclusiveMaximum": 1000000}, [999999.5, -3]),
    "latitude": ({"type": "number", "minimum": -90, "maximum": 90}, [52.520008, -89.999, 90, -90]),
    "number multiple of 1": ({"type": "number", "multipleOf": 1, "minimum": 3}, [3, 4]),
    # strings
    "string of length": ({"type": "string", "minLength": 2, "maxLength": 4}, ["ab", "😀é", 'a"\\b']),
    "string not empty": ({"type": "string", "minLength": 1}, ["a"]),
    "string, exact length": ({"type": "string", "minLength": 3, "maxLength": 3}, ["abc"]),
    "string, empty only": ({"type": "string", "maxLength": 0}, [""]),
    "string, long": (
        {"type": "string", "minLength": 2500, "maxLength": 7321},
        ["x" * 2500, "x" * 5000, "x" * 7321],
    ),
    "pattern": ({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, ["AB-123"]),
    "pattern with classes": ({"type": "string", "pattern": r"^\d+\s\w*$"}, ["12 ab", "1\t"]),
    "pattern, unanchored": ({"type": "string", "pattern": "foo|ba[rz]"}, ["foo", "xx bar yy", 'a"baz']),
    "pattern, half anchored": ({"type": "string", "pattern": "^ab"}, ["ab", "abcd"]),
    "pattern, end": ({"type": "string", "pattern": "b+$"}, ["ab", "bbb"]),
    "pattern with escapes": ({"type": "string", "pattern": r'^["\\\n/]+$'}, ['"', "\\", '"\\\n/']),
    "pattern with any": ({"type": "string", "pattern": "^a.c$"}, ["abc", 'a"c', "a\\c", "aéc", "a\x01c"]),
    "pattern negated": ({"type": "string", "pattern": '^[^"a]*$'}, ["", "b\\c", "\n"]),
    "pattern unicode": ({"type": "string", "pattern": "^[ä-ü漢]+$"}, ["äöü", "漢"]),
    "pattern lazy": ({"type": "string", "pattern": "^(?:ab)+?c??$"}, ["ab", "ababc"]),
    "pattern with length": (
        {"type": "string", "pattern": "^[a-z]+[0-9]*$", "minLength": 3, "maxLength": 5},
        ["abc", "a1234"],
    ),
    "pattern with lookahead": (
        {"type": "string", "pattern": r"^(?=.*\d)(?=.*[a-z])[a-z0-9]{4,8}$"},
        ["ab12", "1aaa"],
    ),
    "pattern, not these": ({"type": "string", "pattern": "^(?!admin$|root$)[a-z]{1,8}$"}, ["user", "admins"]),
    "two patterns": ({"allOf": [{"type": "string", "pattern": "^a"}, {"pattern": "z$"}]}, ["az", "a--z"]),
    "date": ({"type": "string", "format": "date"}, ["2024-02-29", "0001-01-01", "9999-12-31", "2023-02-28"]),
    "time": ({"type": "string", "format": "time"}, ["12:30:00Z", "23:59:59.123456+02:00"]),
    "date-time": (
        {"type": "string", "format": "date-time"},
        ["2024-02-29T12:00:00Z", "1999-12-31T23:59:59.5-08:00"],
    ),
    "duration": ({"type": "string", "format": "duration"}, ["P1Y2M3D", "PT5M", "P3W", "P1DT2H3M4S"]),
    "uuid": ({"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"]),
    "email": ({"type": "string", "format": "email"}, ["a@b.de", "first.last+tag@mail.example.com"]),
    "ipv4": ({"type": "string", "format": "ipv4"}, ["0.0.0.0", "255.249.10.1"]),
    "ipv6": ({"type": "string", "format": "ipv6"}, ["::", "::1", "2001:db8::ff00:42:8329", "::ffff:1.2.3.4"]),
    "uri": ({"type": "string", "format": "uri"}, ["https://example.com", "http://a.b:8080/c/d?e=f&g=1"]),
    "hostname": ({"type": "string", "format": "hostname"}, ["localhost", "a-b.example.com"]),
    "password": ({"type": "string", "format": "password"}, ["hunter2"]),
    "format and length": ({"type": "string", "format": "hostname", "maxLength": 9}, ["localhost"]),
    # objects
    "empty object": (obj({}), [{}]),
    "required": (obj({"a": STR, "b": INT}, ["a", "b"]), [{"a": "x", "b": 1}]),
    "optional": (
        obj({"a": INT, "b": INT, "c": INT}),
        [{}, {"a": 1}, {"b": 1}, {"c": 1}, {"a": 1, "c": 2}, {"b": 1, "c": 2}],
    ),
    "optional, mixed": (
        obj({"a": INT, "b": INT, "c": INT, "d": INT}, ["b"]),
        [{"b": 1}, {"a": 1, "b": 2}, {"b": 1, "d": 2}, {"a": 1, "b": 2, "c": 3, "d": 4}],
    ),
    "optional, many": (obj({f"p{i}": INT for i in range(40)}), [{f"p{i}": i for i in range(0, 40, 3)}, {}]),
    "keys with escapes": (obj({'a"b\\c\n': INT, "ü😀": INT}, ["ü😀"]), [{'a"b\\c\n': 1, "ü😀": 2}]),
    "required, not listed": ({"type": "object", "required": ["a"]}, [{"a": 1}, {"a": {"x": []}}]),
    "map": ({"type": "object", "additionalProperties": INT}, [{}, {"a": 1, "b c": 2}]),
    "map, bounded": (
        {"type": "object", "additionalProperties": INT, "minProperties": 1, "maxProperties": 2},
        [{"a": 1}],
    ),
    "open": (
        obj({"a": INT}, ["a"], additionalProperties=STR),
        [{"a": 1}, {"a": 1, "b": "x", "aa": "y", "A": ""}],
    ),
    "open, optional": (
        obj({"a": INT, "abc": INT}, additionalProperties=True),
        [{}, {"b": None}, {"ab": 1, "abcd": 2}],
    ),
    "property names": (
        {"type": "object", "propertyNames": {"pattern": "^[a-z]{1,3}$"}, "additionalProperties": INT},
        [{}, {"abc": 1}],
    ),
    "property names, listed": (
        {"type": "object", "propertyNames": {"enum": ["x", "y"]}},
        [{}, {"x": 1, "y": []}],
    ),
    "property names, other": (
        obj({"ab": INT}, ["ab"], propertyNames={"pattern": "^[ab]+$"}, additionalProperties=BOOL),
        [{"ab": 1}, {"ab": 1, "a": True, "abb": False}],
    ),
    "forbidden property": (obj({"a": INT, "b": False}, additionalProperties=INT), [{"a": 1, "c": 2}]),
    "at least one": (obj({"a": INT, "b": INT}, minProperties=1), [{"a": 1}, {"b": 1}]),
    "no type, properties": ({"properties": {"a": INT}, "required": ["a"]}, [{"a": 1}]),
    # arrays
    "items": ({"type": "array", "items": INT}, [[], [1], [1, 2, 3]]),
    "items, bounded": (
        {"type": "array", "items": {"enum": ["a"]}, "minItems": 2, "maxItems": 3},
        [["a"] * 2, ["a"] * 3],
    ),
    "items, none": ({"type": "array", "maxItems": 0}, [[]]),
    "items false": ({"type": "array", "items": False}, [[]]),
    "items, one": ({"type": "array", "items": INT, "minItems": 1, "maxItems": 1, "uniqueItems": True}, [[1]]),
    "tuple": ({"type": "array", "prefixItems": [INT, STR, BOOL]}, [[], [1], [1, "a"], [1, "a", True]]),
    "tuple, exact": ({"type": "array", "prefixItems": [INT, STR], "minItems": 2, "maxItems": 2}, [[1, "a"]]),
    "tuple, open": ({"type": "array", "prefixItems": [INT], "items": STR}, [[], [1], [1, "a", "b"]]),
    "tuple, open and long": (
        {"type": "array", "prefixItems": [INT], "items": STR, "minItems": 3},
        [[1, "a", "b"]],
    ),
    "tuple, more of anything": ({"type": "array", "prefixItems": [INT], "minItems": 2}, [[1, None]]),
    "nested arrays": (
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": BOOL}}},
        [[[[True]], []]],
    ),
    # combinations
    "any of": ({"anyOf": [INT, {"type": "string", "maxLength": 3}, NULL]}, [1, "abc", None]),
    "any of objects": (
        {"anyOf": [obj({"a": INT}, ["a"]), obj({"a": STR, "b": INT}, ["b"])]},
        [{"a": 1}, {"a": "", "b": 1}],
    ),
    "any of with base": (
        obj({"a": INT, "b": INT}, anyOf=[{"required": ["a"]}, {"required": ["b"]}]),
        [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}],
    ),
    "one of types": ({"oneOf": [STR, INT, {"type": "array", "items": INT}]}, ["a", 1, [1]]),
    "one of constants": ({"oneOf": [{"const": 1, "title": "one"}, {"const": 2, "title": "two"}]}, [1, 2]),
    "one of tagged": (
        {"oneOf": [obj({"t": {"const": "a"}, "x": INT}, ["t"]), obj({"t": {"const": "b"}, "x": STR}, ["t"])]},
        [{"t": "a", "x": 1}, {"t": "b", "x": "y"}],
    ),
    "one of disjoint keys": (
        {"oneOf": [obj({"a": INT}, ["a"]), obj({"b": INT}, ["b"])]},
        [{"a": 1}, {"b": 1}],
    ),
    "one of ranges": (
        {"oneOf": [{"type": "integer", "maximum": 5}, {"type": "integer", "exclusiveMinimum": 5}]},
        [5, 6],
    ),
    "all of": (
        {"allOf": [obj({"a": INT}, ["a"]), obj({"b": STR}), {"required": ["b"]}]},
        [{"a": 1, "b": "x"}],
    ),
    "all of, same property": (
        {"allOf": [obj({"a": {"type": "integer", "minimum": 3}}), obj({"a": {"maximum": 5}}, ["a"])]},
        [{"a": 3}, {"a": 5}],
    ),
    "all of, closed": (
        {
            "allOf": [
                obj({"a": INT, "b": INT}, additionalProperties=False),
                obj({"b": {"minimum": 2}, "c": INT}),
            ]
        },
        [{"a": 1}, {"b": 2}],
    ),
    "all of with any of": (
        {"allOf": [{"anyOf": [INT, STR]}, {"anyOf": [{"type": "string", "maxLength": 2}, NULL]}]},
        ["ab"],
    ),
    "unevaluated": (
        {"allOf": [obj({"a": INT}, ["a"]), obj({"b": INT})], "unevaluatedProperties": False},
        [{"a": 1}, {"a": 1, "b": 2}],
    ),
    # references
    "reference": ({"$defs": {"x": INT}, "type": "array", "items": {"$ref": "#/$defs/x"}}, [[1]]),
    "reference with siblings": (
        {"definitions": {"x": {"type": "integer", "minimum": 2}}, "$ref": "#/definitions/x", "maximum": 4},
        [2, 4],
    ),
    "reference, escaped": ({"$defs": {"a/b~c d": BOOL}, "$ref": "#/$defs/a~1b~0c%20d"}, [True]),
    "tree": (_TREE, [{"v": 1}, {"v": 1, "kids": [{"v": 2, "kids": []}]}]),
    "linked list": (_LIST, [{"head": "a", "tail": {"head": "b", "tail": None}}]),
    "expression": (_EXPRESSION, [{"op": "+", "args": [1, {"op": "*", "args": [2, 3]}]}]),
    "recursion under allOf": (
        {"allOf": [obj({"v": INT}, ["v"]), obj({"next": {"$ref": "#"}})]},
        [{"v": 1}, {"v": 1, "next": {"v": 2}}],
    ),
    # pydantic
    "pydantic person": (
        Person.model_json_schema(),
        [Person(name="A", age=3, address=Address(street="S 1", zip="12345")).model_dump(mode="json")],
    ),
    "pydantic tree": (Node.model_json_schema(), [Node(value=1, children=[Node(value=2)]).model_dump()]),
    "pydantic pets": (
        Pets.model_json_schema(),
        [Pets(pets=[Cat(kind="cat", lives=9), Dog(kind="dog", good=True)]).model_dump()],
    ),
    "pydantic event": (
        Event.model_json_schema(),
        [
            {
                "id": "123e4567-e89b-12d3-a456-426614174000",
                "day": "2024-05-06",
                "at": "2024-05-06T07:08:09Z",
                "length": "PT1H",
            }
        ],
    ),
    "pydantic bag": (
        Bag.model_json_schema(),
        [
            {
                "counts": {"a": 1},
                "by_color": {"red": 0.5},
                "pair": [1, "a"],
                "price": "1.25",
                "anything": [1],
                "more": {},
            }
        ],
    ),
}
