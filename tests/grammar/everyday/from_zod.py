"""Schemas in the manner of Zod 3 (zod-to-json-schema, draft 7) and Zod 4 (draft 2020-12)."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS"]

D7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
D20 = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
STR, NUM, INT, BOOL = ({"type": t} for t in ("string", "number", "integer", "boolean"))
MAX_SAFE = 9007199254740991
SAFE_INT = {"type": "integer", "minimum": -MAX_SAFE, "maximum": MAX_SAFE}
UUID4 = "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|0{8}-0{4}-0{4}-0{4}-0{12})$"  # noqa: E501
EMAIL4 = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"


def obj(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        **more,
    }


SCHEMAS: dict[str, Any] = {
    # Zod 3
    "object": obj({"a": STR, "b": NUM}, ["a"]) | D7,
    "strict, described": obj({"a": {"type": "string", "description": "the a"}}, ["a"]) | D7,
    "named": {"$ref": "#/definitions/Thing", "definitions": {"Thing": obj({"id": STR}, ["id"])}} | D7,
    "tuple": {"type": "array", "minItems": 2, "maxItems": 2, "items": [STR, NUM]} | D7,
    "tuple with rest": {"type": "array", "minItems": 1, "items": [STR], "additionalItems": NUM} | D7,
    "map": {
        "type": "array",
        "maxItems": 125,
        "items": {"type": "array", "items": [STR, NUM], "minItems": 2, "maxItems": 2},
    }
    | D7,
    "set": {"type": "array", "uniqueItems": True, "items": STR} | D7,
    "set of numbers": {"type": "array", "uniqueItems": True, "items": {"type": "integer"}} | D7,
    "record": {"type": "object", "additionalProperties": NUM} | D7,
    "record by key": {
        "type": "object",
        "additionalProperties": NUM,
        "propertyNames": {"minLength": 2, "pattern": "^[a-z]+$"},
    }
    | D7,
    "record by enum": {
        "type": "object",
        "required": ["a", "b"],
        "properties": {"a": NUM, "b": NUM},
        "additionalProperties": False,
    }
    | D7,
    "never": obj({"a": STR, "b": {"not": {}}}, ["a"]) | D7,
    "undefined": obj({"a": {"anyOf": [{"not": {}}, STR]}}, []) | D7,
    "optional": obj({"a": {"anyOf": [{"not": {}}, {"type": "null"}]}}, []) | D7,
    "nullable": {"type": ["string", "null"]} | D7,
    "nullable object": {"anyOf": [obj({"a": INT}, ["a"]), {"type": "null"}]} | D7,
    "literal union": {"type": ["string", "number"], "enum": ["a", 1]} | D7,
    "const": {"type": "string", "const": "x"} | D7,
    "native enum": {"type": "number", "enum": [0, 1, 2]} | D7,
    "date": {"type": "string", "format": "date-time"} | D7,
    "date as number": {"type": "integer", "format": "unix-time"} | D7,
    "date range": {"type": "integer", "format": "unix-time", "minimum": 0, "maximum": 4102444800000} | D7,
    "bigint": {"type": "integer", "format": "int64"} | D7,
    "bounds": {"type": "number", "exclusiveMinimum": 0, "maximum": 10} | D7,
    "openapi bounds": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 10},
    "multiple": {"type": "number", "multipleOf": 0.01} | D7,
    "integer multiple": {"type": "integer", "multipleOf": 10} | D7,
    "url": {"type": "string", "format": "uri"} | D7,
    "email": {"type": "string", "format": "email"} | D7,
    "uuid": {"type": "string", "format": "uuid"} | D7,
    "cuid": {"type": "string", "pattern": "^[cC][^\\s-]{8,}$"} | D7,
    "starts and ends": {"allOf": [{"type": "string", "pattern": "^ab"}, {"pattern": "yz$"}]} | D7,
    "includes": {"type": "string", "pattern": "needle", "minLength": 8} | D7,
    "base64": {"type": "string", "contentEncoding": "base64"} | D7,
    "error messages": {
        "type": "string",
        "minLength": 3,
        "errorMessage": {"minLength": "too short"},
        "markdownDescription": "*x*",
    }
    | D7,
    "discriminated union": {
        "anyOf": [
            obj({"type": {"type": "string", "const": "a"}, "a": STR}, ["type", "a"]),
            obj({"type": {"type": "string", "const": "b"}, "b": NUM}, ["type", "b"]),
        ]
    }
    | D7,
    "intersection": {
        "allOf": [
            {"type": "object", "properties": {"a": STR}, "required": ["a"]},
            {"type": "object", "properties": {"b": NUM}, "required": ["b"]},
        ],
        "unevaluatedProperties": False,
    }
    | D7,
    "default and catch": obj({"a": {"type": "number", "default": 5}}, []) | D7,
    "passthrough": {
        "type": "object",
        "properties": {"a": STR},
        "required": ["a"],
        "additionalProperties": True,
    }
    | D7,
    "catchall": {"type": "object", "properties": {"a": STR}, "additionalProperties": NUM} | D7,
    "lazy": obj({"name": STR, "kids": {"type": "array", "items": {"$ref": "#"}}}, ["name", "kids"]) | D7,
    "seen before": obj({"a": obj({"x": INT}, ["x"]), "b": {"$ref": "#/properties/a"}}, ["a", "b"]) | D7,
    "any": {} | D7,
    "unknown field": obj({"a": {}}, []) | D7,
    "non-empty": {"type": "array", "minItems": 1, "items": STR} | D7,
    "exact length": {"type": "array", "minItems": 2, "maxItems": 2, "items": BOOL} | D7,
    # Zod 4
    "object 4": obj({"a": STR, "n": SAFE_INT}, ["a", "n"]) | D20,
    "tuple 4": {"type": "array", "prefixItems": [STR, NUM]} | D20,
    "tuple with rest 4": {"type": "array", "prefixItems": [STR], "items": NUM} | D20,
    "never 4": obj({"a": STR, "b": {"not": {}}}, ["a"]) | D20,
    "record 4": {"type": "object", "propertyNames": STR, "additionalProperties": NUM} | D20,
    "record by enum 4": {
        "type": "object",
        "propertyNames": {"type": "string", "enum": ["a", "b"]},
        "additionalProperties": NUM,
        "required": ["a", "b"],
    }
    | D20,
    "email 4": {"type": "string", "format": "email", "pattern": EMAIL4} | D20,
    "uuid 4": {"type": "string", "format": "uuid", "pattern": UUID4} | D20,
    "url 4": {"type": "string", "format": "uri"} | D20,
    "date-time 4": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z$",
    }
    | D20,
    "ipv4 4": {"type": "string", "format": "ipv4"} | D20,
    "base64 4": {
        "type": "string",
        "format": "base64",
        "contentEncoding": "base64",
        "pattern": "^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$",
    }
    | D20,
    "nanoid 4": {"type": "string", "format": "nanoid", "pattern": "^[a-zA-Z0-9_-]{21}$"} | D20,
    "literals 4": {"enum": ["a", 2, True]} | D20,
    "null 4": {"type": "null"} | D20,
    "nullish 4": obj({"a": {"anyOf": [STR, {"type": "null"}]}}, []) | D20,
    "registered 4": {
        "$defs": {
            "User": obj({"name": STR, "friend": {"$ref": "User"}}, ["name"]) | {"$id": "User", "id": "User"}
        },
        "$ref": "#/$defs/User",
    }
    | D20,
    "shared 4": {
        "$defs": {"__schema0": obj({"x": INT}, ["x"])},
        **obj({"a": {"$ref": "#/$defs/__schema0"}, "b": {"$ref": "#/$defs/__schema0"}}, ["a", "b"]),
    }
    | D20,
    "intersection 4": {
        "allOf": [
            {"type": "object", "properties": {"a": STR}, "required": ["a"]},
            {"type": "object", "properties": {"b": NUM}, "required": ["b"]},
        ]
    }
    | D20,
    "intersection of unknown strings": {"allOf": [{"type": "string", "pattern": r"\bword\b"}]} | D20,
    "template literal 4": {"type": "string", "pattern": r"^v\d+\.\d+$"} | D20,
    "meta 4": {"type": "string", "title": "T", "id": "short", "deprecated": True, "examples": ["a"]} | D20,
    "file 4": {"type": "string", "format": "binary", "contentEncoding": "binary"} | D20,
}
