"""Whether a given JSON value is valid under a schema, for enum values and for telling alternatives apart."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llamacpp_core.grammar.flatten import EXCLUDED, Document, Flat, canonical
from llamacpp_core.grammar.formats import NUMBER_FORMATS, PATTERNS
from llamacpp_core.grammar.strings import pattern_dfa

__all__ = ["is_valid", "never_valid", "type_of", "types_of"]

_TYPE_KEYWORDS = {
    "object": "properties required additionalProperties propertyNames minProperties maxProperties",
    "array": "items prefixItems minItems maxItems uniqueItems",
    "string": "pattern minLength maxLength",
    "number": "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
}
_KEYWORD_TYPES = {keyword: kind for kind, text in _TYPE_KEYWORDS.items() for keyword in text.split()}
_MAX_DEPTH = 100


def type_of(value: Any) -> str:
    """The JSON type of a value; a number without fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "integer" if value == int(value) else "number"
    return "object" if isinstance(value, Mapping) else "array"


def types_of(flat: Flat) -> list[str] | None:
    """The types generated for a flat schema: as given, else those its keywords speak of, else None."""
    if "type" in flat:
        return list(flat["type"])
    kinds = [_KEYWORD_TYPES[key] for key in flat if key in _KEYWORD_TYPES]
    kinds += ["number" if name in NUMBER_FORMATS else "string" for name in flat.get("format", [])]
    return list(dict.fromkeys(kinds)) or None


def is_valid(value: Any, flat: Flat, document: Document, path: str, depth: int = 0) -> bool:
    """Whether a value is valid under a flat schema."""
    kind = type_of(value)
    if "type" in flat and kind not in flat["type"] and not (kind == "integer" and "number" in flat["type"]):
        return False
    if "enum" in flat and canonical(value) not in {canonical(v) for v in flat["enum"]}:
        return False
    if any(is_valid(value, other, document, path, depth + 1) for other in flat.get(EXCLUDED, [])):
        return False
    if kind in ("integer", "number"):
        return _number_valid(value, flat)
    if kind == "string":
        return _string_valid(value, flat)

    def nested(part: Any, schema: Any) -> bool:
        if depth > _MAX_DEPTH:
            return False
        return any(is_valid(part, f, document, path, depth + 1) for f in document.flatten(schema, path))

    if kind == "array":
        prefix, rest = flat.get("prefixItems", []), flat.get("items", True)
        return (
            flat.get("minItems", 0) <= len(value) <= flat.get("maxItems", len(value))
            and not (flat.get("uniqueItems") and len({canonical(v) for v in value}) < len(value))
            and all(nested(v, prefix[i] if i < len(prefix) else rest) for i, v in enumerate(value))
        )
    if kind == "object":
        known, extra = flat.get("properties", {}), flat.get("additionalProperties", True)
        return (
            flat.get("minProperties", 0) <= len(value) <= flat.get("maxProperties", len(value))
            and all(name in value for name in flat.get("required", []))
            and all(nested(name, flat.get("propertyNames", True)) for name in value)
            and all(nested(v, known.get(name, extra)) for name, v in value.items())
        )
    return True


def _number_valid(value: float, flat: Flat) -> bool:
    exact = Decimal(str(value))

    def bound(key: str) -> Decimal:
        return Decimal(str(flat[key]))

    return not (
        ("minimum" in flat and exact < bound("minimum"))
        or ("maximum" in flat and exact > bound("maximum"))
        or ("exclusiveMinimum" in flat and exact <= bound("exclusiveMinimum"))
        or ("exclusiveMaximum" in flat and exact >= bound("exclusiveMaximum"))
        or any(exact % Decimal(str(factor)) for factor in flat.get("multipleOf", []))
    )


def _string_valid(value: str, flat: Flat) -> bool:
    formats = [PATTERNS[name] for name in flat.get("format", []) if name in PATTERNS]
    return flat.get("minLength", 0) <= len(value) <= flat.get("maxLength", len(value)) and all(
        pattern_dfa(pattern).accepts(value) for pattern in [*flat.get("pattern", []), *formats]
    )


def never_valid(made: Flat, other: Flat, document: Document, path: str) -> bool:
    """Whether nothing made for ``made`` can be valid under ``other``; False also when it cannot be told."""
    made = {key: value for key, value in made.items() if key != EXCLUDED}
    if "enum" in made:
        return not any(
            is_valid(v, made, document, path) and is_valid(v, other, document, path) for v in made["enum"]
        )
    if "enum" in other:
        return not any(is_valid(v, made, document, path) for v in other["enum"])
    kinds = types_of(made)
    if kinds is None or "type" not in other:
        shared = set(kinds or other.get("type", ["any"]))
    else:
        shared = {k for k in kinds if k in other["type"] or (k == "integer" and "number" in other["type"])}
        shared |= {k for k in kinds if k == "number" and "integer" in other["type"]}
    if not shared:
        return True
    if shared <= {"number", "integer"}:
        return _apart(made, other) or _apart(other, made)
    if shared == {"object"}:
        return _objects_apart(made, other, document, path)
    return False


def _apart(a: Flat, b: Flat) -> bool:
    """Whether all numbers of ``a`` lie below those of ``b``."""
    tops = [(Decimal(str(a[key])), key != "maximum") for key in ("maximum", "exclusiveMaximum") if key in a]
    bottoms = [
        (Decimal(str(b[key])), key != "minimum") for key in ("minimum", "exclusiveMinimum") if key in b
    ]
    return any(
        top < bottom or (top == bottom and (open_a or open_b))
        for top, open_a in tops
        for bottom, open_b in bottoms
    )


def _objects_apart(made: Flat, other: Flat, document: Document, path: str) -> bool:
    mine, theirs = made.get("properties", {}), other.get("properties", {})
    required = made.get("required", [])
    closed = made.get("additionalProperties", False) is False and bool(mine)
    possible = {*mine, *required}
    if closed and any(name not in possible for name in other.get("required", [])):
        return True
    if other.get("additionalProperties", True) is False and any(name not in theirs for name in required):
        return True
    for name in required:
        if name in mine and name in theirs:
            a, b = document.flatten(mine[name], path), document.flatten(theirs[name], path)
            if all(not _nested_object(x, y) and never_valid(x, y, document, path) for x in a for y in b):
                return True
    return False


def _nested_object(a: Flat, b: Flat) -> bool:
    """Both may be objects: not looked into, so that recursive schemas end."""
    return all("object" in (types_of(flat) or ["object"]) and "enum" not in flat for flat in (a, b))
