"""Whether a given JSON value is surely valid under a node: for enumerated values and for names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamacpp_core.grammar.schema.document import Node
from llamacpp_core.grammar.schema.flats import Array, Flat, Number, Object, Text, canonical, kind_of
from llamacpp_core.grammar.schema.languages import accepts
from llamacpp_core.grammar.schema.possible import number_fits
from llamacpp_core.grammar.schema.regions import lookup
from llamacpp_core.grammar.schema.shapes import Shapes

__all__ = ["fits", "is_valid"]

_MAX_DEPTH = 100


def is_valid(value: Any, node: Node, shapes: Shapes, depth: int = 0) -> bool:
    """Whether a value is valid under a node."""
    if node is shapes.document.true:
        return True
    if depth > _MAX_DEPTH:
        return False
    return any(fits(value, flat, shapes, depth) for flat in shapes.of(node).get(kind_of(value), ()))


def fits(value: Any, flat: Flat, shapes: Shapes, depth: int = 0) -> bool:
    """Whether a value is valid under a flat schema of its type."""
    if isinstance(flat, Text):
        return accepts(flat, value)
    if isinstance(flat, Number):
        listed = flat.values is None or canonical(value) in map(canonical, flat.values)
        return listed and number_fits(flat, value)
    if isinstance(flat, Array | Object):
        if flat.values is not None and canonical(value) not in map(canonical, flat.values):
            return False
        inside = _array_fits if isinstance(flat, Array) else _object_fits
        return inside(value, flat, shapes, depth + 1)  # type: ignore[arg-type]
    return any(value is known for known in flat.values)


def _array_fits(value: list[Any], flat: Array, shapes: Shapes, depth: int) -> bool:
    if not flat.low <= len(value) <= (len(value) if flat.high is None else flat.high):
        return False
    if flat.unique and len({canonical(item) for item in value}) < len(value):
        return False
    for item in flat.contains:
        inside = sum(is_valid(part, item.node, shapes, depth) for part in value)
        outside = sum(is_valid(part, shapes.document.negated(item.node), shapes, depth) for part in value)
        if inside < item.low or (item.high is not None and len(value) - outside > item.high):
            return False
    nodes = [*flat.prefix, *[flat.rest] * len(value)]
    return all(is_valid(part, node, shapes, depth) for part, node in zip(value, nodes, strict=False))


def _object_fits(value: Mapping[str, Any], flat: Object, shapes: Shapes, depth: int) -> bool:
    if not flat.low <= len(value) <= (len(value) if flat.high is None else flat.high):
        return False
    if any(name not in value for name in flat.required):
        return False
    if flat.keys is not None and not all(is_valid(name, flat.keys, shapes, depth) for name in value):
        return False
    return all(
        is_valid(part, lookup(flat, name, shapes.document).node, shapes, depth)
        for name, part in value.items()
    )
