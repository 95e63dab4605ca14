"""Schemas in the manner of Rust's schemars: 0.8 (draft 7) and 1 (draft 2020-12)."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS"]

D7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
D20 = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
STR: dict[str, Any] = {"type": "string"}


def num(kind: str, name: str, low: float | None = None) -> dict[str, Any]:
    return {"type": kind, "format": name} | ({} if low is None else {"minimum": low})


def obj(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, **more}


SCHEMAS: dict[str, Any] = {
    "numbers": obj(
        {
            "a": num("integer", "uint8", 0.0) | {"maximum": 255},
            "b": num("integer", "uint", 0.0),
            "c": num("integer", "uint32", 0.0),
            "d": num("integer", "int"),
            "e": num("number", "double"),
        },
        ["a", "b", "c", "d", "e"],
        title="Numbers",
    )
    | D7,
    "small numbers": obj({"a": num("integer", "int8"), "b": num("integer", "uint16", 0)}, ["a", "b"]) | D20,
    "large numbers": obj({"a": num("integer", "uint64", 0), "b": num("integer", "int128")}, ["a"]) | D20,
    "float": num("number", "float") | D20,
    "option": obj(
        {"a": {"type": ["string", "null"]}, "b": {"anyOf": [{"$ref": "#/definitions/B"}, {"type": "null"}]}},
        [],
        definitions={"B": {"type": "string", "enum": ["X", "Y"]}},
    )
    | D7,
    "unit variants": {"type": "string", "enum": ["Up", "Down"]} | D20,
    "described variants": {
        "oneOf": [
            {"description": "one", "type": "string", "enum": ["One"]},
            {"description": "two", "type": "string", "enum": ["Two"]},
        ]
    }
    | D7,
    "external tag": {
        "oneOf": [
            {"type": "string", "enum": ["Quit"]},
            obj({"Move": obj({"x": num("integer", "int32")}, ["x"])}, ["Move"], additionalProperties=False),
            obj({"Write": STR}, ["Write"], additionalProperties=False),
        ]
    }
    | D7,
    "internal tag": {
        "oneOf": [
            obj({"type": {"type": "string", "const": "a"}, "v": STR}, ["type", "v"]),
            obj({"type": {"type": "string", "const": "b"}}, ["type"]),
        ]
    }
    | D20,
    "adjacent tag": {
        "oneOf": [
            obj({"t": {"type": "string", "enum": ["A"]}, "c": num("integer", "int32")}, ["c", "t"]),
            obj({"t": {"type": "string", "enum": ["B"]}, "c": STR}, ["c", "t"]),
        ]
    }
    | D7,
    "untagged": {"anyOf": [STR, num("integer", "int64"), {"type": "array", "items": STR}]} | D20,
    "flattened": {
        "type": "object",
        "properties": {"id": STR},
        "required": ["id"],
        "oneOf": [
            obj({"a": STR}, ["a"]),
            obj({"b": num("number", "double")}, ["b"]),
        ],
    }
    | D7,
    "flattened map": obj({"id": STR}, ["id"], additionalProperties={"type": "integer", "format": "int32"})
    | D20,
    "denied": obj({"id": STR}, ["id"], additionalProperties=False) | D20,
    "hash map": {"type": "object", "additionalProperties": STR} | D7,
    "hash map by number": {
        "type": "object",
        "patternProperties": {"^\\d+$": {"type": "boolean"}},
        "additionalProperties": False,
    }
    | D20,
    "hash set": {"type": "array", "items": STR, "uniqueItems": True} | D7,
    "set of numbers": {"type": "array", "items": num("integer", "uint32", 0), "uniqueItems": True} | D20,
    "array": {"type": "array", "items": num("number", "float"), "minItems": 3, "maxItems": 3} | D7,
    "tuple": {"type": "array", "items": [STR, num("integer", "int32")], "minItems": 2, "maxItems": 2} | D7,
    "tuple 1": {"type": "array", "prefixItems": [STR, STR], "minItems": 2, "maxItems": 2} | D20,
    "unit": {"type": "null"} | D7,
    "char": {"type": "string", "minLength": 1, "maxLength": 1} | D20,
    "duration": obj(
        {"secs": num("integer", "uint64", 0.0), "nanos": num("integer", "uint32", 0.0)}, ["nanos", "secs"]
    )
    | D7,
    "range": obj({"start": num("integer", "int32"), "end": num("integer", "int32")}, ["start", "end"]) | D7,
    "ip": {
        "oneOf": [
            {"title": "v4", "type": "string", "format": "ipv4"},
            {"title": "v6", "type": "string", "format": "ipv6"},
        ]
    }
    | D7,
    "any ip": {"type": "string", "format": "ip"} | D20,
    "local time": {"type": "string", "format": "partial-date-time"} | D7,
    "time": {"type": "string", "format": "date-time"} | D7,
    "uuid": {"type": "string", "format": "uuid"} | D20,
    "url": {"type": "string", "format": "uri"} | D20,
    "decimal": {"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE]\d+)?$"} | D20,
    "result": {
        "oneOf": [
            obj({"Ok": num("integer", "uint8", 0.0)}, ["Ok"]),
            obj({"Err": STR}, ["Err"]),
        ]
    }
    | D7,
    "boxed": obj(
        {"value": STR, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
        ["value"],
        **{
            "$defs": {
                "Node": obj(
                    {"value": STR, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}, ["value"]
                )
            }
        },
    )
    | D20,
    "wrapped": {"allOf": [{"$ref": "#/definitions/W"}], "default": "x", "definitions": {"W": STR}} | D7,
    "nullable for openapi": {
        "$schema": "https://spec.openapis.org/oas/3.0/schema/2021-09-28",
        **obj({"a": {"type": "string", "nullable": True}}, []),
    },
}
