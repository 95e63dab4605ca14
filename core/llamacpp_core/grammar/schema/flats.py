"""Flat schemas: what is valid among the values of one JSON type, and what is valid under two of them.

A schema is a list of flat schemas for each JSON type: a value is valid when it is under one of them. Schemas
inside (of properties and items) are nodes of the document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from llamacpp_core.grammar.schema.document import Document, Node

__all__ = [
    "KINDS", "Array", "Contains", "Flat", "Number", "Object", "Property", "Region", "Shape", "Single", "Text",
    "canonical", "default_flat", "kind_of", "named_tuple",
]  # fmt: skip

#: The JSON types; integers are numbers.
KINDS = ("object", "array", "string", "number", "boolean", "null")
#: Makes named tuples from all their fields, without a call of Python code for each of very many.
named_tuple = tuple.__new__


class Property(NamedTuple):
    """A named property: its schema, and whether one that applies in place has evaluated it."""

    node: Node
    evaluated: bool


class Region(NamedTuple):
    """Properties that are not named, by what their names match: all of ``within`` and none of ``without``."""

    within: tuple[str, ...]
    without: tuple[str, ...]
    node: Node
    evaluated: bool


class Object(NamedTuple):
    """Objects. ``listed``: the schema lists properties, so that silence about others can be read as no."""

    typed: bool
    names: Mapping[str, Property]
    rest: tuple[Region, ...]
    required: tuple[str, ...] = ()
    low: int = 0
    high: int | None = None
    keys: Node | None = None
    listed: bool = False
    values: tuple[Any, ...] | None = None


class Contains(NamedTuple):
    """From ``low`` to ``high`` items are valid under ``node``."""

    node: Node
    low: int
    high: int | None


class Array(NamedTuple):
    """Arrays. ``evaluated``: how many items schemas that apply in place have evaluated; None for all."""

    typed: bool
    prefix: tuple[Node, ...]
    rest: Node
    low: int = 0
    high: int | None = None
    unique: bool = False
    contains: tuple[Contains, ...] = ()
    evaluated: int | None = 0
    values: tuple[Any, ...] | None = None


class Text(NamedTuple):
    """Strings."""

    typed: bool = False
    low: int = 0
    high: int | None = None
    patterns: tuple[str, ...] = ()
    no_patterns: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    no_formats: tuple[str, ...] = ()
    values: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()


class Number(NamedTuple):
    """Numbers. ``integer``: False for fractions, None for both. ``residue``: magnitudes modulo a number."""

    typed: bool = False
    integer: bool | None = None
    low: Decimal | None = None
    low_open: bool = False
    high: Decimal | None = None
    high_open: bool = False
    multiples: tuple[Decimal, ...] = ()
    no_multiples: tuple[Decimal, ...] = ()
    values: tuple[Any, ...] | None = None
    excluded: tuple[Any, ...] = ()
    residue: tuple[int, int] | None = None


class Single(NamedTuple):
    """True, false and null: the ones that are valid."""

    typed: bool
    values: tuple[bool | None, ...]


Flat = Object | Array | Text | Number | Single
Shape = dict[str, list[Flat]]


def default_flat(kind: str, document: Document, *, typed: bool = False) -> Flat:
    """Every value of a JSON type; the same one each time."""
    known: Flat | None = document.defaults.get((kind, typed))
    if known is None:
        known = document.defaults[kind, typed] = _default_flat(kind, document, typed)
    return known


def _default_flat(kind: str, document: Document, typed: bool) -> Flat:
    if kind == "object":
        return Object(typed, {}, (Region((), (), document.true, False),))
    if kind == "array":
        return Array(typed, (), document.true)
    if kind == "string":
        return Text(typed)
    if kind == "number":
        return Number(typed)
    return Single(typed, (True, False) if kind == "boolean" else (None,))


def canonical(value: Any) -> str:
    """A text that is equal for equal JSON values (1 and 1.0 are equal, 1 and true are not)."""
    if isinstance(value, str):
        return f'"{value}"'
    return json.dumps(_normal(value), sort_keys=True, ensure_ascii=True)


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return {key: _normal(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def kind_of(value: Any) -> str:
    """The JSON type of a value; integers are numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "object" if isinstance(value, Mapping) else "array"
