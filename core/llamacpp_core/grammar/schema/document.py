"""A schema document as nodes: each schema in it once, with what its references point to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urldefrag, urljoin

from llamacpp_core.grammar.schema.dialect import dialect_of, lower
from llamacpp_core.grammar.schema.keywords import ANNOTATIONS, refuse, step

__all__ = ["And", "Document", "Node", "Not", "Resource"]

_NO_SCHEMAS = frozenset({"enum", "const", "default", "examples", "example"})
_MAX_REFERENCES = 100
#: Schemas of these keywords alone are one node where they are equal, wherever they are.
_SIMPLE = frozenset({"type", "format", "minimum", "maximum", "minLength", "maxLength"})
#: A schema of these keywords alone says no more than its type.
_TYPE_ALONE = ANNOTATIONS | {"type"}


@dataclass(frozen=True, slots=True)
class Resource:
    """A schema with a URI of its own; the document is one, and schemas in it may be.

    Attributes:
        root: The schema.
        path: Its path in the document.
        uri: Its URI; empty when it has none.
    """

    root: Any
    path: str
    uri: str


class Node:
    """One schema.

    Attributes:
        number: Its number in the document.
        path: Its path, for errors.
        keywords: Its keywords in the words of draft 2020-12.
        foreign: Keywords that its own dialect does not know.
        resource: What its references are relative to.
    """

    __slots__ = ("foreign", "keywords", "number", "path", "resource", "source")

    def __init__(self, number: int, path: str, resource: Resource) -> None:
        self.number = number
        self.path = path
        self.resource = resource
        self.keywords: Mapping[str, Any] = {}
        self.foreign: frozenset[str] = frozenset()
        self.source: Any = None


class And(Node):
    """What is valid under each of several schemas."""

    __slots__ = ("parts",)
    parts: tuple[Node, ...]


class Not(Node):
    """What is not valid under a schema."""

    __slots__ = ("inner",)
    inner: Node


_N = TypeVar("_N", bound=Node)


class Document:
    """The nodes of one schema.

    Args:
        root: The whole schema.

    Attributes:
        true: The node of every value.
        false: The node of no value.
        defaults: What is made once for a document.
    """

    def __init__(self, root: Any) -> None:
        self.dialect = dialect_of(root)
        self._id_keyword = self.dialect.id_keyword
        self._resource = Resource(root, "$", self._id_of(root))
        self._count = 0
        self.defaults: dict[tuple[str, bool], Any] = {}
        self._nodes: dict[int, Node] = {}
        # What ids belong to has to stay.
        self._kept: list[Any] = []
        self._conjunctions: dict[frozenset[int], Node] = {}
        self._negations: dict[int, Node] = {}
        self._found: dict[tuple[int, str], tuple[Any, str, Resource]] = {}
        self._index: dict[tuple[str, str], tuple[Any, str, Resource]] | None = None
        self.true = self._new(Node, "$", self._resource)
        self.false = self._new(Node, "$", self._resource)
        self._simple: dict[str, Node] = {"{}": self.true}
        self._types: dict[str, Node] = {}
        self._references: dict[tuple[int, str], Node] = {}
        self.root = self.node(root, "$", self._resource)

    def _new(self, kind: type[_N], path: str, resource: Resource) -> _N:
        self._count += 1
        return kind(self._count, path, resource)

    def _id_of(self, schema: Any) -> str:
        """The URI that a schema gives itself; in older drafts nothing counts beside a reference."""
        if not isinstance(schema, (dict, Mapping)):
            return ""
        found = schema.get(self._id_keyword)
        if not isinstance(found, str) or ("$ref" in schema and self.dialect.refs_alone):
            return ""
        return found

    def node(self, schema: Any, path: str, resource: Resource | None = None) -> Node:
        """The node of a schema of the document, or of one made for it.

        Raises:
            GrammarError: A keyword has a value of the wrong kind, or a reference points nowhere.
        """
        if isinstance(schema, bool):
            return self.true if schema else self.false
        if not isinstance(schema, (dict, Mapping)):
            refuse(path, f"a schema has to be an object, true or false, got {type(schema).__name__}")
        resource = resource or self._resource
        return self._known(schema, resource) or self._made(schema, path, resource)

    def _known(self, schema: Mapping[str, Any], resource: Resource) -> Node | None:
        """The node of a schema that was met before, or of which one glance says that it is like another."""
        known = self._nodes.get(id(schema))
        if known is not None:
            return known
        ref = schema.get("$ref")
        if ref is None:
            name = schema.get("type")
            known = self._types.get(name) if isinstance(name, str) and schema.keys() <= _TYPE_ALONE else None
        elif isinstance(ref, str) and (len(schema) == 1 or self.dialect.refs_alone):
            known = self._references.get((id(resource), ref))
        if known is not None:
            self._nodes[id(schema)] = known
            self._kept.append(schema)
        return known

    def _made(self, schema: Mapping[str, Any], path: str, resource: Resource) -> Node:
        """A new node, or an old one where that turns out to say the same."""
        own_uri = self._id_of(schema)
        if own_uri and schema is not resource.root:
            uri = urldefrag(own_uri)[0]
            if uri:
                resource = Resource(schema, path, urljoin(resource.uri, uri))
                self._kept.append(resource)
        keywords, foreign = lower(schema, self.dialect, path)
        simple = repr(keywords) if keywords.keys() <= _SIMPLE else None
        if simple is not None:
            known = self._simple.get(simple)
            if known is not None:
                self._nodes[id(schema)] = known
                self._kept.append(schema)
                return known
        node = self._new(Node, path, resource)
        node.source, node.keywords, node.foreign = schema, keywords, foreign
        if simple is not None:
            self._simple[simple] = node
            if schema.keys() <= _TYPE_ALONE and isinstance(schema["type"], str):
                self._types[schema["type"]] = node
        elif len(keywords) == 1 and "$ref" in keywords:
            node = self._references[id(resource), keywords["$ref"]] = self._pointed(node)
        self._nodes[id(schema)] = node
        return node

    def child(self, parent: Node, schema: Any, *steps: str | int) -> Node:
        """The node of a schema inside another."""
        if isinstance(schema, dict):
            known = self._known(schema, parent.resource)
            if known is not None:
                return known
        elif isinstance(schema, bool):
            return self.true if schema else self.false
        path = parent.path
        for key in steps:
            path = step(path, key)
        return self.node(schema, path, parent.resource)

    def all_of(self, nodes: Sequence[Node]) -> Node:
        """The node of what is valid under all of several nodes."""
        if len(nodes) == 2:
            first, other = nodes
            if first is other or other is self.true or first is self.false:
                return first
            if first is self.true or other is self.false:
                return other
        parts: dict[int, Node] = {}
        for node in nodes:
            for part in node.parts if isinstance(node, And) else (node,):
                if part is self.false:
                    return self.false
                if part is not self.true:
                    parts[part.number] = part
        if len(parts) < 2:
            return next(iter(parts.values()), self.true)
        key = frozenset(parts)
        if key not in self._conjunctions:
            first = next(iter(parts.values()))
            made = self._new(And, first.path, first.resource)
            made.parts = tuple(parts.values())
            self._conjunctions[key] = made
        return self._conjunctions[key]

    def negated(self, node: Node) -> Node:
        """The node of what is not valid under a node."""
        if node is self.true:
            return self.false
        if node is self.false:
            return self.true
        if isinstance(node, Not):
            return node.inner
        if node.number not in self._negations:
            made = self._new(Not, node.path, node.resource)
            made.inner = node
            self._negations[node.number] = made
        return self._negations[node.number]

    def target(self, node: Node) -> Node:
        """The node that a ``$ref`` beside other keywords points to."""
        return self._resolved(node, node.keywords["$ref"], "$ref")

    def dynamic_target(self, node: Node, keyword: str) -> Node:
        """The node that a dynamic reference points to, where there is only one that it can be.

        Raises:
            GrammarError: Several schemas have the anchor.
        """
        ref = node.keywords[keyword]
        found = self._find(node, ref, keyword)
        anchor = "$recursiveAnchor" if keyword == "$recursiveRef" else "$dynamicAnchor"
        name = True if keyword == "$recursiveRef" else urldefrag(ref)[1]
        if isinstance(found[0], Mapping) and found[0].get(anchor) == name:
            holders = [schema for schema in _schemas(self._resource.root) if schema.get(anchor) == name]
            if len(holders) > 1:
                refuse(step(node.path, keyword), "a dynamic reference with several targets; use $ref")
        return self.node(*found)

    def _pointed(self, node: Node) -> Node:
        """Follows references that stand alone, to a schema that says something."""
        seen = {id(node.source)}
        while node.keywords.keys() == {"$ref"}:
            schema, path, resource = self._find(node, node.keywords["$ref"], "$ref")
            if id(schema) in seen or len(seen) > _MAX_REFERENCES:
                refuse(step(node.path, "$ref"), "the schema refers to itself without anything in between")
            known = self._nodes.get(id(schema))
            if known is not None or isinstance(schema, bool):
                return self.node(schema, path, resource)
            seen.add(id(schema))
            lowered = lower(schema, self.dialect, path) if isinstance(schema, Mapping) else None
            if lowered is None or lowered.keywords.keys() != {"$ref"}:
                return self.node(schema, path, resource)
            node = self._new(Node, path, resource)
            node.source, node.keywords = schema, lowered.keywords
        return node

    def _resolved(self, node: Node, ref: str, keyword: str) -> Node:
        return self.node(*self._find(node, ref, keyword))

    def _find(self, node: Node, ref: str, keyword: str) -> tuple[Any, str, Resource]:
        key = (id(node.resource), ref)
        if key not in self._found:
            self._found[key] = self._sought(node, ref, keyword)
        return self._found[key]

    def _sought(self, node: Node, ref: str, keyword: str) -> tuple[Any, str, Resource]:
        where = step(node.path, keyword)
        uri, fragment = urldefrag(ref)
        resource = node.resource
        if uri:
            absolute = urljoin(resource.uri, uri)
            if absolute != urldefrag(resource.uri)[0]:
                found = self._ids().get((absolute, ""))
                if found is None:
                    refuse(where, f"only references into the same schema (#/...) are supported, got {ref!r}")
                resource = found[2]
        if fragment and not fragment.startswith("/"):
            found = self._ids().get((resource.uri, fragment)) or self._ids().get(("", fragment))
            if found is None:
                refuse(where, f"{ref!r} points to nothing")
            return found
        found = _at(resource, fragment) or _at(self._resource, fragment)
        if found is None:
            refuse(where, f"{ref!r} points to nothing")
        return found

    def _ids(self) -> dict[tuple[str, str], tuple[Any, str, Resource]]:
        """All URIs and anchors of the document."""
        if self._index is None:
            self._index = {(self._resource.uri, ""): (self._resource.root, "$", self._resource)}
            self._collect(self._resource.root, "$", self._resource, self._index)
        return self._index

    def _collect(
        self,
        value: Any,
        path: str,
        resource: Resource,
        index: dict[tuple[str, str], tuple[Any, str, Resource]],
    ) -> None:
        if isinstance(value, list):
            for number, item in enumerate(value):
                self._collect(item, step(path, number), resource, index)
        if not isinstance(value, Mapping):
            return
        uri, fragment = urldefrag(self._id_of(value))
        if uri:
            resource = Resource(value, path, urljoin(resource.uri, uri))
            index.setdefault((resource.uri, ""), (value, path, resource))
        for name in (fragment, value.get("$anchor"), value.get("$dynamicAnchor")):
            if isinstance(name, str) and name:
                index.setdefault((resource.uri, name), (value, path, resource))
                index.setdefault(("", name), (value, path, resource))
        if not self.dialect.declared and isinstance(value.get("id"), str):
            index.setdefault((urljoin(resource.uri, value["id"]), ""), (value, path, resource))
        for key, inner in value.items():
            if key not in _NO_SCHEMAS:
                self._collect(inner, step(path, key), resource, index)


def _at(resource: Resource, pointer: str) -> tuple[Any, str, Resource] | None:
    """What a JSON pointer points to in a resource."""
    value, path = resource.root, resource.path
    for part in unquote(pointer).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value, path = value[int(key)], step(path, int(key))
        elif isinstance(value, Mapping) and key in value:
            value, path = value[key], step(path, key)
        else:
            return None
    return value, path, resource


def _schemas(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a document that may be schemas."""
    if isinstance(value, list):
        for item in value:
            yield from _schemas(item)
    elif isinstance(value, Mapping):
        yield value
        for key, inner in value.items():
            if key not in _NO_SCHEMAS:
                yield from _schemas(inner)
