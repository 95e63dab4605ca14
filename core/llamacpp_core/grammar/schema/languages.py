"""The strings that a flat schema means: surely (to be generated), or perhaps (to be told from others)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, reduce

from llamacpp_core.grammar.automaton import Dfa, not_these
from llamacpp_core.grammar.formats import PATTERNS, WIDE_PATTERNS
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.schema.flats import Text
from llamacpp_core.grammar.strings import pattern_dfa

__all__ = ["accepted", "accepts", "no_text", "text_dfa"]


def _parts(text: Text, wide: bool) -> list[Dfa]:
    found = []
    for sign, patterns in ((True, text.patterns), (False, text.no_patterns)):
        for pattern in patterns:
            try:
                dfa = pattern_dfa(pattern, wide=wide is sign)
            except PatternError:
                if wide:
                    continue
                raise
            found.append(dfa if sign else dfa.complement())
    for name in text.formats:
        meant = (WIDE_PATTERNS if wide else PATTERNS).get(name)
        if meant is not None:
            found.append(pattern_dfa(meant))
    for name in text.no_formats:
        meant = (PATTERNS if wide else WIDE_PATTERNS).get(name)
        if meant is not None:
            found.append(pattern_dfa(meant).complement())
        elif not wide:
            found.append(Dfa([((0, 0xD7FF), (0xE000, 0x10FFFF))], [(0,)], [False]))
    return found


@lru_cache(maxsize=512)
def text_dfa(text: Text, *, wide: bool) -> Dfa | None:
    """The automaton of the strings, lengths left out; None when it would be that of all strings.

    Args:
        text: The flat schema; ``values`` is not looked at.
        wide: Whatever may be valid in some reading of patterns and formats, not what surely is.

    Raises:
        PatternError: A pattern is not supported.
    """
    parts = _parts(text, wide)
    if text.excluded:
        parts.append(not_these(tuple(text.excluded)))
    return reduce(_both, parts) if parts else None


@lru_cache(maxsize=256)
def _both(a: Dfa, b: Dfa) -> Dfa:
    """Kept, since the strings of a schema are narrowed step by step."""
    return a.intersect(b)


def accepts(text: Text, value: str, *, wide: bool = False) -> bool:
    """Whether a string is valid: surely, or perhaps (wide)."""
    return (text.values is None or value in text.values) and bool(accepted(text, (value,), wide=wide))


def accepted(text: Text, values: Iterable[str], *, wide: bool = False) -> list[str]:
    """The strings among some that are valid, surely or perhaps (wide), ``values`` of the text left out."""
    found = [
        value
        for value in values
        if len(value) >= text.low
        and (text.high is None or len(value) <= text.high)
        and value not in text.excluded
    ]
    if not found or not (text.patterns or text.no_patterns or text.formats or text.no_formats):
        return found
    parts = _parts(text, wide)
    return [value for value in found if all(dfa.accepts(value) for dfa in parts)]


@lru_cache(maxsize=2048)
def no_text(text: Text) -> bool:
    """Whether there is no string at all that could be valid."""
    if text.values is not None:
        return not any(accepts(text, value, wide=True) for value in text.values)
    try:
        dfa = text_dfa(text, wide=True)
    except PatternError:
        return False
    if dfa is None:
        return False
    if dfa.is_empty or (text.high is not None and dfa.shortest[0] > text.high):
        return True
    return text.low > 0 and dfa.longest[0] < text.low
