"""Which keywords of JSON Schema are understood, and what their values have to be."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from llamacpp_core.errors import GrammarError

__all__ = ["ANNOTATIONS", "TYPES", "NoValueError", "check_value", "ignore", "is_schema", "refuse", "step"]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
#: Keywords that say nothing about which values are valid.
ANNOTATIONS = frozenset(
    {
        "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly",
        "$comment", "$schema", "$defs", "definitions", "discriminator", "externalDocs", "xml", "enumNames",
        "enumDescriptions", "markdownDescription", "contentEncoding", "contentMediaType", "contentSchema",
        "$vocabulary", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$id", "id", "components",
    }
)  # fmt: skip

_logger = logging.getLogger(__name__)
_MIN_WORD = 6
_PLAIN_SCHEMAS = frozenset({dict, bool})


class NoValueError(GrammarError):
    """No value is valid under a part of a schema; the part drops out where another can take its place."""


def refuse(path: str, reason: str) -> NoReturn:
    """Raises the error for a schema that cannot be compiled, naming the place in it."""
    raise GrammarError(f"{path}: {reason}", parameter="json_schema")


def step(path: str, key: str | int) -> str:
    """The path of a part of a schema: ``$.properties.age`` or ``$.anyOf[1]``."""
    return path + _step(key)


@lru_cache(maxsize=4096)
def _step(key: str | int) -> str:
    return f".{key}" if isinstance(key, str) and re.fullmatch(r"[\w$-]+", key) else f"[{key!r}]"


def is_schema(value: Any) -> bool:
    """Whether a value has the form of a schema: an object, true or false."""
    return isinstance(value, (dict, bool, Mapping))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_schemas(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_schema(item) for item in value)


def _is_schema_map(value: Any) -> bool:
    if not isinstance(value, (dict, Mapping)):
        return False
    inside = value.values()
    return _PLAIN_SCHEMAS.issuperset(map(type, inside)) or all(map(is_schema, inside))


def _is_dependencies(value: Any) -> bool:
    return isinstance(value, Mapping) and all(is_schema(v) or _is_names(v) for v in value.values())


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in TYPES
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


_Check = tuple[Callable[[Any], bool], str]
_SCHEMA: _Check = (is_schema, "a schema")
_SCHEMAS: _Check = (_is_schemas, "a list with at least one schema")
_NUMBER: _Check = (_is_number, "a number")
_COUNT: _Check = (_is_count, "a whole number, 0 or more")
_BOOLEAN: _Check = (lambda value: isinstance(value, bool), "true or false")
_TEXT: _Check = (lambda value: isinstance(value, str), "a string")
_BOUND: _Check = (lambda value: _is_number(value) or isinstance(value, bool), "a number")
_MAP: _Check = (_is_schema_map, "an object of schemas")
_CHECKS: dict[str, _Check] = {
    "type": (_is_type, f"one of {', '.join(TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list with at least one value"),
    "const": (lambda _: True, "any value"),
    "required": (_is_names, "a list of property names"),
    "items": (lambda value: is_schema(value) or _is_schemas(value) or value == [], "a schema"),
    "pattern": (lambda value: isinstance(value, str), "a regular expression in a string"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "dependencies": (_is_dependencies, "an object of schemas and lists of names"),
    "dependentRequired": (
        lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
        "an object of lists of names",
    ),
    **dict.fromkeys(("$ref", "$dynamicRef", "$recursiveRef", "format"), _TEXT),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), _MAP),
    **dict.fromkeys(("nullable", "uniqueItems"), _BOOLEAN),
    **dict.fromkeys(("additionalProperties", "unevaluatedProperties", "propertyNames"), _SCHEMA),
    **dict.fromkeys(("additionalItems", "unevaluatedItems", "contains"), _SCHEMA),
    **dict.fromkeys(("not", "if", "then", "else"), _SCHEMA),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("minimum", "maximum"), _NUMBER),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _BOUND),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), _COUNT),
}
#: Words that are close to a keyword and mean something else.
_OTHER_WORDS = frozenset({"contain", "requires", "format_", "item", "properties_", "_format", "_uniqueItems"})


def check_value(key: str, value: Any, path: str, *, strict: bool = True) -> bool:
    """Whether a keyword constrains values.

    Args:
        key: The keyword.
        value: Its value.
        path: Path of the schema that it stands in.
        strict: A keyword of the schema's own dialect: a value of the wrong kind is an error.

    Raises:
        GrammarError: The value is of the wrong kind, or the word is a misspelt keyword.
    """
    known = _CHECKS.get(key)
    if known is not None:
        check, expected = known
        if check(value):
            return True
        if strict:
            refuse(step(path, key), f"expected {expected}, got {value!r:.80}")
        return False
    if key in ANNOTATIONS or key.startswith("x-"):
        return False
    meant = _meant(key)
    if meant is not None:
        refuse(step(path, key), f"unknown keyword; {meant!r} was probably meant")
    ignore("keyword", key)
    return False


@lru_cache(maxsize=1024)
def ignore(kind: str, word: str) -> None:
    """Says once that a word constrains nothing here."""
    _logger.info("JSON schema: the unknown %s %r constrains nothing", kind, word)


@lru_cache(maxsize=1024)
def _meant(word: str) -> str | None:
    """The keyword of which a word is a misspelling, if it is one."""
    if len(word) < _MIN_WORD or word in _OTHER_WORDS:
        return None
    lowered = word.lower()
    for key in _CHECKS:
        if len(key) >= _MIN_WORD and (lowered == key.lower() or _one_apart(lowered, key.lower())):
            return key
    return None


def _one_apart(a: str, b: str) -> bool:
    """Whether one letter is left out, added, replaced or swapped with its neighbour."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[start:], b[start:]
    if len(a) != len(b):
        return rest_a[1:] == rest_b if len(a) > len(b) else rest_a == rest_b[1:]
    return rest_a[1:] == rest_b[1:] or (rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:])
