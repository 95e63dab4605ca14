"""Automata without dead ends, with the places where they can stay kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from llamacpp_core.grammar.automaton import Dfa
from llamacpp_core.grammar.charset import Ranges

__all__ = ["Partial", "plain", "unroll_circles"]


@dataclass
class Partial:
    """A deterministic automaton in which every edge leads on; state 0 is the start.

    Attributes:
        edges: For every state the next states with the code points that lead there.
        accepting: For every state whether a string may end there.
        loops: The code points with which the automaton stays at a state; not among its edges.
    """

    edges: dict[int, dict[int, Ranges]]
    accepting: list[bool]
    loops: dict[int, Ranges] = field(default_factory=dict)

    def room(self, high: int) -> int | None:
        """How often it may stay at each place where no string may be longer than ``high``.

        Places on different ways do not take from each other. There must be no circles.

        Returns:
            None when even without staying anywhere a string is longer.
        """
        order = _in_order(self.edges)[::-1]

        def longest(stay: int) -> tuple[int, int]:
            """The longest way: its letters, and the places where it may stay."""
            known: dict[int, tuple[int, int, int]] = {}
            for state in order:
                length, letters, places = max(
                    [known[target] for target in self.edges[state]], default=(-1, -1, 0)
                )
                stays = state in self.loops
                known[state] = length + 1 + stay * stays, letters + 1, places + stays
            return known[0][1:]

        if longest(0)[0] > high:
            return None
        room = high
        while True:  # each way that is too long says how much less it must be
            letters, places = longest(room)
            if letters + places * room <= high:
                return room
            room = (high - letters) // places


def plain(dfa: Dfa) -> Partial:
    """An automaton as it is."""
    return Partial(dict(enumerate(dfa.edges)), dfa.accepting)


def unroll_circles(dfa: Dfa, rounds: int) -> Partial:
    """An automaton that goes round circles of several states at most ``rounds`` times in all.

    Only strings that the given automaton accepts are accepted, the shortest among them.
    """
    edges = dict(enumerate(dfa.edges))
    component = _components(edges)
    depth = {0: 0}
    todo = [0]
    for state in todo:
        for target in edges[state]:
            if target not in depth:
                depth[target] = depth[state] + 1
                todo.append(target)
    # For every state: where it can go, and whether that is the way back in a circle.
    steps = {
        state: [
            (target, ranges, component[target] == component[state] and depth[target] <= depth[state])
            for target, ranges in edges[state].items()
            if target != state
        ]
        for state in todo
    }
    numbers: list[dict[int, int]] = [{} for _ in range(rounds + 1)]  # of the states, by the rounds used
    numbers[0][0] = 0
    places = [(0, 0)]
    made = Partial({}, [])
    for number, (state, used) in enumerate(places):
        here: dict[int, Ranges] = {}
        for target, ranges, back in steps[state]:
            if used + back > rounds:
                continue
            known = numbers[used + back]
            following = known.get(target)
            if following is None:
                following = known[target] = len(places)
                places.append((target, used + back))
            here[following] = ranges
        if state in edges[state]:
            made.loops[number] = edges[state][state]
        made.edges[number] = here
        made.accepting.append(dfa.accepting[state])
    return _alive(made)


def _alive(partial: Partial) -> Partial:
    """Without the states from which no string can end."""
    users: dict[int, list[int]] = {}
    for state, targets in partial.edges.items():
        for target in targets:
            users.setdefault(target, []).append(state)
    todo = [state for state, accepting in enumerate(partial.accepting) if accepting]
    alive = set(todo)
    while todo:
        for user in users.get(todo.pop(), ()):
            if user not in alive:
                alive.add(user)
                todo.append(user)
    if len(alive) == len(partial.edges):
        return partial
    partial.edges = {
        state: {target: ranges for target, ranges in targets.items() if target in alive}
        for state, targets in partial.edges.items()
    }
    return partial


def _in_order(edges: dict[int, dict[int, Ranges]]) -> list[int]:
    """The states that the start leads to, each before those that it leads to."""
    order: list[int] = []
    seen = {0}
    stack = [(0, iter(edges[0]))]
    while stack:
        state, targets = stack[-1]
        for target in targets:
            if target not in seen:
                seen.add(target)
                stack.append((target, iter(edges[target])))
                break
        else:
            order.append(state)
            stack.pop()
    return order[::-1]


def _components(edges: dict[int, dict[int, Ranges]]) -> dict[int, int]:
    """Strongly connected components: state to component number (Kosaraju's two passes)."""
    reverse: dict[int, list[int]] = {}
    for state, targets in edges.items():
        for target in targets:
            reverse.setdefault(target, []).append(state)
    order = _in_order(edges)
    component: dict[int, int] = {}
    for start in order:
        if start in component:
            continue
        component[start] = start
        todo = [start]
        while todo:
            for previous in reverse.get(todo.pop(), ()):
                if previous not in component and previous in edges:
                    component[previous] = start
                    todo.append(previous)
    return component
