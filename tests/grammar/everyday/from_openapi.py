"""Schemas that come from descriptions in OpenAPI 3.0 and 3.1."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS", "lowered"]

V30 = {"$schema": "https://spec.openapis.org/oas/3.0/schema/2021-09-28"}
STR, NUM, INT = ({"type": t} for t in ("string", "number", "integer"))


def obj(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {}) | more


def lowered(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 for a judge of draft 2020-12."""
    if isinstance(schema, list):
        return [lowered(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: lowered(value) for key, value in schema.items() if key not in ("$schema", "nullable")}
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    for exclusive, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if found.get(exclusive) is True:
            found[exclusive] = found.pop(plain)
        elif found.get(exclusive) is False:
            del found[exclusive]
    return found


SCHEMAS: dict[str, Any] = {
    "nullable": obj({"name": STR | {"nullable": True}}, ["name"]) | V30,
    "nullable enum": obj({"a": {"type": "string", "nullable": True, "enum": ["x", None]}}, ["a"]) | V30,
    "nullable reference": {
        "components": {"schemas": {"A": obj({"x": INT}, ["x"]) | {"nullable": True}}},
        **obj({"a": {"allOf": [{"$ref": "#/components/schemas/A"}]}}, ["a"]),
    },
    "components": {
        "$ref": "#/components/schemas/Pet",
        "components": {
            "schemas": {
                "Pet": obj(
                    {"id": INT | {"format": "int64"}, "tag": {"$ref": "#/components/schemas/Tag"}}, ["id"]
                ),
                "Tag": obj({"name": STR}),
            }
        },
    },
    "exclusive bounds": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 5} | V30,
    "open bounds": {"type": "integer", "minimum": 0, "exclusiveMinimum": False, "maximum": 5} | V30,
    "exclusive bounds 3.1": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 5},
    "byte": {"type": "string", "format": "byte"} | V30,
    "binary": {"type": "string", "format": "binary"} | V30,
    "password": {"type": "string", "format": "password"},
    "int32": {"type": "integer", "format": "int32"},
    "float": {"type": "number", "format": "float"},
    "discriminator": {
        "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
        "discriminator": {"propertyName": "petType"},
        "components": {
            "schemas": {
                "Cat": obj({"petType": {"type": "string", "enum": ["cat"]}, "lives": INT}, ["petType"]),
                "Dog": obj({"petType": {"type": "string", "enum": ["dog"]}, "bark": STR}, ["petType"]),
            }
        },
    },
    "inheritance": {
        "components": {"schemas": {"Base": obj({"id": INT}, ["id"])}},
        "allOf": [{"$ref": "#/components/schemas/Base"}, obj({"name": STR}, ["name"])],
    },
    "read only": obj(
        {"id": INT | {"readOnly": True}, "name": STR, "secret": STR | {"writeOnly": True}}, ["name"]
    ),
    "docs": obj(
        {"a": STR | {"example": "x", "externalDocs": {"url": "https://x.org"}, "xml": {"name": "a"}}}
    ),
    "free form": {"type": "object", "additionalProperties": True},
    "dictionary": {"type": "object", "additionalProperties": {"type": "array", "items": STR}},
    "dictionary with size": {
        "type": "object",
        "additionalProperties": INT,
        "maxProperties": 3,
        "minProperties": 1,
    },
    "array limits": {"type": "array", "items": STR, "minItems": 1, "maxItems": 3, "uniqueItems": False},
    "unique": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "uniqueItems": True},
    "pattern": {"type": "string", "pattern": "^\\d{3}-\\d{2}$"},
    "multiple": {"type": "number", "multipleOf": 0.01, "minimum": 0},
    "any of": {"anyOf": [obj({"a": INT}, ["a"]), obj({"b": STR}, ["b"])]},
    "not": obj({"a": {"not": {"type": "integer"}}}, ["a"]),
    "error": obj(
        {"code": INT, "message": STR, "details": {"type": "array", "items": {}}}, ["code", "message"]
    ),
    "parameters": obj(
        {
            "limit": INT | {"format": "int32", "minimum": 1, "maximum": 100, "default": 20},
            "sort": {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
            "since": STR | {"format": "date"},
            "X-Trace": STR | {"format": "uuid"},
        }
    ),
    "type list 3.1": {"type": ["object", "null"], "properties": {"a": {"type": ["integer", "string"]}}},
    "const 3.1": obj({"kind": {"const": "x"}}, ["kind"], unevaluatedProperties=False),
    "prefix items 3.1": {"type": "array", "prefixItems": [STR, NUM], "items": False, "minItems": 2},
}
