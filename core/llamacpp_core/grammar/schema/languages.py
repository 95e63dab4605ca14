"""The strings that a flat schema means: surely (to be generated), or perhaps (to be told from others)."""

from __future__ import annotations

from functools import lru_cache, reduce

from llamacpp_core.grammar.automaton import Dfa, not_these
from llamacpp_core.grammar.formats import PATTERNS, WIDE_PATTERNS
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.schema.flats import Text
from llamacpp_core.grammar.strings import pattern_dfa

__all__ = ["accepts", "no_text", "text_dfa"]


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
            found.append(Dfa([((0, 0xD7FF), (0xE000, 0x10FFFF))], [[0]], [False]))
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
    return reduce(Dfa.intersect, parts) if parts else None


def accepts(text: Text, value: str, *, wide: bool = False) -> bool:
    """Whether a string is valid: surely, or perhaps (wide)."""
    if len(value) < text.low or (text.high is not None and len(value) > text.high):
        return False
    if value in text.excluded or (text.values is not None and value not in text.values):
        return False
    if not (text.patterns or text.no_patterns or text.formats or text.no_formats):
        return True
    return all(dfa.accepts(value) for dfa in _parts(text, wide))


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
    return (
        dfa.is_empty or (text.high is not None and dfa.shortest[0] > text.high) or dfa.longest[0] < text.low
    )
