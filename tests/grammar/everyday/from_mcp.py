"""Input schemas of tools in the manner of MCP servers, written by hand or by their SDKs."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS"]

D7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
STR, NUM, INT, BOOL = ({"type": t} for t in ("string", "number", "integer", "boolean"))


def obj(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {}) | more


SCHEMAS: dict[str, Any] = {
    "nothing": {"type": "object", "properties": {}},
    "nothing, closed": {"type": "object", "properties": {}, "additionalProperties": False} | D7,
    "nothing at all": {"type": "object"},
    "read file": obj({"path": STR, "head": {"type": "number", "description": "lines"}}, ["path"]) | D7,
    "edit file": obj(
        {
            "path": STR,
            "edits": {
                "type": "array",
                "items": obj({"oldText": STR, "newText": STR}, ["oldText", "newText"]),
            },
            "dryRun": {"type": "boolean", "default": False},
        },
        ["path", "edits"],
        additionalProperties=False,
    )
    | D7,
    "search": obj(
        {
            "query": {"type": "string", "description": "what", "maxLength": 400},
            "count": {"type": "number", "minimum": 1, "maximum": 20, "default": 10},
        },
        ["query"],
    ),
    "fetch": obj(
        {
            "url": {"type": "string", "format": "uri", "minLength": 1, "title": "Url"},
            "max_length": {
                "type": "integer",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1000000,
                "default": 5000,
            },
            "raw": {"type": "boolean", "default": False},
        },
        ["url"],
        title="Fetch",
    ),
    "memory": obj(
        {
            "entities": {
                "type": "array",
                "items": obj(
                    {"name": STR, "entityType": STR, "observations": {"type": "array", "items": STR}},
                    ["name", "entityType", "observations"],
                ),
            }
        },
        ["entities"],
    ),
    "thinking": obj(
        {
            "thought": STR,
            "nextThoughtNeeded": BOOL,
            "thoughtNumber": {"type": "integer", "minimum": 1},
            "branchId": STR,
        },
        ["thought", "nextThoughtNeeded", "thoughtNumber"],
    ),
    "sql": obj({"sql": {"type": "string", "description": "SELECT only"}}, ["sql"]),
    "issue": obj(
        {
            "owner": STR,
            "repo": STR,
            "labels": {"type": "array", "items": STR},
            "state": {"type": "string", "enum": ["open", "closed", "all"]},
            "milestone": {"type": ["number", "null"]},
        },
        ["owner", "repo"],
    ),
    "click": obj(
        {
            "x": NUM,
            "y": NUM,
            "button": {"type": "string", "enum": ["left", "right"]},
            "modifiers": {
                "type": "array",
                "items": {"type": "string", "enum": ["Alt", "Control", "Shift"]},
                "uniqueItems": True,
            },
        },
        ["x", "y"],
    ),
    "chart": obj(
        {
            "data": {
                "type": "array",
                "minItems": 1,
                "items": obj({"time": STR, "value": NUM}, ["time", "value"]),
            },
            "theme": {"default": "default", "type": "string", "enum": ["default", "academy"]},
            "style": obj({"backgroundColor": STR, "palette": {"type": "array", "items": STR}}),
        },
        ["data"],
    )
    | D7,
    "map or list": obj(
        {
            "filter": {
                "oneOf": [{"type": "array", "items": STR}, {"type": "object", "additionalProperties": STR}]
            }
        }
    ),
    "one of two": obj({"id": STR, "name": STR}, oneOf=[{"required": ["id"]}, {"required": ["name"]}]),
    "at least one": obj({"id": STR, "name": STR}, anyOf=[{"required": ["id"]}, {"required": ["name"]}]),
    "not both": obj({"a": STR, "b": STR}, **{"not": {"required": ["a", "b"]}}),
    "depending": obj({"card": STR, "address": STR}, dependencies={"card": ["address"]}) | D7,
    "depending 2020": obj({"card": STR, "address": STR}, dependentRequired={"card": ["address"]}),
    "conditional": obj(
        {"kind": {"enum": ["file", "text"]}, "path": STR, "text": STR},
        ["kind"],
        **{
            "if": {"properties": {"kind": {"const": "file"}}},
            "then": {"required": ["path"]},
            "else": {"required": ["text"]},
        },
    ),
    "env": obj(
        {"env": {"type": "object", "patternProperties": {"^[A-Z_]+$": STR}, "additionalProperties": False}}
    ),
    "hints": obj(
        {"a": {"type": "string", "x-ui": "wide", "ui:widget": "area", "examples": ["x"], "sensitive": True}},
        strict=True,
        propertyOrder=["a"],
        annotations={"readOnlyHint": True},
    ),
    "time zone": obj({"zone": STR, "at": {"type": "string", "format": "time"}}, ["zone"]),
    "fast search": obj(
        {
            "tags": {
                "anyOf": [{"type": "array", "items": STR}, {"type": "null"}],
                "default": None,
                "title": "Tags",
            }
        },
        title="searchArguments",
    ),
    "defs": obj(
        {"where": {"$ref": "#/$defs/Where"}},
        ["where"],
        **{
            "$defs": {
                "Where": {
                    "anyOf": [
                        obj({"and": {"type": "array", "items": {"$ref": "#/$defs/Where"}}}, ["and"]),
                        obj({"field": STR, "is": {}}, ["field", "is"]),
                    ]
                }
            }
        },
    ),
}
