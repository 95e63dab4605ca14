"""References and in-place applicators resolved: a schema as a list of plain alternatives.

A flat schema has no ``$ref``, ``allOf``, ``anyOf``, ``oneOf`` or ``nullable``. Schemas inside it (of
properties and items) stay as they are; where two apply to the same place they are joined under ``allOf``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from llamacpp_core.grammar.keywords import ANNOTATIONS, TYPES, check_keywords, refuse, step

__all__ = ["EXCLUDED", "Document", "Flat", "all_of", "canonical", "exclusive", "merge"]

Flat = dict[str, Any]

_MAX_ALTERNATIVES = 256
#: Key of a flat schema for the alternatives that its values must not match (from oneOf).
EXCLUDED = "not valid under"
_LISTS = ("pattern", "format", "multipleOf", EXCLUDED)


def canonical(value: Any) -> str:
    """A text that is equal for equal JSON values (1 and 1.0 are equal, 1 and true are not)."""
    return json.dumps(_normal(value), sort_keys=True, ensure_ascii=True)


def _normal(value: Any) -> Any:
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return {key: _normal(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def all_of(a: Any, b: Any) -> Any:
    """One schema for a place where two apply."""
    if a is False or b is False:
        return False
    if a is True or a == {} or a == b:
        return b
    if b is True or b == {}:
        return a
    parts = [
        part for schema in (a, b) for part in (schema["allOf"] if set(schema) == {"allOf"} else [schema])
    ]
    unique = list({canonical(part): part for part in parts}.values())
    return {"allOf": unique} if len(unique) > 1 else unique[0]


class Document:
    """A schema together with what its references point to.

    Args:
        root: The whole schema.
    """

    def __init__(self, root: Any) -> None:
        self.root = root

    def resolve(self, ref: str, path: str) -> tuple[Any, str]:
        """The schema a reference points to, and its path.

        Raises:
            GrammarError: When the reference leaves the document or points nowhere.
        """
        where = step(path, "$ref")
        if not (ref == "#" or ref.startswith("#/")):
            refuse(where, f"only references into the same schema (#/...) are supported, got {ref!r}")
        node, target = self.root, "$"
        for part in unquote(ref[2:]).split("/") if len(ref) > 1 else []:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node, target = node[int(key)], step(target, int(key))
            elif isinstance(node, Mapping) and key in node:
                node, target = node[key], step(target, key)
            else:
                refuse(where, f"{ref!r} points to nothing")
        return node, target

    def flatten(self, schema: Any, path: str, chain: tuple[str, ...] = ()) -> list[Flat]:
        """All plain alternatives of a schema; the list is empty when nothing can be valid.

        Args:
            schema: Any schema of this document.
            path: Its path, for errors.
            chain: References passed on the way here without reading anything.
        """
        check_keywords(schema, path)
        if isinstance(schema, bool):
            return [{}] if schema else []
        results = [_own_keywords(schema)]
        if "$ref" in schema:
            ref = schema["$ref"]
            if ref in chain:
                refuse(step(path, "$ref"), "the schema refers to itself without anything in between")
            target, where = self.resolve(ref, path)
            results = _product(results, self.flatten(target, where, (*chain, ref)), path)
        for index, part in enumerate(schema.get("allOf", [])):
            where = step(step(path, "allOf"), index)
            results = _product(results, self.flatten(part, where, chain), path)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                where = step(path, name)
                branches = [self.flatten(part, step(where, i), chain) for i, part in enumerate(schema[name])]
                if name == "oneOf":
                    branches = exclusive(branches)
                results = _product(results, [flat for branch in branches for flat in branch], path)
        if schema.get("unevaluatedProperties") is False:
            results = [
                r if "additionalProperties" in r else {**r, "additionalProperties": False} for r in results
            ]
        elif schema.get("unevaluatedProperties") not in (None, True):
            refuse(step(path, "unevaluatedProperties"), "only true and false are supported")
        if schema.get("nullable"):
            results.append({"type": ["null"]})
        return results


def exclusive(branches: list[list[Flat]]) -> list[list[Flat]]:
    """The branches of a oneOf, each flat schema with those of the other branches noted as excluded."""
    marked = []
    for index, branch in enumerate(branches):
        others = [flat for i, other in enumerate(branches) if i != index for flat in other]
        marked.append([{**flat, EXCLUDED: [*flat.get(EXCLUDED, []), *others]} for flat in branch])
    return marked


def _own_keywords(schema: Mapping[str, Any]) -> Flat:
    flat: Flat = {}
    for key, value in schema.items():
        if key in ANNOTATIONS or key in (
            "$ref",
            "allOf",
            "anyOf",
            "oneOf",
            "nullable",
            "unevaluatedProperties",
            "$id",
        ):
            continue
        if key.startswith("x-") or key == "patternProperties":
            continue
        if key == "type":
            flat[key] = list(dict.fromkeys(value if isinstance(value, list) else [value]))
        elif key == "const":
            flat["enum"] = _same_values(flat["enum"], [value]) if "enum" in flat else [value]
        elif key == "enum":
            flat["enum"] = _same_values(value, flat["enum"]) if "enum" in flat else value
        elif key in _LISTS:
            flat[key] = [value]
        elif key == "required":
            flat[key] = list(dict.fromkeys(value))
        else:
            flat[key] = value
    return flat


def _product(left: list[Flat], right: list[Flat], path: str) -> list[Flat]:
    if len(left) * len(right) > _MAX_ALTERNATIVES:
        refuse(path, f"the combinations of anyOf, oneOf and allOf are more than {_MAX_ALTERNATIVES}")
    merged = (merge(a, b) for a in left for b in right)
    unique = {repr(flat): flat for flat in merged if flat is not None}
    return list(unique.values())


def _same_values(a: list[Any], b: list[Any]) -> list[Any]:
    wanted = {canonical(value) for value in b}
    return [value for value in a if canonical(value) in wanted]


def _joined(a: list[Any], b: list[Any]) -> list[Any]:
    return a + [item for item in b if item not in a]


_MERGERS: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys((*_LISTS, "required"), _joined),
    "uniqueItems": lambda a, b: a or b,
    "enum": _same_values,
    "propertyNames": all_of,
    "additionalProperties": all_of,
}


def merge(a: Flat, b: Flat) -> Flat | None:
    """A flat schema for values that are valid under both; None when there can be none."""
    merged = {**a, **b}
    for key in a.keys() & b.keys():
        if key in _MERGERS:
            merged[key] = _MERGERS[key](a[key], b[key])
    if "type" in a and "type" in b:
        merged["type"] = _common_types(a["type"], b["type"])
    if "properties" in merged:
        merged["properties"] = _merge_properties(a, b)
    if "prefixItems" in merged or "items" in merged:
        _merge_items(a, b, merged)
    return None if merged.get("type") == [] or merged.get("enum") == [] else merged


def _common_types(a: list[str], b: list[str]) -> list[str]:
    def has(types: list[str], name: str) -> bool:
        return name in types or (name == "integer" and "number" in types)

    common = [name for name in TYPES if has(a, name) and has(b, name)]
    return [name for name in common if not (name == "integer" and "number" in common)]


def _merge_properties(a: Flat, b: Flat) -> dict[str, Any]:
    mine, theirs = a.get("properties", {}), b.get("properties", {})
    names = list(dict.fromkeys([*mine, *theirs]))
    return {
        name: all_of(
            mine.get(name, a.get("additionalProperties", True)),
            theirs.get(name, b.get("additionalProperties", True)),
        )
        for name in names
    }


def _merge_items(a: Flat, b: Flat, merged: Flat) -> None:
    size = max(len(a.get("prefixItems", [])), len(b.get("prefixItems", [])))

    def item(flat: Flat, index: int) -> Any:
        prefix = flat.get("prefixItems", [])
        return prefix[index] if index < len(prefix) else flat.get("items", True)

    if size:
        merged["prefixItems"] = [all_of(item(a, i), item(b, i)) for i in range(size)]
    if "items" in a or "items" in b:
        merged["items"] = all_of(a.get("items", True), b.get("items", True))
