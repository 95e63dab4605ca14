"""What is valid under two flat schemas of one JSON type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llamacpp_core.grammar.schema.document import Document, Node
from llamacpp_core.grammar.schema.flats import (
    Array,
    Flat,
    Number,
    Object,
    Property,
    Single,
    Text,
    canonical,
    named_tuple,
)
from llamacpp_core.grammar.schema.regions import lookup, merge_regions

__all__ = ["merge", "narrowed"]

#: The patterns and formats of a string that has none.
_UNMATCHED = ((), (), (), ())


def merge(a: Flat, b: Flat, document: Document) -> Flat | None:
    """What is valid under both of two flat schemas of one type; None when that is plainly nothing."""
    if isinstance(a, Text) and isinstance(b, Text):
        return _merge_texts(a, b)
    if isinstance(a, Number) and isinstance(b, Number):
        return _merge_numbers(a, b)
    if isinstance(a, Single) and isinstance(b, Single):
        values = tuple(value for value in a.values if value in b.values)
        return Single(a.typed or b.typed, values) if values else None
    if isinstance(a, Array) and isinstance(b, Array):
        return _merge_arrays(a, b, document)
    assert isinstance(a, Object)
    assert isinstance(b, Object)
    return _merge_objects(a, b, document)


def narrowed(flat: Object, needed: Iterable[str]) -> Object:
    """A flat schema with some of the properties that it names."""
    known = flat.names
    return named_tuple(
        Object, (flat.typed, {name: known[name] for name in needed if name in known}, *flat[2:])
    )


def _joined(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    if not a or not b:
        return a or b
    return a if a == b else tuple(dict.fromkeys((*a, *b)))


def _smaller(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else min(a, b)


def _common(a: tuple[Any, ...] | None, b: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if a is None or b is None:
        return b if a is None else a
    wanted = {canonical(value) for value in b}
    return tuple(value for value in a if canonical(value) in wanted)


def _merge_texts(a: Text, b: Text) -> Text | None:
    values = a.values if b.values is None else b.values
    if a.values is not None and b.values is not None:
        wanted = b.values if len(b.values) == 1 else set(b.values)
        values = tuple([value for value in a.values if value in wanted])
    low, high = max(a.low, b.low), _smaller(a.high, b.high)
    if values == () or (high is not None and low > high):
        return None
    typed = a.typed or b.typed
    if a[3:7] == b[3:7] == _UNMATCHED and not a.excluded and not b.excluded:
        return named_tuple(Text, (typed, low, high, *_UNMATCHED, values, ()))
    patterns, no_patterns = _joined(a.patterns, b.patterns), _joined(a.no_patterns, b.no_patterns)
    if patterns and no_patterns and not set(patterns).isdisjoint(no_patterns):
        return None
    return Text(
        typed,
        low,
        high,
        patterns,
        no_patterns,
        _joined(a.formats, b.formats),
        _joined(a.no_formats, b.no_formats),
        values,
        _joined(a.excluded, b.excluded),
    )


def _merge_numbers(a: Number, b: Number) -> Number | None:
    if a.integer is not None and b.integer is not None and a.integer != b.integer:
        return None
    low, low_open = max(((x.low, x.low_open) for x in (a, b) if x.low is not None), default=(None, False))
    high, closed = min(
        ((x.high, not x.high_open) for x in (a, b) if x.high is not None), default=(None, True)
    )
    if low is not None and high is not None and (low > high or (low == high and (low_open or not closed))):
        return None
    values = _common(a.values, b.values)
    if values == ():
        return None
    return Number(
        a.typed or b.typed,
        a.integer if a.integer is not None else b.integer,
        low,
        low_open,
        high,
        not closed,
        _joined(a.multiples, b.multiples),
        _joined(a.no_multiples, b.no_multiples),
        values,
        _joined(a.excluded, b.excluded),
        a.residue or b.residue,
    )


def _merge_arrays(a: Array, b: Array, document: Document) -> Array | None:
    high, low, values = _smaller(a.high, b.high), max(a.low, b.low), _common(a.values, b.values)
    if (high is not None and low > high) or values == ():
        return None
    size = max(len(a.prefix), len(b.prefix))

    def item(array: Array, index: int) -> Node:
        return array.prefix[index] if index < len(array.prefix) else array.rest

    prefix = tuple(document.all_of((item(a, i), item(b, i))) for i in range(size))
    return Array(
        a.typed or b.typed,
        prefix,
        document.all_of((a.rest, b.rest)),
        low,
        high,
        a.unique or b.unique,
        _joined(a.contains, b.contains),
        None if a.evaluated is None or b.evaluated is None else max(a.evaluated, b.evaluated),
        values,
    )


def _merge_objects(a: Object, b: Object, document: Document) -> Object | None:
    names = _merge_names(a, b, document)
    required = _joined(a.required, b.required)
    high, low, values = _smaller(a.high, b.high), max(a.low, b.low), _common(a.values, b.values)
    if (high is not None and max(low, len(required)) > high) or values == ():
        return None
    false = document.false
    for name in required:
        known = names.get(name)
        if known is not None and known.node is false:
            return None
    keys = a.keys if b.keys is None else b.keys if a.keys is None else document.all_of((a.keys, b.keys))
    rest, typed, listed = merge_regions(a.rest, b.rest, document), a.typed or b.typed, a.listed or b.listed
    return named_tuple(Object, (typed, names, rest, required, low, high, keys, listed, values))


def _merge_names(a: Object, b: Object, document: Document) -> Mapping[str, Property]:
    """The properties that one of two flat schemas names, those of the first one first."""
    mine, theirs = a.names, b.names
    free_of_a, free_of_b = _is_silent(a, document), _is_silent(b, document)
    if not mine and free_of_a:
        return theirs
    if not theirs and free_of_b:
        return mine
    names = dict(mine)
    if not free_of_b:
        for name, known in mine.items():
            if name not in theirs:
                names[name] = _joint(known, lookup(b, name, document), document)
    for name, known in theirs.items():
        own = mine.get(name)
        if own is not None:
            names[name] = _joint(own, known, document)
        else:
            names[name] = known if free_of_a else _joint(lookup(a, name, document), known, document)
    return names


def _is_silent(flat: Object, document: Document) -> bool:
    """Whether a flat schema says nothing about properties that it does not name."""
    rest = flat.rest
    return len(rest) == 1 and rest[0].node is document.true and not rest[0].evaluated and not rest[0].within


def _joint(a: Property, b: Property, document: Document) -> Property:
    node = a.node if a.node is b.node else document.all_of((a.node, b.node))
    if node is a.node and (a.evaluated or not b.evaluated):
        return a
    return named_tuple(Property, (node, a.evaluated or b.evaluated))
