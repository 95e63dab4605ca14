r"""Parser for the ``pattern`` keyword: regular expressions of JSON Schema (ECMA-262).

Only what is regular is accepted; the rest is refused by name. Where dialects differ, the meaning is one
that holds in all of them, so that what is generated also passes Python's ``re`` and pydantic: ``\d`` is
``[0-9]``, ``\w`` is ``[A-Za-z0-9_]``, ``\s`` is ASCII white space, while ``\D``, ``\W`` and ``[^\w]``
leave out everything beyond ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from llamacpp_core.grammar.charset import ALPHABET, Ranges, complement, intersection, union

__all__ = ["Alt", "Anchor", "Cat", "Chars", "Lookahead", "Node", "PatternError", "Repeat", "parse_pattern"]

_MAX_NESTING = 100
_MAX_COUNT = 2000


class PatternError(ValueError):
    """The pattern cannot be turned into a grammar; the message says why and where."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One code point of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Cat:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """One of several."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``item`` from ``low`` to ``high`` times; ``high`` None means without end."""

    item: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The begin (``^``) or the end (``$``) of the string."""

    at_end: bool


@dataclass(frozen=True, slots=True)
class Lookahead:
    """``(?=...)`` or, negated, ``(?!...)``."""

    item: Node
    negated: bool


Node = Chars | Cat | Alt | Repeat | Anchor | Lookahead

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
_NON_ASCII: Ranges = ((0x80, 0x10FFFF),)
#: White space in any dialect: ECMA-262, Python and Rust.
_ANY_SPACE: Ranges = (
    (0x09, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x180E, 0x180E),
    (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)  # fmt: skip
#: Each shorthand as (what it surely matches, what it may match in some dialect).
_SHORTHANDS: dict[str, tuple[Ranges, Ranges]] = {
    "d": (_DIGIT, union(_DIGIT, _NON_ASCII)),
    "w": (_WORD, union(_WORD, _NON_ASCII)),
    "s": (_SPACE, _ANY_SPACE),
}
for _name, (_sure, _perhaps) in list(_SHORTHANDS.items()):
    _SHORTHANDS[_name.upper()] = (complement(_perhaps), complement(_sure))
_DOT = complement(((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)))
_WIDE_DOT = complement(((0x0A, 0x0A),))
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D, "0": 0x00}
_REFUSED_ESCAPES = {
    "b": "word boundaries are not supported",
    "B": "word boundaries are not supported",
    "A": "\\A is not part of JSON Schema patterns; write ^",
    "Z": "\\Z is not part of JSON Schema patterns; write $",
    "z": "\\z is not part of JSON Schema patterns; write $",
    "k": "backreferences are not supported",
    "p": "Unicode properties are not supported; list the characters in a class",
    "P": "Unicode properties are not supported; list the characters in a class",
    "c": "control escapes are not supported; write \\u00XX",
}
_QUANTIFIER = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_GROUP = re.compile(r"\((?:\?(?::|P?<([A-Za-z_]\w*)>))?")


def parse_pattern(text: str, *, wide: bool = False) -> Node:
    """Parses a pattern.

    Args:
        text: A regular expression as JSON Schema defines them.
        wide: Where dialects differ, whatever matches in one of them, not what matches in all.

    Returns:
        Its syntax tree.

    Raises:
        PatternError: When it is malformed or not supported.
    """
    parser = _PatternParser(text, wide)
    node = parser.alternatives(0)
    if parser.pos < len(text):
        parser.fail("')' without a matching '('")
    return node


class _PatternParser:
    def __init__(self, text: str, wide: bool) -> None:
        self.text = text
        self.wide = wide
        self.pos = 0

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        where = self.pos if at is None else at
        raise PatternError(f"{reason} (at character {where} of {self.text!r})")

    def peek(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def alternatives(self, depth: int) -> Node:
        if depth > _MAX_NESTING:
            self.fail(f"groups are nested more than {_MAX_NESTING} deep")
        branches = [self.sequence(depth)]
        while self.peek() == "|":
            self.pos += 1
            branches.append(self.sequence(depth))
        return branches[0] if len(branches) == 1 else Alt(tuple(branches))

    def sequence(self, depth: int) -> Node:
        items: list[Node] = []
        while (c := self.peek()) and c not in "|)":
            start = self.pos
            item = self.quantified(self.atom(depth), start)
            items.append(item)
        return items[0] if len(items) == 1 else Cat(tuple(items))

    def atom(self, depth: int) -> Node:
        c = self.peek()
        if c == "(":
            return self.group(depth)
        if c == "[":
            return Chars(self.char_class())
        if c == "\\":
            start = self.pos
            return Chars(self.checked(self.escape()[self.wide], start))
        if c in "*+?":
            self.fail(f"nothing to repeat before {c!r}")
        if c == "{" and _QUANTIFIER.match(self.text, self.pos):
            self.fail("nothing to repeat before '{'")
        self.pos += 1
        if c == "$" and self.wide:
            # In some dialects it stands before a line break at the end too.
            return Cat((Repeat(Chars(((0x0A, 0x0A),)), 0, 1), Anchor(True)))
        if c in "^$":
            return Anchor(c == "$")
        if c == ".":
            return Chars(_WIDE_DOT if self.wide else _DOT)
        return Chars(self.checked(((ord(c), ord(c)),), self.pos - 1))

    def checked(self, ranges: Ranges, start: int) -> Ranges:
        if any(low >= 0xD800 and high <= 0xDFFF for low, high in ranges):
            self.fail("surrogates cannot be matched", start)
        return ranges

    def group(self, depth: int) -> Node:
        start = self.pos
        look = self.text[start : start + 3]
        if look in ("(?=", "(?!"):
            self.pos += 3
        else:
            match = _GROUP.match(self.text, start)
            assert match is not None
            self.pos = match.end()
            if self.peek() == "?":
                kind = self.text[start : start + 4]
                self.fail(
                    f"{'lookbehind' if kind[2:3] == '<' else f'the group {kind!r}'} is not supported", start
                )
        if look == "(?!":
            self.wide = not self.wide
        node = self.alternatives(depth + 1)
        if look == "(?!":
            self.wide = not self.wide
        if self.peek() != ")":
            self.fail("'(' is never closed", start)
        self.pos += 1
        return Lookahead(node, look == "(?!") if look in ("(?=", "(?!") else node

    def quantified(self, item: Node, start: int) -> Node:
        c = self.peek()
        match = _QUANTIFIER.match(self.text, self.pos)
        if c and c in "*+?":
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[c]
            self.pos += 1
        elif match is not None:
            low = int(match[1])
            high = low if match[2] is None else int(match[3]) if match[3] else None
            self.pos = match.end()
        elif re.compile(r"\{,\d+\}").match(self.text, self.pos):
            self.fail("'{,n}' means different things in different dialects; write '{0,n}'")
        else:
            return item
        if self.text[start] in "^$" or isinstance(item, Lookahead):
            self.fail("an anchor or lookahead cannot be repeated", start)
        if low > _MAX_COUNT or (high or 0) > _MAX_COUNT:
            self.fail(f"repetition counts above {_MAX_COUNT} are not supported", start)
        if high is not None and high < low:
            self.fail("the repetition has its bounds in the wrong order", start)
        if self.peek() == "?":
            self.pos += 1
        if (c := self.peek()) and (c in "*+?" or _QUANTIFIER.match(self.text, self.pos)):
            self.fail("a quantifier cannot follow a quantifier")
        return Repeat(item, low, high)

    def escape(self) -> tuple[Ranges, Ranges]:
        start = self.pos
        c = self.text[start + 1 : start + 2]
        self.pos += 2
        if not c:
            self.fail("the pattern ends in a backslash", start)
        if c in _SHORTHANDS:
            return _SHORTHANDS[c]
        if c in "xu":
            code = self.hexadecimal(c, start)
        elif c == "0" and self.peek().isdigit():
            self.fail("octal escapes are not supported; write \\xHH", start)
        elif c in _CONTROLS:
            code = _CONTROLS[c]
        elif c in _REFUSED_ESCAPES:
            self.fail(_REFUSED_ESCAPES[c], start)
        elif c.isdigit():
            self.fail("backreferences are not supported", start)
        elif c.isalnum():
            self.fail(f"unknown escape '\\{c}'", start)
        else:
            code = ord(c)
        single = ((code, code),)
        return single, single

    def hexadecimal(self, kind: str, start: int) -> int:
        expression = r"[0-9a-fA-F]{2}" if kind == "x" else r"[0-9a-fA-F]{4}|\{([0-9a-fA-F]{1,6})\}"
        match = re.compile(expression).match(self.text, self.pos)
        if match is None:
            self.fail(f"'\\{kind}' needs hexadecimal digits", start)
        self.pos = match.end()
        code = int(match[0].strip("{}"), 16)
        if code > 0x10FFFF:
            self.fail("the code point is beyond Unicode", start)
        return code

    def char_class(self) -> Ranges:
        start = self.pos
        self.pos += 1
        negated = self.peek() == "^"
        self.pos += negated
        if self.peek() == "]":
            self.fail("an empty character class means different things in different dialects", start)
        sure: list[Ranges] = []
        perhaps: list[Ranges] = []
        while self.peek() != "]":
            low, may = self.class_item(start)
            if self.peek() == "-" and self.text[self.pos + 1 : self.pos + 2] not in ("]", ""):
                at = self.pos
                self.pos += 1
                high, _ = self.class_item(start)
                if len(low) != 1 or low[0][0] != low[0][1] or len(high) != 1 or high[0][0] != high[0][1]:
                    self.fail("a range needs a single character on each side", at)
                if low[0][0] > high[0][0]:
                    self.fail("the range is in the wrong order", at)
                low = may = ((low[0][0], high[0][0]),)
            sure.append(low)
            perhaps.append(may)
        self.pos += 1
        if negated:
            return complement(union(*(sure if self.wide else perhaps)))
        return intersection(union(*(perhaps if self.wide else sure)), ALPHABET)

    def class_item(self, start: int) -> tuple[Ranges, Ranges]:
        c = self.peek()
        if not c:
            self.fail("the character class is never closed", start)
        if c == "\\":
            if self.text[self.pos + 1 : self.pos + 2] == "b":
                self.pos += 2
                return ((8, 8),), ((8, 8),)
            return self.escape()
        self.pos += 1
        return ((ord(c), ord(c)),), ((ord(c), ord(c)),)
