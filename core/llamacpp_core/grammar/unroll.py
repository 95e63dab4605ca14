"""Recursive schemas as rules that end: a copy of the rules for each level, and nothing after the last.

Works on the text of rules that :mod:`~llamacpp_core.grammar.rules` and its users write, which is a part of
GBNF: names, literals, character classes, groups, alternatives and repetitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from llamacpp_core.grammar.rules import ATOM, SYMBOL, RuleSet

__all__ = ["unroll"]

_TOKEN = re.compile(rf"\s*({ATOM.pattern}|[()|]|[?*+]|\{{[0-9,]*\}})")
_NAME = re.compile(r"[A-Za-z0-9-]+")
#: What the copies of rules may come to; where one level has much, there are fewer levels.
_MAX_BYTES = 200_000


class _Item(NamedTuple):
    """A symbol, or a group, and how often."""

    symbol: str
    group: list[list[_Item]] | None
    times: str

    @property
    def optional(self) -> bool:
        return self.times in ("?", "*") or self.times.startswith(("{0,", "{0}"))


_Body = list[list[_Item]]


def unroll(
    rules: RuleSet, start: str, recursive: Iterable[str], levels: int | None, *, change: bool = True
) -> str | None:
    """Replaces rules that contain themselves by one copy for each level, and takes out what has no end.

    Args:
        rules: All rules; changed in place when something is left.
        start: Expression for the start rule.
        recursive: Rules, at least one of every circle, whose uses are counted.
        levels: How many of those may be inside each other, at least 1; None for any number.
        change: Change the rules, and do not only look.

    Returns:
        The expression for the start rule to use from now on; None when no text has so few levels.
    """
    counted = set(recursive) & rules.rules.keys()
    circular = _reaching(rules, counted)
    bodies = {name: _parse(rules.rules[name]) for name in circular}
    if levels is None:
        made = bodies
        possible = _possible(made)
        first = _text(_pruned(_parse(start), made, possible))
        copies = {
            name: _text(_pruned(body, made, possible)) for name, body in made.items() if name in possible
        }
    else:
        size = sum(len(rules.rules[name]) for name in circular)
        levels = max(min(levels, 2), min(levels, _MAX_BYTES // max(1, size)))
        uses = {name: [n for n in rules.names_in(rules.rules[name]) if n in circular] for name in circular}
        first, copies = _Copies(rules, bodies, uses, counted, levels).from_start(_parse(start))
    if first and change:
        rules.rules = {name: body for name, body in rules.rules.items() if name not in circular}
        rules.rules = {name: body for name, body in rules.rules.items() if body} | copies
    return first or None


class _Copies:
    """Writes one copy of the circular rules for each level.

    Args:
        rules: Gives the copies their names.
        bodies: The circular rules.
        uses: The circular rules in each of them.
        counted: Those whose uses are counted.
        levels: How many of those may be inside each other.
    """

    def __init__(
        self,
        rules: RuleSet,
        bodies: dict[str, _Body],
        uses: dict[str, list[str]],
        counted: set[str],
        levels: int,
    ) -> None:
        self.rules = rules
        self.bodies = bodies
        self.counted = counted
        self.levels = levels
        self.needed = _needed(bodies, uses, counted, levels)
        self._names: dict[tuple[str, int], str] = {}
        self._todo: list[tuple[str, int]] = []
        self._possible: dict[int, set[str]] = {}
        self._pieces: dict[tuple[str, int], list[str]] = {}
        self._deepest = {
            name: max((self.needed[inner] for inner in inside), default=0) for name, inside in uses.items()
        }

    def from_start(self, start: _Body) -> tuple[str, dict[str, str]]:
        """The expression to start with ("" when no text has so few levels), and the copies."""
        copies: dict[str, str] = {}
        first = self._copy(self._left(start, self.levels), 0)
        while self._todo:
            name, level = self._todo.pop()
            copies[self._names[name, level]] = self._copy(self._parts(name, self.levels - level), level)
        return first, copies

    def _parts(self, name: str, levels: int) -> list[str]:
        """The text of a rule under which so many levels are left: text and names in turn."""
        key = (name, min(levels, self._deepest[name]))
        if key not in self._pieces:
            self._pieces[key] = self._left(self.bodies[name], levels)
        return self._pieces[key]

    def _left(self, body: _Body, levels: int) -> list[str]:
        if levels not in self._possible:
            self._possible[levels] = {name for name, needed in self.needed.items() if needed <= levels}
        text = _text(_pruned(body, self.bodies, self._possible[levels]))
        pieces, position = [], 0
        for found in SYMBOL.finditer(text):
            if found[1] in self.bodies:
                pieces += [text[position : found.start()], found[1]]
                position = found.end()
        return [*pieces, text[position:]]

    def _copy(self, pieces: list[str], level: int) -> str:
        written = list(pieces)
        for index in range(1, len(written), 2):
            written[index] = self._at_level(written[index], level)
        return "".join(written)

    def _at_level(self, name: str, level: int) -> str:
        counted = name in self.counted
        key = (name, level + counted)
        if key not in self._names:
            self._names[key] = name if level == 0 else self.rules.reserve(name)
            self._todo.append(key)
        return self._names[key]


def _needed(
    bodies: Mapping[str, _Body], uses: Mapping[str, list[str]], counted: set[str], most: int
) -> dict[str, int]:
    """For every rule how many counted rules are at least inside each other in it, itself one of them."""
    needed = dict.fromkeys(bodies, most + 1)
    users: dict[str, list[str]] = {}
    for name, inside in uses.items():
        for inner in inside:
            users.setdefault(inner, []).append(name)
    todo = dict.fromkeys(bodies)
    while todo:
        name = todo.popitem()[0]
        found = min(most + 1, _least(bodies[name], needed) + (name in counted))
        if found < needed[name]:
            needed[name] = found
            todo.update(dict.fromkeys(users.get(name, ())))
    return needed


def _least(body: _Body, needed: Mapping[str, int]) -> int:
    """The levels that a body needs: those of its easiest alternative."""
    return min(
        max(
            (
                needed.get(item.symbol, 0) if item.group is None else _least(item.group, needed)
                for item in alternative
                if not item.optional
            ),
            default=0,
        )
        for alternative in body
    )


def _parse(text: str) -> _Body:
    stack: list[_Body] = [[[]]]
    position = 0
    while match := _TOKEN.match(text, position):
        token, position = match[1], match.end()
        if token == "(":
            stack.append([[]])
        elif token == "|":
            stack[-1].append([])
        elif token == ")":
            group = stack.pop()
            stack[-1][-1].append(_Item("", group, ""))
        elif token[0] in "?*+{":
            last = stack[-1][-1].pop()
            stack[-1][-1].append(last._replace(times=token))
        else:
            stack[-1][-1].append(_Item(token, None, ""))
    if text[position:].strip() or len(stack) != 1:
        raise AssertionError(f"a rule that cannot be read at {position}: {text[:200]}")
    return stack[0]


def _text(body: _Body) -> str:
    return " | ".join(" ".join(_item_text(item) for item in alternative) for alternative in body)


def _item_text(item: _Item) -> str:
    return (item.symbol if item.group is None else f"({_text(item.group)})") + item.times


def _names(body: _Body) -> Iterable[str]:
    for alternative in body:
        for item in alternative:
            if item.group is not None:
                yield from _names(item.group)
            elif _NAME.fullmatch(item.symbol):
                yield item.symbol


def _reaching(rules: RuleSet, targets: set[str]) -> set[str]:
    """Rules from which one of the targets can be reached, the targets included."""
    users: dict[str, list[str]] = {}
    for name, body in rules.rules.items():
        for inner in rules.names_in(body):
            users.setdefault(inner, []).append(name)
    found, todo = set(targets), list(targets)
    while todo:
        for user in users.get(todo.pop(), ()):
            if user not in found:
                found.add(user)
                todo.append(user)
    return found


def _possible(bodies: Mapping[str, _Body]) -> set[str]:
    """Rules of which a finite text exists; those that are not among the bodies have one."""
    users: dict[str, list[str]] = {}
    for name, body in bodies.items():
        for inner in set(_names(body)):
            users.setdefault(inner, []).append(name)
    possible: set[str] = set()
    todo = list(bodies)
    while todo:
        name = todo.pop()
        if name not in possible and _pruned(bodies[name], bodies, possible):
            possible.add(name)
            todo += users.get(name, ())
    return possible


def _pruned(body: _Body, bodies: Mapping[str, _Body], possible: set[str]) -> _Body:
    """What is left of a body when rules that are not possible are taken out of it."""
    out: _Body = []
    for alternative in body:
        kept: list[_Item] = []
        for item in alternative:
            if item.group is not None:
                group = _pruned(item.group, bodies, possible)
                fits = bool(group)
                item = item._replace(group=group)
            else:
                fits = item.symbol not in bodies or item.symbol in possible
            if fits:
                kept.append(item)
            elif not item.optional:
                break
        else:
            out.append(kept)
    return out
