"""Sets of code points as sorted inclusive ranges, and how GBNF and JSON spell them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

__all__ = [
    "ALPHABET",
    "Ranges",
    "complement",
    "contains",
    "gbnf_class",
    "gbnf_literal",
    "intersection",
    "json_text_of",
    "partition",
    "union",
]

Ranges = tuple[tuple[int, int], ...]

#: Every code point that a JSON string can hold: the Unicode scalar values.
ALPHABET: Ranges = ((0x0, 0xD7FF), (0xE000, 0x10FFFF))
#: What a JSON string may hold unescaped (RFC 8259, section 7), less the control character DEL.
_PLAIN: Ranges = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, 0x10FFFF))
_NOT_PLAIN: Ranges = ((0x0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F))
_SHORT_ESCAPES = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
#: Control characters without a short escape, by the first digit of their code.
_CONTROLS = [(row, [row * 16 + d for d in range(16) if row * 16 + d not in _SHORT_ESCAPES]) for row in (0, 1)]
_CONTROLS.append((7, [0x7F]))
_CLASS_ESCAPES = {
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
    0x5C: "\\\\",
    0x5D: "\\]",
    0x2D: "\\-",
    0x5E: "\\x5E",
}
_UNUSUAL = re.compile(r"[^ !#-\[\]-~]")
_LITERAL_ESCAPES = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\", 0x22: '\\"'}


def union(*sets: Iterable[tuple[int, int]]) -> Ranges:
    """All code points of the given sets, adjacent ranges joined."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(r for s in sets for r in s):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """The code points of the alphabet that are not in ``ranges``."""
    gaps, next_low = [], 0
    for low, high in union(ranges):
        if low > next_low:
            gaps.append((next_low, low - 1))
        next_low = high + 1
    if next_low <= 0x10FFFF:
        gaps.append((next_low, 0x10FFFF))
    return intersection(tuple(gaps), ALPHABET)


def intersection(a: Ranges, b: Ranges) -> Ranges:
    """The code points that are in both sets."""
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if low <= high:
            found.append((low, high))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def contains(ranges: Ranges, code_point: int) -> bool:
    """Whether a code point is in the set, whose ranges have to be sorted."""
    for low, high in ranges:
        if code_point <= high:
            return code_point >= low
    return False


def partition(sets: Iterable[Ranges]) -> list[Ranges]:
    """Splits the alphabet into the coarsest classes that tell the given sets apart."""
    distinct = list(dict.fromkeys(sets))
    cuts = {low for low, _ in ALPHABET} | {high + 1 for _, high in ALPHABET}
    for ranges in distinct:
        for low, high in ranges:
            cuts |= {low, high + 1}
    points = sorted(cuts)
    places = {point: index for index, point in enumerate(points)}
    marks = [0] * len(points)
    for number, ranges in enumerate(distinct):
        for low, high in ranges:
            for index in range(places[low], places[high + 1]):
                marks[index] |= 1 << number
    members: dict[int, list[tuple[int, int]]] = {}
    for index, (low, following) in enumerate(pairwise(points)):
        if contains(ALPHABET, low):
            members.setdefault(marks[index], []).append((low, following - 1))
    return [union(ranges) for ranges in members.values()]


def gbnf_literal(text: str) -> str:
    """A GBNF string literal.

    Raises:
        UnicodeEncodeError: When the text holds a lone surrogate, which has no UTF-8.
    """
    if text.isascii() and text.isprintable():
        if '"' not in text and "\\" not in text:
            return f'"{text}"'
        plain = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{plain}"'
    text.encode()
    return '"' + _UNUSUAL.sub(lambda found: _escape(ord(found[0]), _LITERAL_ESCAPES), text) + '"'


def gbnf_class(ranges: Ranges) -> str:
    """A GBNF character class; a single code point becomes a literal."""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return gbnf_literal(chr(ranges[0][0]))
    parts = []
    for low, high in ranges:
        parts.append(_escape(low, _CLASS_ESCAPES))
        if high > low:
            parts.append(("-" if high > low + 1 else "") + _escape(high, _CLASS_ESCAPES))
    return "[" + "".join(parts) + "]"


def _escape(code_point: int, special: dict[int, str]) -> str:
    if code_point in special:
        return special[code_point]
    if 0x20 <= code_point < 0x7F:
        return chr(code_point)
    if code_point < 0x100:
        return f"\\x{code_point:02X}"
    return f"\\u{code_point:04X}" if code_point < 0x10000 else f"\\U{code_point:08X}"


@lru_cache(maxsize=4096)
def json_text_of(ranges: Ranges) -> tuple[str, ...]:
    r"""GBNF alternatives for how one code point of the set is written inside a JSON string.

    Each code point has exactly one spelling: itself, else the short escape, else ``\u00xx``.
    """
    plain = intersection(ranges, _PLAIN)
    if plain == ranges:
        return (gbnf_class(plain),)
    escaped = _escaped(intersection(ranges, _NOT_PLAIN))
    return (gbnf_class(plain), *escaped) if plain else escaped


@lru_cache(maxsize=256)
def _escaped(ranges: Ranges) -> tuple[str, ...]:
    """GBNF alternatives for one code point of a set of those that have to be escaped."""
    alternatives = []
    short = union((ord(letter), ord(letter)) for cp, letter in _SHORT_ESCAPES.items() if contains(ranges, cp))
    if short:
        alternatives.append(_after(r"\\", short))
    for row, controls in _CONTROLS:
        digits = [code_point % 16 for code_point in controls if contains(ranges, code_point)]
        if digits:
            hexadecimal = union((ord(f"{digit:x}"), ord(f"{digit:x}")) for digit in digits)
            alternatives.append(_after(rf"\\u00{row}", hexadecimal))
    return tuple(alternatives)


def _after(prefix: str, ranges: Ranges) -> str:
    text = gbnf_class(ranges)
    return f'"{prefix}{text[1:]}' if text.startswith('"') else f'"{prefix}" {text}'
