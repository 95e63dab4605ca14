"""The flat schemas of a schema's own keywords, those that apply other schemas in place left out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from llamacpp_core.grammar.formats import NUMBER_FORMATS
from llamacpp_core.grammar.schema.document import Document, Node
from llamacpp_core.grammar.schema.flats import (
    KINDS,
    Array,
    Contains,
    Flat,
    Number,
    Object,
    Property,
    Shape,
    Text,
    canonical,
    default_flat,
    kind_of,
    named_tuple,
)
from llamacpp_core.grammar.schema.regions import may_match, regions_of

__all__ = ["loosened", "may_be_wider", "own_shape"]

_OBJECT = frozenset(
    [
        "properties",
        "patternProperties",
        "additionalProperties",
        "required",
        "minProperties",
        "maxProperties",
        "propertyNames",
    ]
)
_ARRAY = frozenset(["prefixItems", "items", "minItems", "maxItems", "uniqueItems", "contains"])
_TEXT = frozenset(["pattern", "minLength", "maxLength", "format"])
_NUMBER = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"])


def own_shape(node: Node, document: Document, *, wide: bool) -> Shape:
    """What the keywords of one schema say by themselves.

    Args:
        node: The schema.
        document: Makes nodes.
        wide: Leave out what the schema's dialect does not know and what may be an annotation.
    """
    words = node.keywords
    if wide and node.foreign:
        words = {key: value for key, value in words.items() if key not in node.foreign}
    kinds, integer = _kinds(words)
    shape: Shape = {}
    typed = "type" in words
    for kind in kinds:
        if kind == "object" and not _OBJECT.isdisjoint(words):
            flat: Flat = _object(node, words, document, typed=typed, wide=wide)
        elif kind == "array" and not _ARRAY.isdisjoint(words):
            flat = _array(node, words, document, typed=typed)
        elif kind == "string" and not _TEXT.isdisjoint(words):
            flat = _text(words, typed=typed)
        elif kind == "number" and (integer or not _NUMBER.isdisjoint(words)):
            flat = _number(words, typed=typed, integer=integer, wide=wide)
        else:
            flat = default_flat(kind, document, typed=typed)
        shape[kind] = [flat]
    return _with_values(shape, words)


def may_be_wider(node: Node) -> bool:
    """Whether :func:`own_shape` may depend on ``wide``."""
    words = node.keywords
    return bool(node.foreign) or "patternProperties" in words or words.get("format") in NUMBER_FORMATS


def _kinds(words: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """The JSON types, and whether numbers have to be integers."""
    if "type" not in words:
        return KINDS, False
    return _named_kinds(tuple(words["type"]))


@lru_cache(maxsize=256)
def _named_kinds(names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    kinds = [kind for kind in KINDS if kind in names or (kind == "number" and "integer" in names)]
    return tuple(kinds), "number" not in names


def _with_values(shape: Shape, words: Mapping[str, Any]) -> Shape:
    """The flat schemas narrowed to the values of ``enum`` and ``const``."""
    if "enum" not in words and "const" not in words:
        return shape
    values = list(words.get("enum", [words.get("const")]))
    if "const" in words:
        wanted = canonical(words["const"])
        values = [value for value in values if canonical(value) == wanted][:1]
    unique = {canonical(value): value for value in values}
    by_kind: dict[str, list[Any]] = {}
    for value in unique.values():
        by_kind.setdefault(kind_of(value), []).append(value)
    found: Shape = {}
    for kind, some in by_kind.items():
        for flat in shape.get(kind, []):
            found[kind] = [flat._replace(typed=True, values=tuple(some))]
    return found


def _object(node: Node, words: Mapping[str, Any], document: Document, *, typed: bool, wide: bool) -> Object:
    patterns = [
        (pattern, document.child(node, schema, "patternProperties", pattern))
        for pattern, schema in words.get("patternProperties", {}).items()
    ]
    names = {}
    for name, schema in words.get("properties", {}).items():
        inner = document.child(node, schema, "properties", name)
        if patterns:
            matching = [n for pattern, n in patterns if may_match(pattern, name, wide=not wide)]
            inner = document.all_of((inner, *matching))
        names[name] = named_tuple(Property, (inner, True))
    others = None
    if "additionalProperties" in words:
        others = document.child(node, words["additionalProperties"], "additionalProperties")
    keys = document.child(node, words["propertyNames"], "propertyNames") if "propertyNames" in words else None
    high = words.get("maxProperties")
    return Object(
        typed,
        names,
        regions_of(patterns, others, document),
        tuple(dict.fromkeys(words.get("required", ()))),
        int(words.get("minProperties", 0)),
        None if high is None else int(high),
        None if keys is document.true else keys,
        _is_listed(node, words, document),
    )


def _is_listed(node: Node, words: Mapping[str, Any], document: Document) -> bool:
    """Whether silence about other properties can be read as no.

    Of a part that lists no property nothing is known, and it is free; a whole schema that lists none is that
    of a tool without parameters.
    """
    if any(words.get(key) for key in ("properties", "required", "patternProperties")):
        return True
    return node is document.root and "properties" in words


def _array(node: Node, words: Mapping[str, Any], document: Document, *, typed: bool) -> Array:
    rest = document.child(node, words["items"], "items") if "items" in words else document.true
    prefix = [
        document.child(node, schema, "prefixItems", index)
        for index, schema in enumerate(words.get("prefixItems", ()))
    ]
    # A word that may say nothing has evaluated nothing.
    n_evaluated = 0 if "prefixItems" in node.foreign else len(prefix)
    if "prefixItems" in node.foreign and "items" in words:
        prefix = [document.all_of((first, rest)) for first in prefix]
    contains: tuple[Contains, ...] = ()
    if "contains" in words:
        low, high = int(words.get("minContains", 1)), words.get("maxContains")
        if "minContains" in node.foreign:
            # It may say nothing, and then one item has to match.
            low = max(low, 1)
        if low or high is not None:
            inner = document.child(node, words["contains"], "contains")
            contains = (Contains(inner, low, None if high is None else int(high)),)
    top = words.get("maxItems")
    return Array(
        typed,
        tuple(prefix),
        rest,
        int(words.get("minItems", 0)),
        None if top is None else int(top),
        bool(words.get("uniqueItems", False)),
        contains,
        None if "items" in words else n_evaluated,
    )


def _text(words: Mapping[str, Any], *, typed: bool) -> Text:
    high = words.get("maxLength")
    name = words.get("format")
    return Text(
        typed,
        int(words.get("minLength", 0)),
        None if high is None else int(high),
        (words["pattern"],) if "pattern" in words else (),
        formats=(name,) if name is not None and name not in NUMBER_FORMATS else (),
    )


def _number(words: Mapping[str, Any], *, typed: bool, integer: bool, wide: bool) -> Number:
    def bounds(plain: str, exclusive: str, sign: int) -> tuple[Decimal | None, bool]:
        found = [
            (Decimal(str(words[key])) * sign, key == exclusive) for key in (plain, exclusive) if key in words
        ]
        if not found:
            return None, False
        value, is_open = max(found)
        return value * sign, is_open

    low, low_open = bounds("minimum", "exclusiveMinimum", 1)
    high, high_open = bounds("maximum", "exclusiveMaximum", -1)
    whole: bool | None = True if integer else None
    limits = None if wide else NUMBER_FORMATS.get(words.get("format", ""))
    if limits is not None:
        whole = True
        low, low_open = (
            max((low, low_open), (Decimal(limits[0]), False))
            if low is not None
            else (Decimal(limits[0]), False)
        )
        if high is None or high > limits[1]:
            high, high_open = Decimal(limits[1]), False
    factor = words.get("multipleOf")
    multiples = () if factor is None else (Decimal(str(factor)),)
    return Number(typed, whole, low, low_open, high, high_open, multiples)


def loosened(flat: Flat) -> Flat:
    """A flat schema without what may not be possible to enforce: patterns, counts and comparisons."""
    if isinstance(flat, Object):
        return flat._replace(low=0, high=None, keys=None, rest=() if flat.listed else flat.rest)
    if isinstance(flat, Array):
        return flat._replace(unique=False, contains=())
    if isinstance(flat, Text):
        return Text(flat.typed, flat.low, flat.high, values=flat.values)
    if isinstance(flat, Number):
        return flat._replace(multiples=())
    return flat
