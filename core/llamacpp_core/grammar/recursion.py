"""Checks that a grammar can be expanded: no left recursion, no runaway analysis.

llama.cpp keeps a set of parse stacks and expands the rule on top of each until a terminal is there. A rule
that reaches itself before any terminal, with something left to do after it, makes the stack grow for ever.
llama.cpp's own check (``llama_grammar_detect_left_recursion``) sees only rules that have an empty alternative
written out, and it visits shared rules again on every path; both are dealt with here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llamacpp_core.grammar.elements import Element, Ref

__all__ = ["check_recursion", "find_endless"]

_MAX_VISITS = 20_000_000
_Rules = Mapping[str, Sequence[Sequence[Element]]]


def check_recursion(rules: _Rules, root: str) -> tuple[str, str] | None:
    """Looks for left recursion.

    Args:
        rules: Rule name to alternatives; every reference is defined.
        root: The start rule.

    Returns:
        The name of an offending rule and the reason, or None when the grammar is fine.
    """
    written_empty = {name for name, alternatives in rules.items() if any(not a for a in alternatives)}
    heads = {name: [ref for ref, _ in _heads(alts, written_empty)] for name, alts in rules.items()}
    cyclic, order = _find_cycle(heads)
    if cyclic is not None:
        return cyclic, f"left recursion: rule {_shown(cyclic)} can start with itself"
    visits: dict[str, int] = {}
    for name in order:
        visits[name] = sum(len(a) + 1 for a in rules[name]) + sum(visits[ref] for ref in heads[name])
        if visits[name] > _MAX_VISITS:
            return name, f"rule {_shown(name)} starts with too many nested alternatives to be checked"
    hidden = _hidden_recursion(rules, root)
    if hidden is not None:
        return hidden, f"left recursion: rule {_shown(hidden)} can start with itself after empty rules"
    return None


def find_endless(rules: _Rules, root: str) -> str | None:
    """A rule, reachable from the start rule, of which no finite text exists; None when all have one."""
    finite: set[str] = set()
    changed = True
    while changed:
        before = len(finite)
        for name, alternatives in rules.items():
            if name not in finite and any(
                all(not isinstance(e, Ref) or e.name in finite for e in alternative)
                for alternative in alternatives
            ):
                finite.add(name)
        changed = len(finite) > before
    return next((name for name in _reachable(rules, root) if name not in finite), None)


def _shown(name: str) -> str:
    return repr(name.partition("_")[0])


def _heads(alternatives: Sequence[Sequence[Element]], empty: set[str]) -> list[tuple[str, bool]]:
    """References that can come first, each with whether it is the last element of its alternative."""
    found: list[tuple[str, bool]] = []
    for alternative in alternatives:
        for index, element in enumerate(alternative):
            if not isinstance(element, Ref):
                break
            found.append((element.name, index + 1 == len(alternative)))
            if element.name not in empty:
                break
    return found


def _find_cycle(edges: Mapping[str, Sequence[str]]) -> tuple[str | None, list[str]]:
    """Depth-first search; returns a node on a cycle, or None, and the nodes in postorder."""
    state: dict[str, int] = {}
    order: list[str] = []
    for start in edges:
        if start in state:
            continue
        state[start] = 1
        stack = [(start, iter(edges[start]))]
        while stack:
            node, children = stack[-1]
            for child in children:
                if state.get(child) == 1:
                    return child, order
                if child not in state:
                    state[child] = 1
                    stack.append((child, iter(edges[child])))
                    break
            else:
                state[node] = 2
                order.append(node)
                stack.pop()
    return None, order


def _nullable(rules: _Rules) -> set[str]:
    users: dict[str, list[tuple[str, int]]] = {}
    missing: dict[tuple[str, int], int] = {}
    todo: list[str] = []
    for name, alternatives in rules.items():
        for index, alternative in enumerate(alternatives):
            refs = [element.name for element in alternative if isinstance(element, Ref)]
            if len(refs) < len(alternative):
                continue
            missing[name, index] = len(refs)
            for ref in refs:
                users.setdefault(ref, []).append((name, index))
            if not refs:
                todo.append(name)
    nullable: set[str] = set()
    while todo:
        name = todo.pop()
        if name in nullable:
            continue
        nullable.add(name)
        for user in users.get(name, ()):
            missing[user] -= 1
            if missing[user] == 0:
                todo.append(user[0])
    return nullable


def _hidden_recursion(rules: _Rules, root: str) -> str | None:
    """A reachable rule that starts with itself, with more to come, once empty rules are passed."""
    nullable = _nullable(rules)
    edges = {name: _heads(alts, nullable) for name, alts in rules.items()}
    component = _components({name: [ref for ref, _ in refs] for name, refs in edges.items()})
    reachable = _reachable(rules, root)
    for name in reachable:
        for ref, is_last in edges[name]:
            if not is_last and component[ref] == component[name]:
                return name
    return None


def _reachable(rules: _Rules, root: str) -> list[str]:
    seen = {root: None}
    todo = [root]
    while todo:
        for alternative in rules[todo.pop()]:
            for element in alternative:
                if isinstance(element, Ref) and element.name not in seen:
                    seen[element.name] = None
                    todo.append(element.name)
    return list(seen)


def _components(edges: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Strongly connected components by Kosaraju's two passes: node to component number."""
    order = _postorder(edges)
    reverse: dict[str, list[str]] = {name: [] for name in edges}
    for name, refs in edges.items():
        for ref in refs:
            reverse[ref].append(name)
    component: dict[str, int] = {}
    for number, start in enumerate(reversed(order)):
        if start in component:
            continue
        component[start] = number
        todo = [start]
        while todo:
            for previous in reverse[todo.pop()]:
                if previous not in component:
                    component[previous] = number
                    todo.append(previous)
    return component


def _postorder(edges: Mapping[str, Sequence[str]]) -> list[str]:
    seen: set[str] = set()
    order: list[str] = []
    for start in edges:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(edges[start]))]
        while stack:
            node, children = stack[-1]
            for child in children:
                if child not in seen:
                    seen.add(child)
                    stack.append((child, iter(edges[child])))
                    break
            else:
                order.append(node)
                stack.pop()
    return order
