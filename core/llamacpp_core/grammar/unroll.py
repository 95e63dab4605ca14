"""Recursive schemas as rules that end: a copy of the rules for each level, and nothing after the last.

Works on the text of rules that :mod:`~llamacpp_core.grammar.rules` and its users write, which is a part of
GBNF: names, literals, character classes, groups, alternatives and repetitions.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from llamacpp_core.grammar.rules import ATOM, RuleSet

__all__ = ["unroll"]

_TOKEN = re.compile(rf"{ATOM.pattern}|[()|?*+]|\{{[0-9,]*\}}|\S")
_UNREADABLE = frozenset('"[]{}')
_NAME = re.compile(r"[A-Za-z0-9-]+")
#: What comes before a rule name or the end, and the name.
_PART = re.compile(
    r'([^A-Za-z0-9"\[{-]*+(?:(?:"(?:[^"\\]++|\\.)*+"|\[(?:[^\]\\]++|\\.)*+\]|\{[0-9,]*\})'
    r'[^A-Za-z0-9"\[{-]*+)*+)([A-Za-z0-9-]++|\Z)'
)
#: What is no sign in the text between two names: literals, classes and spaces.
_NO_SIGNS = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"|\[(?:[^\]\\]++|\\.)*+\]|[ +]++)++')
_SIGNS = re.compile(r"[(|]|\)(?:[?*]|\{0[0-9,]*\})?")
#: What the copies of rules may come to; where one level has much, there are fewer levels.
_MAX_BYTES = 200_000


#: A symbol, or a group, and how often; a plain tuple, since there are very many.
_Item: TypeAlias = "tuple[str, list[list[_Item]] | None, str]"
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
    bodies = _Bodies({name: body for name, body in rules.rules.items() if name in circular})
    if levels is None:
        possible = _possible(bodies)
        first = _text(_pruned(_parse(start), bodies.texts, possible))
        copies = {
            name: _text(_pruned(bodies[name], bodies.texts, possible))
            for name in bodies.texts
            if name in possible
        }
    else:
        size = sum(map(len, bodies.texts.values()))
        levels = max(min(levels, 2), min(levels, _MAX_BYTES // max(1, size)))
        first, copies = _Copies(rules, bodies, counted, levels).from_start(_parse(start))
    if first and change:
        kept = {name: body for name, body in rules.rules.items() if body and name not in circular}
        rules.rules = kept | copies
    return first or None


class _Bodies(dict[str, _Body]):
    """The bodies of some rules, each read when it is first asked for.

    Args:
        texts: The rules.
    """

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self.texts = texts
        # Cut at the names in them, which are every third part from the third on.
        self.parts = dict(zip(texts, map(_PART.split, texts.values()), strict=True))

    def __missing__(self, name: str) -> _Body:
        body = self[name] = _parse(self.texts[name])
        return body


class _Level(dict[str, str]):
    """What rules are called that are used on one level; the copies get names when they are first used."""

    def __init__(self, copies: _Copies, level: int) -> None:
        super().__init__()
        # They own this: a circle of both would wait for the garbage collector.
        self._copies: _Copies = weakref.proxy(copies)
        self._level = level

    def __missing__(self, name: str) -> str:
        new = self[name] = self._copies.name(name, self._level)
        return new


class _Copies:
    """Writes one copy of the circular rules for each level.

    Args:
        rules: Gives the copies their names.
        bodies: The circular rules.
        counted: Those whose uses are counted.
        levels: How many of those may be inside each other.
    """

    def __init__(self, rules: RuleSet, bodies: _Bodies, counted: set[str], levels: int) -> None:
        self.rules = rules
        self.bodies = bodies
        self.counted = counted
        self.levels = levels
        uses = {
            name: list(filter(bodies.texts.__contains__, parts[2::3])) for name, parts in bodies.parts.items()
        }
        self.needed = _needed(bodies, uses, counted, levels)
        self._levels: dict[int, _Level] = {}
        self._todo: list[tuple[str, int, str]] = []
        self._possible: dict[int, set[str]] = {}
        self._pieces: dict[tuple[str, int], list[str]] = {}
        self._deepest = {
            name: max(map(self.needed.__getitem__, inside), default=0) for name, inside in uses.items()
        }

    def from_start(self, start: _Body) -> tuple[str, dict[str, str]]:
        """The expression to start with ("" when no text has so few levels), and the copies."""
        copies: dict[str, str] = {}
        first = self._copy(self._left(start, self.levels), 0)
        while self._todo:
            name, level, new = self._todo.pop()
            copies[new] = self._copy(self._parts(name, self.levels - level), level)
        return first, copies

    def name(self, name: str, level: int) -> str:
        """What a rule is called that is used on a level for the first time."""
        if name not in self.bodies.texts:
            return name
        new = self.rules.reserve(name) if level else name
        self._todo.append((name, level + (name in self.counted), new))
        return new

    def _parts(self, name: str, levels: int) -> list[str]:
        """The text of a rule under which so many levels are left, cut at the names in it."""
        deepest = self._deepest[name]
        if levels >= deepest:
            return self.bodies.parts[name]
        key = (name, levels)
        if key not in self._pieces:
            self._pieces[key] = self._left(self.bodies[name], levels)
        return self._pieces[key]

    def _left(self, body: _Body, levels: int) -> list[str]:
        if levels not in self._possible:
            self._possible[levels] = {name for name, needed in self.needed.items() if needed <= levels}
        return _PART.split(_text(_pruned(body, self.bodies.texts, self._possible[levels])))

    def _copy(self, parts: list[str], level: int) -> str:
        names = self._levels.get(level)
        if names is None:
            names = self._levels[level] = _Level(self, level)
        written = parts.copy()
        written[2::3] = map(names.__getitem__, parts[2::3])
        return "".join(written)


def _needed(bodies: _Bodies, uses: Mapping[str, list[str]], counted: set[str], most: int) -> dict[str, int]:
    """For every rule how many counted rules are at least inside each other in it, itself one of them."""
    needed = dict.fromkeys(bodies.texts, most + 1)
    users: dict[str, list[str]] = {}
    for name, inside in uses.items():
        for inner in inside:
            users.setdefault(inner, []).append(name)
    wanted: dict[str, list[list[str]] | None] = {}
    signs: dict[str, str] = {}
    # What stands inside others was defined before them: from the inside out there is little to do twice.
    todo = dict.fromkeys(reversed(bodies.texts))
    while todo:
        name = todo.popitem()[0]
        if name not in wanted:
            wanted[name] = _wanted(bodies.parts[name], needed, signs)
        alternatives = wanted[name]
        if alternatives is None:
            least = _least(bodies[name], needed)
        else:
            least = most + 1 if alternatives else 0
            for names in alternatives:
                levels = needed[names[0]] if len(names) == 1 else max([needed[inner] for inner in names])
                if levels < least:
                    least = levels
        found = min(most + 1, least + (name in counted))
        if found < needed[name]:
            needed[name] = found
            todo.update(dict.fromkeys(users.get(name, ())))
    return needed


def _wanted(parts: list[str], circular: Collection[str], signs: dict[str, str]) -> list[list[str]] | None:
    """The circular rules that each alternative of a body needs, nothing where one needs none.

    Args:
        parts: The body, cut at the names in it.
        circular: The circular rules.
        signs: For the texts between names the signs in them, as far as they are known.

    Returns:
        None where the body has to be read for that.
    """
    outer: list[tuple[list[list[str]], list[str]]] = []
    names: list[str] = []
    alternatives = [names]
    before = ""
    for text, name in zip(parts[1::3], parts[2::3], strict=True):
        here = signs.get(text)
        if here is None:
            here = signs[text] = _NO_SIGNS.sub("", text)
        if here:
            if before in circular and text.startswith(("?", "*", "{0,", "{0}")):
                names.pop()
            for sign in _SIGNS.findall(here):
                if sign == "|":
                    names = []
                    alternatives.append(names)
                elif sign == "(":
                    outer.append((alternatives, names))
                    names = []
                    alternatives = [names]
                else:
                    group = alternatives
                    alternatives, names = outer.pop()
                    if len(sign) > 1 or not all(group):
                        continue
                    if len(group) > 1:
                        return None
                    names += group[0]
        before = name
        if name in circular:
            names.append(name)
    return alternatives if all(alternatives) else []


def _least(body: _Body, needed: Mapping[str, int]) -> int:
    """The levels that a body needs: those of its easiest alternative."""
    easiest = -1
    for alternative in body:
        most = 0
        for symbol, group, times in alternative:
            if times and _may_be_none(times):
                continue
            levels = needed.get(symbol, 0) if group is None else _least(group, needed)
            if levels > most:
                most = levels
        if not most:
            return 0
        if easiest < 0 or most < easiest:
            easiest = most
    return easiest


def _parse(text: str) -> _Body:
    outer: list[tuple[_Body, list[_Item]]] = []
    items: list[_Item] = []
    body: _Body = [items]
    for token in _TOKEN.findall(text):
        if token == "(":
            outer.append((body, items))
            items = []
            body = [items]
        elif token == "|":
            items = []
            body.append(items)
        elif token == ")":
            group = body
            body, items = outer.pop()
            items.append(("", group, ""))
        elif token[0] in "?*+{" and token != "{":
            symbol, inner, _ = items[-1]
            items[-1] = (symbol, inner, token)
        elif token in _UNREADABLE:
            raise AssertionError(f"a rule that cannot be read at {token!r}: {text[:200]}")
        else:
            items.append((token, None, ""))
    if outer:
        raise AssertionError(f"a rule in which a group is open: {text[:200]}")
    return body


def _may_be_none(times: str) -> bool:
    return times in ("?", "*") or times.startswith(("{0,", "{0}"))


def _text(body: _Body) -> str:
    return " | ".join(" ".join(_item_text(item) for item in alternative) for alternative in body)


def _item_text(item: _Item) -> str:
    symbol, group, times = item
    return (symbol if group is None else f"({_text(group)})") + times


def _names(body: _Body) -> Iterable[str]:
    for alternative in body:
        for symbol, group, _ in alternative:
            if group is not None:
                yield from _names(group)
            elif _NAME.fullmatch(symbol):
                yield symbol


def _reaching(rules: RuleSet, targets: set[str]) -> set[str]:
    """Rules from which one of the targets can be reached, the targets included."""
    found = set(targets)
    left = [
        (name, rules.names_in(body))
        for name, body in rules.rules.items()
        if name not in found and name not in rules.groups
    ]
    while True:
        # Rules come after those that they are made of, but for the circles: a few rounds find all.
        still = []
        for rule in left:
            if found.isdisjoint(rule[1]):
                still.append(rule)
            else:
                found.add(rule[0])
        if len(still) == len(left):
            return found
        left = still


def _possible(bodies: _Bodies) -> set[str]:
    """Rules of which a finite text exists; those that are not among the bodies have one."""
    users: dict[str, list[str]] = {}
    for name in bodies.texts:
        for inner in set(_names(bodies[name])):
            users.setdefault(inner, []).append(name)
    possible: set[str] = set()
    todo = list(bodies.texts)
    while todo:
        name = todo.pop()
        if name not in possible and _pruned(bodies[name], bodies.texts, possible):
            possible.add(name)
            todo += users.get(name, ())
    return possible


def _pruned(body: _Body, circular: Collection[str], possible: set[str]) -> _Body:
    """What is left of a body when circular rules that are not possible are taken out of it."""
    out: _Body = []
    for alternative in body:
        kept: list[_Item] = []
        for item in alternative:
            symbol, group, times = item
            if group is not None:
                group = _pruned(group, circular, possible)
                fits = bool(group)
                item = (symbol, group, times)
            else:
                fits = symbol not in circular or symbol in possible
            if fits:
                kept.append(item)
            elif not _may_be_none(times):
                break
        else:
            out.append(kept)
    return out
