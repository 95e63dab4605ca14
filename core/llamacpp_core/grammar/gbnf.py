"""Parser and validator of GBNF, the grammar language of llama.cpp.

It accepts what ``llama_grammar_parser`` of llama.cpp accepts, expands repetitions by the same rules, and
adds what the native side leaves out: positions in error messages, and a refusal where llama.cpp would
misread the text without a word, run out of memory or never return:

* a rule that is defined twice (the first definition would be lost),
* ``{m,n}`` with ``n < m`` (endless expansion) or with ``n`` above 2000 (would be unbounded),
* left recursion hidden by rules that can be empty (endless expansion while sampling),
* text, nesting and expansions beyond the limits below.

Source of the language: ``src/llama-grammar.cpp`` and ``grammars/README.md`` of llama.cpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.elements import (
    MAX_GRAMMAR_BYTES,
    MAX_REPETITIONS,
    MAX_RULES,
    Alternatives,
    Char,
    Element,
    Grammar,
    Ref,
    Token,
    fail_at,
)
from llamacpp_core.grammar.recursion import check_recursion

__all__ = [
    "MAX_GRAMMAR_BYTES",
    "MAX_NESTING",
    "MAX_REPETITIONS",
    "Char",
    "Element",
    "Grammar",
    "Ref",
    "Token",
    "parse_gbnf",
]

#: Deepest nesting of parentheses; llama.cpp's parser is recursive and overflows its stack on more.
MAX_NESTING = 500
_MAX_ELEMENTS = 1_000_000
_MAX_CODE_POINT = 0x10FFFF
_UINT64_MAX = (1 << 64) - 1

_INLINE_SPACE = re.compile(r"(?:[ \t]+|#[^\r\n\0]*)*")
_ANY_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\r\n\0]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_DIGITS = re.compile(r"[0-9]+")
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}


def parse_gbnf(text: str, *, root: str = "root") -> Grammar:
    """Parses and validates GBNF text.

    Args:
        text: The grammar.
        root: Name of the start rule.

    Returns:
        The parsed grammar.

    Raises:
        GrammarError: When the grammar cannot be used; the message has line, column and an excerpt.
    """
    return _GbnfParser(text, root).parse()


@dataclass(slots=True)
class _Frame:
    """A rule, or a group inside one, that is being read."""

    rule: str
    base: str
    position: int
    symbols_before: int
    alternatives: Alternatives = field(default_factory=lambda: [[]])
    last_start: int = 0
    n_prev_rules: int = 1


class _GbnfParser:
    def __init__(self, text: str, root: str) -> None:
        _check_text(text)
        self.text = text
        self.src = text + "\0\0"
        self.root = root
        self.symbols: dict[str, int] = {}
        self.rules: dict[str, Alternatives] = {}
        self.defined_at: dict[str, int] = {}
        self.used_at: dict[str, int] = {}
        self.n_elements = 0
        self.needs_vocabulary = False

    def fail(self, position: int, reason: str) -> NoReturn:
        fail_at(self.text, position, reason)

    def parse(self) -> Grammar:
        pos = self._space(0, True)
        while self.src[pos] != "\0":
            pos = self._parse_rule(pos)
        if not self.rules:
            self.fail(0, "the grammar has no rules")
        for name, where in self.used_at.items():
            if name not in self.rules:
                self.fail(where, f"rule {name!r} is used but never defined")
        if self.root not in self.rules:
            self.fail(0, f"the grammar does not define the start rule {self.root!r}")
        culprit = check_recursion(self.rules, self.root)
        if culprit is not None:
            name, reason = culprit
            self.fail(self.defined_at[name.partition("_")[0]], reason)
        return Grammar(self.text, self.rules, self.root, self.needs_vocabulary)

    def _space(self, pos: int, newline_ok: bool) -> int:
        match = (_ANY_SPACE if newline_ok else _INLINE_SPACE).match(self.src, pos)
        return match.end() if match else pos

    def _parse_rule(self, pos: int) -> int:
        match = _NAME.match(self.src, pos)
        if match is None:
            self.fail(pos, "expected a rule name (letters, digits and '-')")
        name = match[0]
        if name in self.rules:
            self.fail(pos, f"rule {name!r} is defined twice")
        self.symbols.setdefault(name, len(self.symbols))
        self.defined_at[name] = pos
        pos = self._space(match.end(), False)
        if not self.src.startswith("::=", pos):
            self.fail(pos, f"expected '::=' after the rule name {name!r}")
        pos = self._parse_body(self._space(pos + 3, True), _Frame(name, name, pos, 0))
        if self.src.startswith("\r\n", pos):
            pos += 2
        elif self.src[pos] in "\r\n":
            pos += 1
        elif self.src[pos] == ")":
            self.fail(pos, "')' without a matching '('")
        elif self.src[pos] != "\0":
            self.fail(pos, f"unexpected {self.src[pos]!r}: expected a symbol, a newline or the end")
        return self._space(pos, True)

    def _parse_body(self, pos: int, frame: _Frame) -> int:
        """Reads alternatives up to the end of the rule, with a stack of frames instead of recursion."""
        stack: list[_Frame] = []
        src = self.src
        while True:
            c = src[pos]
            nested = bool(stack)
            if c == "(":
                if len(stack) >= MAX_NESTING:
                    self.fail(pos, f"parentheses are nested more than {MAX_NESTING} deep")
                n_before = len(self.symbols)
                stack.append(frame)
                frame = _Frame(self._new_symbol(frame.base, pos), frame.base, pos, n_before)
                pos = self._space(pos + 1, True)
            elif c == ")" and nested:
                self._define(frame)
                inner, frame = frame, stack.pop()
                self._start_item(frame)
                frame.n_prev_rules = max(1, len(self.symbols) - inner.symbols_before)
                self._append(frame, Ref(inner.rule), pos)
                pos = self._space(pos + 1, bool(stack))
            elif c == "|":
                frame.alternatives.append([])
                self._start_item(frame)
                pos = self._space(pos + 1, True)
            elif c in "*+?{":
                pos = self._parse_repetition(pos, frame, nested)
            elif c in '"[.<!' or _NAME.match(c):
                pos = self._space(self._parse_item(pos, frame), nested)
            elif nested:
                reason = "'(' is never closed" if c == "\0" else f"unexpected {c!r} inside parentheses"
                self.fail(frame.position if c == "\0" else pos, reason)
            else:
                self._define(frame)
                return pos

    def _parse_item(self, pos: int, frame: _Frame) -> int:
        """Reads one terminal or rule name; returns the position after it."""
        c = self.src[pos]
        self._start_item(frame)
        if c == '"':
            return self._parse_literal(pos, frame)
        if c == "[":
            return self._parse_class(pos, frame)
        if c == ".":
            self._append(frame, Char(((0, _MAX_CODE_POINT),)), pos)
            return pos + 1
        if c in "<!":
            return self._parse_token(pos, frame)
        match = _NAME.match(self.src, pos)
        assert match is not None
        self.symbols.setdefault(match[0], len(self.symbols))
        self.used_at.setdefault(match[0], pos)
        self._append(frame, Ref(match[0]), pos)
        return match.end()

    def _parse_literal(self, pos: int, frame: _Frame) -> int:
        start = pos
        pos += 1
        while self.src[pos] != '"':
            if self.src[pos] == "\0":
                self.fail(start, "the string literal is never closed")
            value, pos = self._parse_char(pos)
            self._append(frame, Char(((value, value),)), pos)
        return pos + 1

    def _parse_class(self, pos: int, frame: _Frame) -> int:
        start = pos
        negated = self.src[pos + 1] == "^"
        pos += 2 if negated else 1
        ranges: list[tuple[int, int]] = []
        while self.src[pos] != "]":
            if self.src[pos] == "\0":
                self.fail(start, "the character class is never closed")
            low, pos = self._parse_char(pos)
            high = low
            if self.src[pos] == "-" and self.src[pos + 1] != "]":
                if self.src[pos + 1] == "\0":
                    self.fail(start, "the character class is never closed")
                high, pos = self._parse_char(pos + 1)
            ranges.append((low, high))
        # An empty class is an empty sequence to llama.cpp, negated or not.
        if ranges:
            self._append(frame, Char(tuple(ranges), negated), pos)
        return pos + 1

    def _parse_char(self, pos: int) -> tuple[int, int]:
        c = self.src[pos]
        if c != "\\":
            return ord(c), pos + 1
        kind = self.src[pos + 1]
        if kind in _ESCAPES:
            return ord(_ESCAPES[kind]), pos + 2
        size = _HEX_ESCAPES.get(kind)
        if size is None:
            self.fail(pos, f"unknown escape '\\{kind if kind != chr(0) else ''}'")
        digits = self.src[pos + 2 : pos + 2 + size]
        if not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", digits):
            self.fail(pos, f"'\\{kind}' needs {size} hexadecimal digits")
        return int(digits, 16), pos + 2 + size

    def _parse_token(self, pos: int, frame: _Frame) -> int:
        start, negated = pos, self.src[pos] == "!"
        pos += negated
        if self.src[pos] != "<":
            self.fail(pos, "expected '<' after '!'")
        token: int | str
        if self.src[pos + 1] == "[":
            match = re.compile(r"<\[([0-9]+)\]>").match(self.src, pos)
            if match is None:
                self.fail(pos, "expected a token id: '<[123]>'")
            token = int(match[1])
            if token > 0xFFFFFFFF:
                self.fail(pos, "the token id is too big")
            end = match.end()
        else:
            end = self.src.find(">", pos) + 1
            if end == 0:
                self.fail(start, "the token is never closed with '>'")
            token = self.src[pos:end]
            self.needs_vocabulary = True
        self._append(frame, Token(token, negated), pos)
        return end

    def _parse_repetition(self, pos: int, frame: _Frame, nested: bool) -> int:
        start = pos
        if self.src[pos] != "{":
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self.src[pos]]
            pos += 1
        else:
            low, high, pos = self._parse_counts(pos, nested)
        pos = self._space(pos, nested)
        if high is not None and high < low:
            self.fail(start, f"the repetition {{{low},{high}}} has its bounds in the wrong order")
        for count in (low, high):
            if count is not None and count > MAX_REPETITIONS:
                self.fail(start, f"repetition counts above {MAX_REPETITIONS} are not supported")
        self._repeat(frame, low, high, start)
        return pos

    def _parse_counts(self, pos: int, nested: bool) -> tuple[int, int | None, int]:
        """Reads ``{m}``, ``{m,}`` or ``{m,n}``; returns the bounds and the position after ``}``."""
        low, pos = self._parse_int(self._space(pos + 1, nested))
        pos = self._space(pos, nested)
        if self.src[pos] == "}":
            return low, low, pos + 1
        if self.src[pos] != ",":
            self.fail(pos, "expected ',' or '}' in the repetition")
        pos = self._space(pos + 1, nested)
        high: int | None = None
        if _DIGITS.match(self.src, pos):
            high, pos = self._parse_int(pos)
            pos = self._space(pos, nested)
        if self.src[pos] != "}":
            self.fail(pos, "expected '}' after the repetition")
        return low, high, pos + 1

    def _parse_int(self, pos: int) -> tuple[int, int]:
        match = _DIGITS.match(self.src, pos)
        if match is None:
            self.fail(pos, "expected a number in the repetition")
        if len(match[0]) > 20 or int(match[0]) > _UINT64_MAX:
            self.fail(pos, "the repetition count is too big")
        return int(match[0]), match.end()

    def _repeat(self, frame: _Frame, low: int, high: int | None, pos: int) -> None:
        """Rewrites the last item: ``S{m,n}`` becomes m copies of S, then n-m nested optional rules."""
        sequence = frame.alternatives[-1]
        item = sequence[frame.last_start :]
        if not item:
            self.fail(pos, "nothing to repeat before '*', '+', '?' or '{'")
        total = high or low or 1
        if frame.n_prev_rules * total > MAX_REPETITIONS:
            self.fail(pos, f"the repetition expands to more than {MAX_REPETITIONS} rules")
        n_optional = 1 if high is None else high - low
        self._count(len(item) * (low + n_optional) + 2 * n_optional, pos)
        del sequence[frame.last_start :]
        sequence.extend(item * low)
        last = ""
        for _ in range(n_optional):
            name = self._new_symbol(frame.base, pos)
            follow: list[Element] = [Ref(name if high is None else last)] if last or high is None else []
            self.rules[name] = [item + follow, []]
            last = name
        if last:
            sequence.append(Ref(last))
        frame.n_prev_rules *= total

    def _start_item(self, frame: _Frame) -> None:
        frame.last_start = len(frame.alternatives[-1])
        frame.n_prev_rules = 1

    def _append(self, frame: _Frame, element: Element, pos: int) -> None:
        self._count(1, pos)
        frame.alternatives[-1].append(element)

    def _count(self, n: int, pos: int) -> None:
        self.n_elements += n
        if self.n_elements > _MAX_ELEMENTS:
            self.fail(pos, f"the grammar expands to more than {_MAX_ELEMENTS} elements")

    def _define(self, frame: _Frame) -> None:
        self.rules[frame.rule] = frame.alternatives

    def _new_symbol(self, base: str, pos: int) -> str:
        if len(self.symbols) >= MAX_RULES:
            self.fail(pos, f"the grammar expands to more than {MAX_RULES} rules")
        name = f"{base}_{len(self.symbols)}"
        self.symbols[name] = len(self.symbols)
        return name


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise GrammarError(f"grammar: expected GBNF text, got {type(text).__name__}", parameter="grammar")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        fail_at(text, error.start, "lone surrogates cannot be encoded as UTF-8")
    if size > MAX_GRAMMAR_BYTES:
        raise GrammarError(
            f"grammar: {size} bytes of text, the limit is {MAX_GRAMMAR_BYTES}", parameter="grammar"
        )
    if "\0" in text:
        fail_at(text, text.index("\0"), "a grammar cannot contain the character NUL; write \\x00")
