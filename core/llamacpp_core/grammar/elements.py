"""What a parsed grammar consists of, and how an error points into its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from llamacpp_core.errors import GrammarError

__all__ = [
    "MAX_GRAMMAR_BYTES",
    "MAX_REPETITIONS",
    "MAX_RULES",
    "Alternatives",
    "Char",
    "Element",
    "Grammar",
    "Ref",
    "Token",
    "fail_at",
]

#: Longest grammar, in bytes of UTF-8.
MAX_GRAMMAR_BYTES = 1 << 20
#: Most rules that a grammar may have once groups and repetitions are expanded into rules.
MAX_RULES = 100_000
#: Largest count in ``{m,n}`` (llama.cpp: ``MAX_REPETITION_THRESHOLD``).
MAX_REPETITIONS = 2000


@dataclass(frozen=True, slots=True)
class Char:
    """One code point out of a set.

    Attributes:
        ranges: Inclusive ranges of code points.
        negated: The code point must lie in none of the ranges.
    """

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to another rule by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Token:
    """One whole token of the vocabulary.

    Attributes:
        token: The token's id, or its text where the grammar says ``<text>``.
        negated: Any token but this one.
    """

    token: int | str
    negated: bool = False


Element = Char | Ref | Token
Alternatives = list[list[Element]]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A parsed grammar, repetitions and groups expanded into rules as llama.cpp does.

    Attributes:
        text: The GBNF text.
        rules: Rule name to alternatives, each a list of elements. Names with ``_`` are synthesized.
        root: Name of the start rule.
        needs_vocabulary: The grammar names tokens by text, which only a loaded model can resolve.
    """

    text: str
    rules: dict[str, Alternatives]
    root: str = "root"
    needs_vocabulary: bool = False


def fail_at(text: str, position: int, reason: str) -> NoReturn:
    """Raises a GrammarError that points at a position of the grammar text."""
    position = min(position, len(text))
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line_text = text[start : end if end >= 0 else len(text)]
    line, column = text.count("\n", 0, position) + 1, position - start + 1
    first = max(0, column - 41)
    excerpt = line_text[first : first + 80].replace("\t", " ").replace("\r", " ")
    caret = " " * (column - 1 - first) + "^"
    raise GrammarError(
        f"grammar: {reason} (line {line}, column {column})\n  {excerpt}\n  {caret}", parameter="grammar"
    )
