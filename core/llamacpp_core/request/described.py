"""A schema as a model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DESCRIBED", "untitled"]

#: What stands in front of a schema in a prompt.
DESCRIBED = "Answer only with JSON that follows this JSON schema:"

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def untitled(schema: Any) -> Any:
    """A schema without the titles that pydantic makes of names: they take tokens and say nothing new."""
    if isinstance(schema, list):
        return [untitled(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in _MAPS and isinstance(value, Mapping):
            out[key] = {name: untitled(part) for name, part in value.items()}  # names, not keywords
        else:
            out[key] = value if key in ("default", "const", "enum", "examples") else untitled(value)
    return out
