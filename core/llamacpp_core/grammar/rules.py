"""A growing set of GBNF rules with unique names, where equal bodies share one rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from llamacpp_core.grammar.charset import gbnf_literal
from llamacpp_core.grammar.elements import MAX_REPETITIONS, MAX_RULES

__all__ = [
    "ATOM",
    "MAX_REPETITIONS",
    "SYMBOL",
    "Adds",
    "RuleSet",
    "choice",
    "literal_choice",
    "n_expanded",
    "repeat",
]

#: A single GBNF symbol: a rule name, a literal or a character class.
ATOM = re.compile(r'[A-Za-z0-9-]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\]\\]*+(?:\\.[^\]\\]*+)*+\]')
_NOT_NAME = re.compile(r"[^A-Za-z0-9-]+")
#: A rule name, or a literal or class to be passed over.
SYMBOL = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\]\\]*+(?:\\.[^\]\\]*+)*+\]|\{[0-9,]*\}|([A-Za-z0-9-]++)'
)
_COUNTS = re.compile(r"\{([0-9]{1,4}),([0-9]{1,4})\}")
_TEXTS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^\]\\]*+(?:\\.[^\]\\]*+)*+\]')
_ENCLOSING = ('""', "[]")
_MAX_HINT = 40
_BLOCK = 1000
_MAX_TRIE_DEPTH = 50


class RuleSet:
    """Collects rules and renders them as grammar text.

    Args:
        root: Name of the start rule; no other rule gets it.

    Attributes:
        rules: The bodies of the rules.
        groups: For each rule that was added in a group all names of that.
    """

    def __init__(self, root: str = "root") -> None:
        self.root = root
        self.rules: dict[str, str] = {}
        self.groups: dict[str, tuple[str, ...]] = {}
        self._by_body: dict[str, str] = {}
        self._counters: dict[str, int] = {}
        self._bases: dict[str, str] = {}
        self._names: dict[str, list[str]] = {}

    def reserve(self, hint: str) -> str:
        """A new rule name like ``hint``, to be defined later."""
        base = self._bases.get(hint)
        if base is None:
            base = self._bases[hint] = _NOT_NAME.sub("-", hint)[-_MAX_HINT:].strip("-") or "rule"
        rules, name = self.rules, base
        if name in rules or name == self.root:
            number = self._counters.get(base, 1)
            while name in rules or name == self.root:
                number += 1
                name = f"{base}-{number}"
            self._counters[base] = number
        rules[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """Gives a reserved name its body."""
        self.rules[name] = body

    def add(self, hint: str, body: str) -> str:
        """A symbol for ``body``: itself if it is one, else a rule, shared with an equal body."""
        name = self._by_body.get(body)
        if name is None:
            # Most bodies are seen to be several symbols before they are read.
            if (" " not in body or body[:1] + body[-1:] in _ENCLOSING) and ATOM.fullmatch(body):
                return body
            name = self._by_body[body] = self.reserve(hint)
            self.rules[name] = body
        return name

    def add_group(self, rules: Mapping[str, str]) -> None:
        """Adds rules with names of their own that need each other, and no others."""
        self.rules |= rules
        self.groups |= dict.fromkeys(rules, tuple(rules))

    def names_in(self, body: str) -> list[str]:
        """The names in a body, each once; "" may be among them."""
        known = self._names.get(body)
        if known is None:
            known = self._names[body] = list(dict.fromkeys(SYMBOL.findall(body)))
        return known

    def keep_reachable(self, start: str) -> None:
        """Takes out the rules that an expression does not lead to."""
        rules = self.rules
        seen = {""}
        todo = [start]
        while todo:
            for name in self.names_in(todo.pop()):
                if name in seen:
                    continue
                if name in self.groups:
                    seen.update(self.groups[name])
                    continue
                seen.add(name)
                if name in rules:
                    todo.append(rules[name])
        self.rules = {name: body for name, body in rules.items() if name in seen}

    def size(self, start: str) -> int:
        """How many characters :meth:`render` makes."""
        sizes = [len(name) + len(body) for name, body in self.rules.items()]
        return len(self.root) + len(start) + sum(sizes) + len(" ::= \n") * (len(sizes) + 1)

    def render(self, start: str) -> str:
        """The grammar text with the expression ``start`` as the start rule."""
        lines = [f"{self.root} ::= {start}"]
        lines += [f"{name} ::= {body}" for name, body in self.rules.items()]
        return "\n".join(lines) + "\n"


def n_expanded(text: str) -> int:
    """How many rules a reader makes of a grammar; where it is few, only roughly how many."""
    counts = _COUNTS.findall(text)
    if sum([int(high) - int(low) for low, high in counts]) < MAX_RULES // 2:
        return len(counts)
    plain = _TEXTS.sub("", text)
    expanded = sum([int(high) - int(low) for low, high in _COUNTS.findall(plain)])
    return expanded + plain.count("\n") + sum(map(plain.count, ("(", "?", "*", "+", ",}")))


def choice(alternatives: Sequence[str]) -> str:
    """One of the alternatives, each once."""
    return " | ".join(dict.fromkeys(alternatives))


class Adds(Protocol):
    """What gives rules names."""

    def add(self, hint: str, body: str) -> str:
        """A symbol for ``body``; its name is like ``hint``."""
        ...


def repeat(rules: Adds, symbol: str, low: int, high: int | None) -> str:
    """``symbol`` from ``low`` to ``high`` times, in blocks where llama.cpp's limit on counts is passed.

    Args:
        rules: Where rules for blocks go.
        symbol: A single symbol.
        low: Smallest count.
        high: Largest count; None for no limit.

    Raises:
        ValueError: When a count is beyond what blocks can express.
    """
    if high == 0:
        return ""
    if max(low, high or 0) < MAX_REPETITIONS:
        simple = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}.get((low, high))
        if simple is not None:
            return symbol + simple
        return f"{symbol}{{{low}}}" if low == high else f"{symbol}{{{low},{'' if high is None else high}}}"
    if max(low, high or 0) >= _BLOCK * (MAX_REPETITIONS - 1):
        raise ValueError(f"lengths and counts above {_BLOCK * (MAX_REPETITIONS - 1)} are not supported")
    block = rules.add("block", f"{symbol}{{{_BLOCK}}}")
    parts = []
    if low >= _BLOCK:
        parts.append(rules.add("blocks", f"{block}{{{low // _BLOCK}}}"))
    if low % _BLOCK:
        parts.append(rules.add("part", f"{symbol}{{{low % _BLOCK}}}"))
    if high is None:
        return " ".join([*parts, f"{symbol}*"])
    blocks, rest = divmod(high - low, _BLOCK)
    last = rules.add("part", f"{symbol}{{0,{rest}}}") if rest else ""
    if blocks == 0:
        return " ".join([*parts, last]).strip()
    partial = rules.add("part", f"{symbol}{{0,{_BLOCK - 1}}}")
    if blocks > 1:
        partial = f"{rules.add('blocks', f'{block}{{0,{blocks - 1}}}')} {partial}"
    full = f"{rules.add('blocks', f'{block}{{{blocks}}}') if blocks > 1 else block} {last}".strip()
    return " ".join([*parts, f"({partial} | {full})"])


def literal_choice(entries: Sequence[tuple[str, str]], depth: int = 0) -> str:
    """One of several texts, each followed by its own expression, with common prefixes written once.

    Args:
        entries: Pairs of a literal text and the GBNF expression after it (may be empty).
        depth: Recursion depth, for the function's own use.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for text, follow in entries if depth else dict.fromkeys(entries):
        groups.setdefault(text[:1], []).append((text, follow))
    alternatives = []
    for first, group in groups.items():
        if len(group) == 1 or not first or depth > _MAX_TRIE_DEPTH:
            for text, follow in group:
                literal = gbnf_literal(text) if text else ""
                alternatives.append(f"{literal} {follow}" if literal and follow else literal or follow)
            continue
        low, high = min(group)[0], max(group)[0]
        shared = next(
            (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
        )
        rest = literal_choice([(text[shared:], follow) for text, follow in group], depth + 1)
        alternatives.append(f"{gbnf_literal(low[:shared])} ({rest})")
    return choice(alternatives)
