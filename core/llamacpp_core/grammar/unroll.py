"""Recursive schemas as rules that end: a copy of the rules for each level, and nothing after the last.

Works on the text of rules that :mod:`~llamacpp_core.grammar.rules` and its users write, which is a part of
GBNF: names, literals, character classes, groups, alternatives and repetitions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
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
    """Replace rules that contain themselves by one copy for each level, and take out what has no end.

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
    circular = _reaching(rules.rules, counted)
    bodies = {name: _parse(rules.rules[name]) for name in circular}
    if levels is None:
        first, made = _parse(start), bodies
    else:
        size = sum(len(rules.rules[name]) for name in circular)
        levels = max(min(levels, 2), min(levels, _MAX_BYTES // max(1, size)))
        first, made = _copied(rules, bodies, _parse(start), counted, levels)
    possible = _possible(made)
    pruned = _pruned(first, made, possible)
    if pruned and change:
        rules.rules = {name: body for name, body in rules.rules.items() if name not in circular}
        rules.rules = {name: body for name, body in rules.rules.items() if body} | {
            name: _text(_pruned(body, made, possible)) for name, body in made.items() if name in possible
        }
    return _text(pruned) if pruned else None


def _copied(
    rules: RuleSet,
    bodies: dict[str, _Body],
    start: _Body,
    counted: set[str],
    levels: int,
) -> tuple[_Body, dict[str, _Body]]:
    """The start and the circular rules, one copy for each level."""
    made: dict[str, _Body] = {}
    names: dict[tuple[str, int], str] = {}
    todo: list[tuple[str, int]] = []

    def at_level(name: str, level: int) -> str:
        if name not in bodies:
            return name
        level += name in counted
        key = (name, level)
        if key not in names:
            names[key] = name if level <= (name in counted) else rules.reserve(name)
            todo.append(key)
        return names[key]

    first = _renamed(start, functools.partial(at_level, level=0))
    while todo:
        name, level = todo.pop()
        body = bodies[name] if level <= levels else []
        made[names[name, level]] = _renamed(body, functools.partial(at_level, level=level))
    return first, made


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


def _renamed(body: _Body, name: Callable[[str], str]) -> _Body:
    return [
        [
            item._replace(group=_renamed(item.group, name))
            if item.group is not None
            else item._replace(symbol=name(item.symbol) if _NAME.fullmatch(item.symbol) else item.symbol)
            for item in alternative
        ]
        for alternative in body
    ]


def _reaching(bodies: Mapping[str, str], targets: set[str]) -> set[str]:
    """Rules from which one of the targets can be reached, the targets included."""
    users: dict[str, list[str]] = {}
    for name, body in bodies.items():
        for inner in set(SYMBOL.findall(body)):
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
