"""Property names that are none of some others, as grammar rules."""

from __future__ import annotations

from functools import lru_cache

from llamacpp_core.grammar.charset import ALPHABET, complement, json_text_of
from llamacpp_core.grammar.rules import ATOM
from llamacpp_core.grammar.strings import PREFIX

__all__ = ["MAX_NAME", "other_names"]

#: Longest name that is told apart from others in this way.
MAX_NAME = 200
_END = ""
#: The names by their letters; the key "" where one ends.
_Trie = dict[str, "_Trie"]


@lru_cache(maxsize=256)
def other_names(names: tuple[str, ...], limit: int | None) -> tuple[str, dict[str, str]]:
    """Rules for the inside of a JSON string that is none of some names.

    It is what the automaton of these strings would come to, written down at once: objects that allow
    properties beside the listed ones are too many for the way around.

    Args:
        names: The names, of :data:`MAX_NAME` characters at most.
        limit: How many characters may follow where a string differs from all names; None for no end.

    Returns:
        As :func:`~llamacpp_core.grammar.strings.dfa_rules`.
    """
    trie: _Trie = {}
    for name in names:
        node = trie
        for letter in name:
            node = node.setdefault(letter, {})
        node[_END] = {}
    return _Writer(limit).write(trie)


@lru_cache(maxsize=1024)
def _all_but(letters: str) -> tuple[str, ...]:
    """Alternatives for how a code point that is none of the letters is written."""
    others = complement(tuple((ord(c), ord(c)) for c in letters)) if letters else ALPHABET
    return json_text_of(others)


class _Writer:
    def __init__(self, limit: int | None) -> None:
        self.rules: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._classes: dict[str, str] = {}
        times = "*" if limit is None else f"{{0,{limit}}}"
        self.rest = self._rule(f"{self._class('')}{times}")

    def write(self, trie: _Trie) -> tuple[str, dict[str, str]]:
        return self._node(trie), self.rules

    def _node(self, node: _Trie) -> str:
        """The rule for what may follow at a node; equal ones are one."""
        letters = sorted(letter for letter in node if letter != _END)
        found = [f"{json_text_of(((ord(c), ord(c)),))[0]} {self._node(node[c])}" for c in letters]
        found.append(f"{self._class(''.join(letters))} {self.rest}")
        if _END not in node:
            found.append('""')
        return self._rule(" | ".join(found))

    def _rule(self, body: str) -> str:
        if body not in self._known:
            self._known[body] = f"{PREFIX}{len(self._known)}"
            self.rules[self._known[body]] = body
        return self._known[body]

    def _class(self, letters: str) -> str:
        """A symbol for how a code point that is none of the letters is written inside a JSON string."""
        if letters not in self._classes:
            alternatives = _all_but(letters)
            is_atom = len(alternatives) == 1 and ATOM.fullmatch(alternatives[0])
            self._classes[letters] = alternatives[0] if is_atom else self._rule(" | ".join(alternatives))
        return self._classes[letters]
