"""What the keywords of a schema mean in its draft, said in the words of draft 2020-12."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from llamacpp_core.grammar.schema.keywords import ANNOTATIONS, check_value, refuse, step

__all__ = ["Dialect", "Lowered", "dialect_of", "lower"]


class Dialect(NamedTuple):
    """A version of JSON Schema.

    Attributes:
        year: The year of the draft: 2013 (4), 2016 (6), 2017 (7), 2019, 2020; OpenAPI 3.0 is like 2013.
        declared: The schema says that it is in this dialect.
        openapi: It is the dialect of OpenAPI 3.0.
    """

    year: int
    declared: bool
    openapi: bool = False

    @property
    def refs_alone(self) -> bool:
        """Whether the keywords beside a reference mean nothing."""
        return self.declared and self.year < 2019

    @property
    def id_keyword(self) -> str:
        """The keyword with which a schema gives itself a URI."""
        return "id" if self.year < 2016 else "$id"


class Lowered(NamedTuple):
    """The keywords of one schema that constrain values.

    Attributes:
        keywords: They in the words of draft 2020-12.
        foreign: Those that the schema's own dialect does not know: they are kept to, but nothing that depends
            on their being broken is.
    """

    keywords: dict[str, Any]
    foreign: frozenset[str]


#: Keywords that other words are put for, in some dialect or beside some other keyword.
_REWRITTEN = frozenset(
    {
        "exclusiveMinimum", "exclusiveMaximum", "items", "additionalItems", "dependencies", "nullable",
        "then", "else",
    }
)  # fmt: skip
_NONE: frozenset[str] = frozenset()
_DRAFTS = {"draft-03": 2013, "draft-04": 2013, "draft-05": 2013, "draft-06": 2016, "draft-07": 2017}
_SINCE = {
    **dict.fromkeys(("const", "contains", "propertyNames"), 2016),
    **dict.fromkeys(("if", "then", "else"), 2017),
    **dict.fromkeys(("dependentRequired", "dependentSchemas", "minContains", "maxContains"), 2019),
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties"), 2019),
    **dict.fromkeys(("prefixItems", "$dynamicRef"), 2020),
}
_FORMATS_SINCE = {
    **dict.fromkeys(("date", "time", "iri", "idn-email"), 2017),
    **dict.fromkeys(("uuid", "duration"), 2019),
}
_UNTIL = {"dependencies": 2018, "additionalItems": 2019, "$recursiveRef": 2019}


@lru_cache(maxsize=16)
def _foreign_to(year: int) -> frozenset[str]:
    """The keywords that the draft of a year does not know."""
    later = [key for key, since in _SINCE.items() if year < since]
    return frozenset([*later, *(key for key, until in _UNTIL.items() if year > until)])


def dialect_of(root: Any) -> Dialect:
    """The dialect of a schema: as it declares, else draft 2020-12, or OpenAPI 3.0 where it has its frame."""
    named = root.get("$schema") if isinstance(root, Mapping) else None
    if isinstance(named, str):
        if "openapis.org" in named and "3.0" in named:
            return Dialect(2013, True, openapi=True)
        for name, year in _DRAFTS.items():
            if name in named:
                return Dialect(year, True)
        found = re.search(r"draft/(20\d\d)-", named)
        return Dialect(2019 if found is not None and found[1] == "2019" else 2020, True)
    if isinstance(root, Mapping):
        version = root.get("openapi")
        framed = isinstance(root.get("components"), Mapping) and "schemas" in root["components"]
        if (isinstance(version, str) and version.startswith("3.0")) or (framed and version is None):
            return Dialect(2013, True, openapi=True)
    return Dialect(2020, False)


def lower(schema: Mapping[str, Any], dialect: Dialect, path: str) -> Lowered:
    """The constraints of one schema in the words of draft 2020-12.

    Only the schema itself is looked at, not the schemas inside it.

    Raises:
        GrammarError: Naming a keyword with a value of the wrong kind, or a misspelt one.
    """
    if isinstance(schema.get("$ref"), str) and dialect.refs_alone:
        return Lowered({"$ref": schema["$ref"]}, _NONE)
    found: dict[str, Any] = {}
    foreign: set[str] = set()
    unknown = _foreign_to(dialect.year)
    for key, value in schema.items():
        if key in ANNOTATIONS:
            continue
        is_foreign = key in unknown
        if key == "format" and isinstance(value, str):
            is_foreign = dialect.year < _FORMATS_SINCE.get(value, 0)
        if check_value(key, value, path, strict=not is_foreign):
            found[key] = value
            if is_foreign and dialect.declared:
                foreign.add(key)
    nullable = False
    if not _REWRITTEN.isdisjoint(found):
        _lower_bounds(found, dialect, path)
        _lower_items(found, path)
        _lower_dependencies(found, foreign)
        nullable = found.pop("nullable", False)
        if "if" not in found:
            found.pop("then", None)
            found.pop("else", None)
    if "type" in found:
        names = found["type"] if isinstance(found["type"], list) else [found["type"]]
        found["type"] = [*names, "null"] if nullable and dialect.openapi and "null" not in names else names
    return Lowered(found, frozenset(foreign) if foreign else _NONE)


def _lower_bounds(found: dict[str, Any], dialect: Dialect, path: str) -> None:
    for key, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        value = found.get(key)
        if not isinstance(value, bool):
            continue
        if dialect.declared and dialect.year > 2013:
            refuse(step(path, key), f"expected a number, got {value!r}; true and false belong to draft 4")
        del found[key]
        if value and plain in found:
            found[key] = found.pop(plain)


def _lower_items(found: dict[str, Any], path: str) -> None:
    others = found.pop("additionalItems", None)
    if isinstance(found.get("items"), list):
        if "prefixItems" in found:
            refuse(step(path, "items"), "expected a schema: prefixItems says what comes first")
        prefix = found.pop("items")
        if prefix:
            found["prefixItems"] = prefix
        if others is not None:
            found["items"] = others


def _lower_dependencies(found: dict[str, Any], foreign: set[str]) -> None:
    dependencies = found.pop("dependencies", None)
    if not dependencies:
        return
    for name, value in dependencies.items():
        key = "dependentRequired" if isinstance(value, list) else "dependentSchemas"
        known = found.get(key, {})
        found[key] = {**known, name: value}
        if "dependencies" in foreign:
            foreign.add(key)
