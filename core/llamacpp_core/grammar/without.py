"""Text that holds none of some words, as a grammar."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.charset import complement, gbnf_class, gbnf_literal, union

__all__ = ["text_without_gbnf"]

_MOST = 2_000
#: Tells the engine that the limit of tokens cuts such a text off instead of ending it (``LC_OPEN_ENDED``).
OPEN_ENDED = "# open-ended"


@lru_cache(maxsize=64)
def text_without_gbnf(words: tuple[str, ...]) -> str:
    """A grammar of all texts in which none of the words occurs.

    It is the automaton of Aho and Corasick: a state is the longest beginning of a word with which the text so
    far ends, and the states in which a word is complete are left out.

    Args:
        words: The words, none empty.

    Raises:
        GrammarError: They are too long, or one is empty.
    """
    if not all(words) or sum(map(len, words)) > _MOST:
        raise GrammarError(f"words to leave out need a length, and {_MOST} characters in all at most")
    states = sorted({word[:i] for word in words for i in range(len(word))}, key=lambda s: (len(s), s))
    names = {state: f"s{i}" for i, state in enumerate(states)}
    letters = sorted({letter for word in words for letter in word})
    others = gbnf_class(complement(union([(ord(letter), ord(letter)) for letter in letters])))
    lines = [OPEN_ENDED, "root ::= s0"]
    for state in states:
        steps = ['""']
        for letter in letters:
            text = state + letter
            if not text.endswith(words):
                steps.append(f"{gbnf_literal(letter)} {names[_longest(text, names)]}")
        steps.append(f"{others} s0")
        lines.append(f"{names[state]} ::= {' | '.join(steps)}")
    return "\n".join(lines)


def _longest(text: str, states: Collection[str]) -> str:
    """The longest state with which a text ends."""
    return next(text[i:] for i in range(len(text) + 1) if text[i:] in states)
