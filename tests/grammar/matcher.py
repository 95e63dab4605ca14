"""Runs a grammar without a model: does it accept a text, and what texts does it make?

The matcher keeps parse stacks as llama.cpp does, so it shows the same ambiguity (``max_stacks``).
"""

from __future__ import annotations

import random
from functools import lru_cache

from llamacpp_core.grammar import Grammar, parse_gbnf
from llamacpp_core.grammar.elements import Char, Element, Ref

__all__ = ["accepts", "accepts_prefix", "max_stacks", "parsed", "random_text"]

# A stack: None when all is read, else (number of an alternative, place in it, the stack below).
Stack = tuple[int, int, "Stack"] | None


@lru_cache(maxsize=512)
def parsed(gbnf: str) -> Grammar:
    return parse_gbnf(gbnf)


def _matches(element: Element, code_point: int) -> bool:
    assert isinstance(element, Char), "only grammars over characters can be matched"
    return any(low <= code_point <= high for low, high in element.ranges) != element.negated


class _Machine:
    def __init__(self, grammar: Grammar) -> None:
        self.alternatives: list[list[Element]] = []
        self.rules: dict[str, list[int]] = {}
        for name, alternatives in grammar.rules.items():
            self.rules[name] = list(range(len(self.alternatives), len(self.alternatives) + len(alternatives)))
            self.alternatives += alternatives
        self.stacks = self._expand([(number, 0, None) for number in self.rules[grammar.root]])

    def _expand(self, stacks: list[Stack]) -> set[Stack]:
        seen: set[Stack] = set()
        todo = list(stacks)
        ready: set[Stack] = set()
        while todo:
            stack = todo.pop()
            while stack is not None and stack[1] == len(self.alternatives[stack[0]]):
                stack = stack[2]
            if stack in seen:
                continue
            seen.add(stack)
            element = None if stack is None else self.alternatives[stack[0]][stack[1]]
            if stack is None or not isinstance(element, Ref):
                ready.add(stack)
                continue
            number, place, below = stack
            rest = (number, place + 1, below) if place + 1 < len(self.alternatives[number]) else below
            todo += [(alternative, 0, rest) for alternative in self.rules[element.name]]
        return ready

    def feed(self, c: str) -> None:
        following: list[Stack] = [
            (number, place + 1, below)
            for number, place, below in (stack for stack in self.stacks if stack is not None)
            if _matches(self.alternatives[number][place], ord(c))
        ]
        self.stacks = self._expand(following)


def _run(gbnf: str, text: str) -> tuple[set[Stack], int]:
    machine = _Machine(parsed(gbnf))
    most = len(machine.stacks)
    for c in text:
        machine.feed(c)
        most = max(most, len(machine.stacks))
        if not machine.stacks:
            break
    return machine.stacks, most


def accepts(gbnf: str, text: str) -> bool:
    """Whether the grammar accepts the whole text."""
    return None in _run(gbnf, text)[0]


def accepts_prefix(gbnf: str, text: str) -> bool:
    """Whether the grammar accepts a text that begins with this one."""
    return bool(_run(gbnf, text)[0])


def max_stacks(gbnf: str, text: str) -> int:
    """The most parse stacks while the text is read."""
    return _run(gbnf, text)[1]


@lru_cache(maxsize=512)
def _shortest_ways(gbnf: str) -> dict[str, list[Element]]:
    """For every rule the alternative that makes its shortest text."""
    rules = parsed(gbnf).rules
    costs: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for name, alternatives in rules.items():
            known = [
                sum(costs[e.name] if isinstance(e, Ref) else 1 for e in a)
                for a in alternatives
                if all(not isinstance(e, Ref) or e.name in costs for e in a)
            ]
            if known and min(known) < costs.get(name, 1 << 60):
                costs[name] = min(known)
                changed = True
    return {
        name: min(alternatives, key=lambda a: sum(costs[e.name] if isinstance(e, Ref) else 1 for e in a))
        for name, alternatives in rules.items()
    }


def random_text(gbnf: str, seed: int, *, fuel: int = 400) -> str:
    """A text that the grammar makes; after ``fuel`` choices always the shortest way to the end."""
    rng = random.Random(seed)
    grammar, shortest = parsed(gbnf), _shortest_ways(gbnf)
    eager = rng.random()
    out: list[str] = []
    todo: list[Element] = [Ref(grammar.root)]
    while todo:
        element = todo.pop()
        if isinstance(element, Char):
            out.append(_random_char(element, rng))
            continue
        assert isinstance(element, Ref)
        alternatives = grammar.rules[element.name]
        fuel -= len(alternatives) > 1
        if fuel <= 0:
            chosen = shortest[element.name]
        elif not alternatives[-1] and rng.random() < eager:
            chosen = alternatives[0]
        else:
            chosen = rng.choice(alternatives)
        todo.extend(reversed(chosen))
    return "".join(out)


def _random_char(element: Char, rng: random.Random) -> str:
    if element.negated:
        return next(
            c for c in iter(lambda: chr(rng.randrange(0x20, 0x3000)), "") if _matches(element, ord(c))
        )
    low, high = rng.choice(element.ranges)
    if low < 0x7F < high:
        high = rng.choice([0x7E, high])
    return chr(rng.choice([low, high, rng.randint(low, high)]))
