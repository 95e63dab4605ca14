"""Schemas as lists of flat schemas: references, combinations, negations and conditions resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.schema.complement import complement_flat
from llamacpp_core.grammar.schema.document import And, Document, Node, Not
from llamacpp_core.grammar.schema.flats import (
    KINDS,
    Array,
    Flat,
    Object,
    Property,
    Region,
    Shape,
    Text,
    default_flat,
)
from llamacpp_core.grammar.schema.keywords import refuse, step
from llamacpp_core.grammar.schema.merge import merge, narrowed
from llamacpp_core.grammar.schema.own import may_be_wider, own_shape
from llamacpp_core.grammar.schema.possible import Possible

__all__ = ["Shapes"]

_MAX_ALTERNATIVES = 256
#: Most flat schemas that are joined for one document: about a second's work.
_MAX_WORK = 12_000
_IN_PLACE = frozenset(
    [
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
    ]
)


class Shapes:
    """The flat schemas of every node of a document.

    Args:
        document: The nodes.

    Attributes:
        possible: Tells what can have no value.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.possible = Possible(self)
        self._known: dict[tuple[int, bool], Shape] = {}
        self._open: set[tuple[int, bool]] = set()
        self._work = 0
        self._listed: dict[int, frozenset[str] | None] = {}
        # By their identity, which they keep by being kept here.
        self._complements: dict[tuple[int, bool], tuple[Flat, list[Flat]]] = {}
        self._defaults = {kind: default_flat(kind, document) for kind in KINDS}

    def is_default(self, kind: str, flat: Flat) -> bool:
        """Whether a flat schema says nothing at all."""
        default = self._defaults[kind]
        return flat is default or flat == default

    def of(self, node: Node, *, wide: bool = False) -> Shape:
        """The flat schemas of a node.

        Args:
            node: The node.
            wide: Rather too many values than too few: for what must not be valid.

        Raises:
            GrammarError: The schema refers to itself without anything in between, or there are too many.
        """
        key = (node.number, wide)
        known = self._known.get(key)
        if known is not None:
            return known
        if key in self._open:
            refuse(node.path, "the schema refers to itself without anything in between")
        self._open.add(key)
        try:
            shape = self._made(node, wide)
        finally:
            self._open.remove(key)
        self._known[key] = shape
        return shape

    def _everything(self) -> Shape:
        return {kind: [flat] for kind, flat in self._defaults.items()}

    def _made(self, node: Node, wide: bool) -> Shape:
        if node is self.document.true:
            return self._everything()
        if node is self.document.false:
            return {}
        if isinstance(node, And):
            shape = self.of(node.parts[0], wide=wide)
            for part in node.parts[1:]:
                shape = self.product(shape, self.of(part, wide=wide), node.path)
            return shape
        if isinstance(node, Not):
            if node.inner.keywords.keys() == {"not"}:
                inner = self.document.child(node.inner, node.inner.keywords["not"], "not")
                return _not_evaluated(self.of(inner, wide=wide))
            return self.negation(self.of(node.inner, wide=not wide), node.path, wide=wide)
        words = node.keywords
        if words.keys().isdisjoint(_IN_PLACE):
            known = None if may_be_wider(node) else self._known.get((node.number, not wide))
            if known is not None:
                return known
            return own_shape(node, self.document, wide=wide)
        shape = own_shape(node, self.document, wide=wide)
        for applied in self._applied(node, words, wide):
            shape = self.product(shape, applied, node.path)
        if "oneOf" in words:
            shape = self._one_of(node, shape, wide)
        return shape if wide else self._unevaluated(node, words, shape)

    def _applied(self, node: Node, words: Mapping[str, Any], wide: bool) -> Iterable[Shape]:
        """What the keywords say that apply other schemas to the same value, one after the other."""
        document = self.document
        if "$ref" in words:
            yield self.of(document.target(node), wide=wide)
        for keyword in ("$dynamicRef", "$recursiveRef"):
            if keyword in words:
                yield self.of(document.dynamic_target(node, keyword), wide=wide)
        for index, part in enumerate(words.get("allOf", ())):
            yield self.of(document.child(node, part, "allOf", index), wide=wide)
        if "anyOf" in words:
            yield self._union(
                self.of(document.child(node, part, "anyOf", index), wide=wide)
                for index, part in enumerate(words["anyOf"])
            )
        if "not" in words:
            yield self.of(document.negated(document.child(node, words["not"], "not")), wide=wide)
        if "if" in words and not (wide and "if" in node.foreign):
            yield self._condition(node, words, wide)
        if not (wide and node.foreign & {"dependentRequired", "dependentSchemas"}):
            yield from self._dependencies(node, words, wide)

    @staticmethod
    def _union(shapes: Iterable[Shape]) -> Shape:
        found: Shape = {}
        for shape in shapes:
            for kind, flats in shape.items():
                found.setdefault(kind, []).extend(flat for flat in flats if flat not in found.get(kind, ()))
        return found

    def _condition(self, node: Node, words: Mapping[str, Any], wide: bool) -> Shape:
        document = self.document
        test = document.child(node, words["if"], "if")
        then = document.child(node, words.get("then", True), "then")
        other = document.child(node, words.get("else", True), "else")
        return self._union(
            (
                self.product(self.of(test, wide=wide), self.of(then, wide=wide), node.path),
                self.product(
                    self.of(document.negated(test), wide=wide), self.of(other, wide=wide), node.path
                ),
            )
        )

    def _dependencies(self, node: Node, words: Mapping[str, Any], wide: bool) -> Iterable[Shape]:
        document = self.document
        for keyword in ("dependentRequired", "dependentSchemas"):
            for name, part in words.get(keyword, {}).items():
                there: Shape = {
                    "object": [self._object({}, (name, *(part if isinstance(part, list) else ())))]
                }
                if not isinstance(part, list):
                    applied = self.of(document.child(node, part, keyword, name), wide=wide)
                    there = self.product(there, applied, node.path)
                absent = self._object({name: Property(document.false, False)}, ())
                shape = self._everything()
                shape["object"] = [absent, *there.get("object", ())]
                yield shape

    def _object(self, names: dict[str, Property], required: Sequence[str]) -> Object:
        return Object(
            False, names, (Region((), (), self.document.true, False),), tuple(dict.fromkeys(required))
        )

    def product(self, a: Shape, b: Shape, path: str) -> Shape:
        """What is valid under both of two shapes.

        Raises:
            GrammarError: There are too many combinations.
        """
        found: Shape = {}
        for kind in KINDS:
            mine, theirs = a.get(kind), b.get(kind)
            if not mine or not theirs:
                continue
            default = self._defaults[kind]
            if len(theirs) == 1 and theirs[0] is default:
                found[kind] = mine
                continue
            if len(mine) == 1 and mine[0] is default:
                found[kind] = theirs
                continue
            if len(mine) * len(theirs) > _MAX_ALTERNATIVES * 16:
                refuse(path, f"the combinations of anyOf, oneOf and allOf are more than {_MAX_ALTERNATIVES}")
            flats = self._products(kind, mine, theirs)
            if len(flats) > _MAX_ALTERNATIVES:
                refuse(path, f"the combinations of anyOf, oneOf and allOf are more than {_MAX_ALTERNATIVES}")
            if flats:
                found[kind] = flats
        return found

    def _products(self, kind: str, a: list[Flat], b: list[Flat]) -> list[Flat]:
        default = self._defaults[kind]
        if len(b) == 1 and (b[0] is default or b[0] == default):
            return a
        if len(a) == 1 and (a[0] is default or a[0] == default):
            return b
        if len(a) == len(b) == 1:
            self._work += 1
            self._check_work()
            only = merge(a[0], b[0], self.document)
            return [] if only is None else [only]
        found: dict[Any, Flat] = {}
        for mine in a:
            for theirs in b:
                self._work += 1
                flat = merge(mine, theirs, self.document)
                if flat is not None and self.possible.flat(flat):
                    found.setdefault(_key(flat), flat)
            self._check_work()
        return list(found.values())

    def _check_work(self) -> None:
        if self._work > _MAX_WORK:
            refuse(self.document.root.path, "it combines too many schemas; use fewer anyOf, oneOf, not")

    def negation(self, shape: Shape, path: str, *, wide: bool) -> Shape:
        """What is not valid under a shape that is as wide as this one has to be narrow, or the reverse."""
        found: Shape = {}
        for kind in KINDS:
            flats = [self._defaults[kind]]
            for flat in shape.get(kind, ()):
                flats = self._products(kind, flats, self._complement(kind, flat, wide=wide))
                if len(flats) > _MAX_ALTERNATIVES:
                    refuse(path, "too much has to be ruled out")
            if flats:
                found[kind] = flats
        return found

    def _complement(self, kind: str, flat: Flat, *, wide: bool) -> list[Flat]:
        """What is not valid under a flat schema; worked out once, it is asked for by each other branch."""
        known = self._complements.get((id(flat), wide))
        if known is None:
            made = [] if self.is_default(kind, flat) else complement_flat(flat, self.document, wide=wide)
            known = self._complements[id(flat), wide] = (flat, made)
        return list(known[1])

    def _one_of(self, node: Node, own: Shape, wide: bool) -> Shape:
        """The values of ``own`` that are valid under exactly one branch."""
        nodes = [
            self.document.child(node, part, "oneOf", index)
            for index, part in enumerate(node.keywords["oneOf"])
        ]
        shapes = [self.product(own, self.of(inner, wide=wide), node.path) for inner in nodes]
        if wide:
            return self._union(shapes)
        others = [self.of(inner, wide=True) for inner in nodes]
        found: Shape = {}
        for index, shape in enumerate(shapes):
            against = [other for i, other in enumerate(others) if i != index]
            for kind, flats in shape.items():
                left = self._apart(kind, flats, [f for other in against for f in other.get(kind, ())], node)
                if left:
                    found.setdefault(kind, []).extend(left)
        if not found and any(shapes):
            refuse(
                step(node.path, "oneOf"),
                "every value of a branch may also match another branch; make the branches differ in type, or "
                "in a required property with const, or use anyOf",
            )
        return {kind: found[kind] for kind in KINDS if kind in found}

    def _apart(self, kind: str, flats: list[Flat], others: list[Flat], node: Node) -> list[Flat]:
        """What is left of flat schemas once those of other branches are taken out."""
        if others:
            flats = [flat for flat in flats if self.possible.flat(flat)]
        for other in others:
            left: list[Flat] = []
            for flat in flats:
                if not self._meet(flat, other):
                    left.append(flat)
                else:
                    parts = self._products(kind, [flat], self._complement(kind, other, wide=False))
                    left += [part for part in parts if self.possible.flat(part)]
            flats = left
            if len(flats) > _MAX_ALTERNATIVES:
                refuse(step(node.path, "oneOf"), "its branches overlap in too many ways; use anyOf")
        return flats

    def _meet(self, a: Flat, b: Flat) -> bool:
        """Whether a value may be valid under both; of objects the required properties decide."""
        if isinstance(a, Object) and isinstance(b, Object):
            needed = dict.fromkeys((*a.required, *b.required))
            for name in needed:
                if self._differ(a.names.get(name), b.names.get(name)):
                    return False
            a, b = narrowed(a, needed), narrowed(b, needed)
        both = merge(a, b, self.document)
        return both is not None and self.possible.flat(both)

    def _differ(self, mine: Property | None, theirs: Property | None) -> bool:
        """Whether no value is valid for a property that both name."""
        if mine is None or theirs is None or mine.node is theirs.node:
            return False
        some, others = self._texts(mine.node), self._texts(theirs.node)
        if some is not None and others is not None and some.isdisjoint(others):
            self._work += 1
            return True
        return not self.possible.node(self.document.all_of((mine.node, theirs.node)))

    def _texts(self, node: Node) -> frozenset[str] | None:
        """The values of a node that are all listed strings; None where it is not like that."""
        if node.number not in self._listed:
            values = None
            try:
                shape = self.of(node, wide=True)
            except GrammarError:
                return None
            if shape.keys() == {"string"} and len(shape["string"]) == 1:
                flat = shape["string"][0]
                values = (
                    frozenset(flat.values) if isinstance(flat, Text) and flat.values is not None else None
                )
            self._listed[node.number] = values
        return self._listed[node.number]

    def _unevaluated(self, node: Node, words: Mapping[str, Any], shape: Shape) -> Shape:
        document = self.document
        if "unevaluatedProperties" in words and "object" in shape:
            inner = document.child(node, words["unevaluatedProperties"], "unevaluatedProperties")
            shape = shape | {"object": [self._closed(flat, inner) for flat in shape["object"]]}
        if "unevaluatedItems" in words and "array" in shape:
            inner = document.child(node, words["unevaluatedItems"], "unevaluatedItems")
            shape = shape | {"array": [self._closed(flat, inner) for flat in shape["array"]]}
        return shape

    def _closed(self, flat: Flat, inner: Node) -> Flat:
        """A flat schema in which what was not evaluated has to be valid under ``inner``."""
        join = self.document.all_of
        if isinstance(flat, Array):
            if flat.evaluated is None:
                return flat
            prefix = tuple(
                node if i < flat.evaluated else join((node, inner)) for i, node in enumerate(flat.prefix)
            )
            return flat._replace(prefix=prefix, rest=join((flat.rest, inner)), evaluated=None)
        assert isinstance(flat, Object)
        names = {
            name: known if known.evaluated else Property(join((known.node, inner)), True)
            for name, known in flat.names.items()
        }
        rest = tuple(
            r if r.evaluated else r._replace(node=join((r.node, inner)), evaluated=True) for r in flat.rest
        )
        return flat._replace(names=names, rest=rest, typed=True)


def _not_evaluated(shape: Shape) -> Shape:
    """The same values, of which nothing counts as evaluated: under ``not`` nothing does."""
    return {kind: [_forgotten(flat) for flat in flats] for kind, flats in shape.items()}


def _forgotten(flat: Flat) -> Flat:
    if isinstance(flat, Array):
        return flat._replace(evaluated=0)
    if not isinstance(flat, Object):
        return flat
    names = {name: Property(known.node, False) for name, known in flat.names.items()}
    return flat._replace(names=names, rest=tuple(region._replace(evaluated=False) for region in flat.rest))


def _key(flat: Flat) -> Any:
    """Equal for equal flat schemas, and hashable."""
    if isinstance(flat, (Object, Array)) and flat.values is not None:
        return id(flat)
    return (tuple(flat.names.items()), flat.typed, *flat[2:]) if isinstance(flat, Object) else flat
