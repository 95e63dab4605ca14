"""What is not valid under a flat schema, as flat schemas of the same JSON type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llamacpp_core.grammar.schema.document import Document, Node
from llamacpp_core.grammar.schema.flats import (
    Array,
    Contains,
    Flat,
    Number,
    Object,
    Property,
    Region,
    Single,
    Text,
    default_flat,
)

__all__ = ["complement_flat"]

_Made = Callable[..., Flat]


def complement_flat(flat: Flat, document: Document, *, wide: bool) -> list[Flat]:
    """Flat schemas for the values of its type that are not valid under a flat schema.

    Args:
        flat: The flat schema.
        document: Makes nodes.
        wide: Where something cannot be said: every value of the type, instead of none.
    """
    if isinstance(flat, Text):
        return _texts(flat)
    if isinstance(flat, Number):
        return _numbers(flat)
    if isinstance(flat, Single):
        full = (True, False) if set(flat.values) <= {True, False} else (None,)
        left = tuple(value for value in full if value not in flat.values)
        return [Single(False, left)] if left else []
    found, whole = _arrays(flat, document) if isinstance(flat, Array) else _objects(flat, document)
    if wide and not whole:
        return [default_flat("array" if isinstance(flat, Array) else "object", document)]
    return found


def _texts(flat: Text) -> list[Flat]:
    found: list[Flat] = []
    if flat.values is not None:
        found.append(Text(excluded=flat.values))
    if flat.low:
        found.append(Text(high=flat.low - 1))
    if flat.high is not None:
        found.append(Text(low=flat.high + 1))
    found += [Text(no_patterns=(pattern,)) for pattern in flat.patterns]
    found += [Text(patterns=(pattern,)) for pattern in flat.no_patterns]
    found += [Text(no_formats=(name,)) for name in flat.formats]
    found += [Text(formats=(name,)) for name in flat.no_formats]
    if flat.excluded:
        found.append(Text(values=flat.excluded))
    return found


def _numbers(flat: Number) -> list[Flat]:
    found: list[Flat] = []
    if flat.values is not None:
        found.append(Number(excluded=flat.values))
    if flat.integer is not None:
        found.append(Number(integer=not flat.integer))
    if flat.low is not None:
        found.append(Number(high=flat.low, high_open=not flat.low_open))
    if flat.high is not None:
        found.append(Number(low=flat.high, low_open=not flat.high_open))
    found += [Number(no_multiples=(factor,)) for factor in flat.multiples]
    found += [Number(multiples=(factor,)) for factor in flat.no_multiples]
    if flat.excluded:
        found.append(Number(values=flat.excluded))
    return found


def _arrays(flat: Array, document: Document) -> tuple[list[Flat], bool]:
    """Flat schemas, and whether they are all that is not valid."""
    true = document.true
    found: list[Flat] = []
    whole = True

    def array(prefix: tuple[Node, ...] = (), **more: Any) -> Array:
        return Array(False, prefix, true, **more)

    if flat.low:
        found.append(array(high=flat.low - 1))
    if flat.high is not None:
        found.append(array(low=flat.high + 1))
    for index, node in enumerate(flat.prefix):
        if node is not true:
            found.append(array((*[true] * index, document.negated(node)), low=index + 1))
    if flat.rest is document.false:
        found.append(array(low=len(flat.prefix) + 1))
    elif flat.rest is not true and not flat.prefix:
        found.append(array(contains=(Contains(document.negated(flat.rest), 1, None),)))
    elif flat.rest is not true:
        whole = False
    for item in flat.contains:
        if item.low == 1:
            found.append(Array(False, (), document.negated(item.node)))
        elif item.low:
            found.append(array(contains=(Contains(item.node, 0, item.low - 1),)))
        if item.high is not None:
            found.append(array(contains=(Contains(item.node, item.high + 1, None),)))
    if flat.values is not None:
        found += [array(low=1)] if flat.values == ([],) else []
        whole = whole and flat.values == ([],)
    return found, whole and not flat.unique


def _objects(flat: Object, document: Document) -> tuple[list[Flat], bool]:
    true, false = document.true, document.false
    open_region = (Region((), (), true, False),)
    found: list[Flat] = []

    def entry(name: str, node: Node, required: tuple[str, ...] = ()) -> Object:
        return Object(False, {name: Property(node, False)}, open_region, required)

    for name in flat.required:
        found.append(entry(name, false))
    for name, known in flat.names.items():
        if known.node is not true:
            found.append(entry(name, document.negated(known.node), (name,)))
    if flat.low:
        found.append(Object(False, {}, open_region, high=flat.low - 1))
    if flat.high is not None:
        found.append(Object(False, {}, open_region, low=flat.high + 1))
    whole = flat.keys is None and all(region.node is true for region in flat.rest)
    if flat.rest and not whole and not flat.names and flat.keys is None and len(flat.rest) == 1:
        only = flat.rest[0]
        if only.node is false and not only.within and not only.without:
            found.append(Object(False, {}, open_region, low=1))
            whole = True
    if flat.values is not None:
        found += [Object(False, {}, open_region, low=1)] if flat.values == ({},) else []
        whole = whole and flat.values == ({},)
    return found, whole
