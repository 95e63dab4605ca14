"""Which keywords of JSON Schema are understood, and what their values have to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from llamacpp_core.errors import GrammarError

__all__ = ["ANNOTATIONS", "IN_PLACE", "TYPES", "check_keywords", "refuse", "step"]

Schema = Mapping[str, Any]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
#: Keywords that say nothing about which values are valid.
ANNOTATIONS = frozenset(
    {
        "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly",
        "$comment", "$schema", "$defs", "definitions", "discriminator", "externalDocs", "xml", "enumNames",
        "enumDescriptions", "markdownDescription",
    }
)  # fmt: skip
#: Keywords that apply other schemas to the same value.
IN_PLACE = frozenset({"$ref", "allOf", "anyOf", "oneOf", "nullable"})

_REFUSED = {
    "not": "negation cannot be expressed; list what is allowed instead",
    "if": "conditions cannot be expressed; use anyOf with the combinations",
    "then": "conditions cannot be expressed; use anyOf with the combinations",
    "else": "conditions cannot be expressed; use anyOf with the combinations",
    "dependentRequired": "dependencies cannot be expressed; use anyOf with the combinations",
    "dependentSchemas": "dependencies cannot be expressed; use anyOf with the combinations",
    "dependencies": "dependencies cannot be expressed; use anyOf with the combinations",
    "contains": "a grammar cannot look for an item; constrain items or prefixItems",
    "minContains": "a grammar cannot count items; constrain items or prefixItems",
    "maxContains": "a grammar cannot count items; constrain items or prefixItems",
    "patternProperties": "not supported; list the properties, or use propertyNames with additionalProperties",
    "unevaluatedItems": "not supported; use items: false",
    "additionalItems": "belongs to old drafts; use prefixItems with items",
    "contentEncoding": "the content of strings cannot be enforced",
    "contentMediaType": "the content of strings cannot be enforced",
    "contentSchema": "the content of strings cannot be enforced",
    "$anchor": "anchors are not supported; refer with a JSON pointer (#/$defs/...)",
    "$dynamicRef": "dynamic references are not supported; use $ref",
    "$dynamicAnchor": "dynamic references are not supported; use $ref",
    "$recursiveRef": "dynamic references are not supported; use $ref",
    "$recursiveAnchor": "dynamic references are not supported; use $ref",
    "$vocabulary": "vocabularies are not supported",
}


def refuse(path: str, reason: str) -> NoReturn:
    """Raise the error for a schema that cannot be compiled, naming the place in it."""
    raise GrammarError(f"{path}: {reason}", parameter="json_schema")


def step(path: str, key: str | int) -> str:
    """The path of a part of a schema: ``$.properties.age`` or ``$.anyOf[1]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if re.fullmatch(r"[\w$-]+", key) else f"{path}[{key!r}]"


def _is_schema(value: Any) -> bool:
    return isinstance(value, bool | Mapping)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_schema(item) for item in value)


def _is_schema_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and _is_schema(v) for k, v in value.items())


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


_Check = tuple[Callable[[Any], bool], str]
_SCHEMA: _Check = (_is_schema, "a schema")
_SCHEMAS: _Check = (_is_schemas, "a list with at least one schema")
_NUMBER: _Check = (_is_number, "a number")
_COUNT: _Check = (_is_count, "a whole number, 0 or more")
_BOOLEAN: _Check = (lambda value: isinstance(value, bool), "true or false")
_CHECKS: dict[str, _Check] = {
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list with at least one value"),
    "const": (lambda _: True, "any value"),
    "$ref": (lambda value: isinstance(value, str), "a string"),
    "required": (_is_names, "a list of property names"),
    "properties": (_is_schema_map, "an object of schemas"),
    "items": (_is_schema, "one schema; for a tuple use prefixItems"),
    "pattern": (lambda value: isinstance(value, str), "a regular expression in a string"),
    "format": (lambda value: isinstance(value, str), "a string"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    **dict.fromkeys(("nullable", "uniqueItems"), _BOOLEAN),
    **dict.fromkeys(("additionalProperties", "unevaluatedProperties", "propertyNames"), _SCHEMA),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
}


def check_keywords(schema: Any, path: str) -> None:
    """Refuse every keyword that is unknown, not supported or has a value of the wrong kind.

    Only the schema itself is looked at, not the schemas inside it.

    Raises:
        GrammarError: Naming the keyword by its JSON path.
    """
    if not _is_schema(schema):
        refuse(path, f"a schema has to be an object, true or false, got {type(schema).__name__}")
    if isinstance(schema, bool):
        return
    for key, value in schema.items():
        if not isinstance(key, str):
            refuse(path, f"keywords have to be strings, got {key!r}")
        if key in _CHECKS:
            check, expected = _CHECKS[key]
            if not check(value):
                refuse(step(path, key), f"expected {expected}, got {value!r:.80}")
        elif key == "$id":
            if path != "$":
                refuse(step(path, key), "a schema with its own base URI inside another is not supported")
        elif key == "patternProperties" and value == {}:
            continue
        elif key in _REFUSED:
            refuse(step(path, key), _REFUSED[key])
        elif key not in ANNOTATIONS and not key.startswith("x-"):
            refuse(step(path, key), "unknown keyword; a grammar cannot enforce it")
