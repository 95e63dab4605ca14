"""Nondeterministic automata from the syntax trees of patterns (Thompson's construction)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from llamacpp_core.grammar.charset import ALPHABET, Ranges
from llamacpp_core.grammar.pattern import Alt, Anchor, Cat, Chars, Lookahead, Node, PatternError, Repeat

__all__ = ["MAX_STATES", "Nfa", "check_states"]

#: Most states of one automaton.
MAX_STATES = 5000


def check_states(n: int) -> int:
    """Returns ``n``, or raises :class:`PatternError` when an automaton would have too many states."""
    if n >= MAX_STATES:
        raise PatternError(
            f"it needs more than {MAX_STATES} states; anchor it with ^ and $, or lower its repetition counts"
        )
    return n


class Nfa:
    """States with at most one edge that reads a code point, and edges that read nothing.

    Args:
        node: The pattern.
        search: The pattern may match anywhere in the string; else it has to match from the beginning.
    """

    def __init__(self, node: Node, *, search: bool) -> None:
        self.edges: list[tuple[Ranges, int] | None] = []
        self.jumps: list[list[int]] = []
        # Jumps that are only there at the beginning of the string, or at its end.
        self.begin_jumps: dict[int, int] = {}
        self.end_jumps: dict[int, int] = {}
        self.start = self._loop() if search else self._new()
        self.end = self._loop()
        first, last = self._build(node)
        self._jump(self.start, first)
        self._jump(last, self.end)

    def _new(self) -> int:
        self.edges.append(None)
        self.jumps.append([])
        return len(self.edges) - 1

    def _loop(self) -> int:
        """A state that may read anything and stay."""
        reader, state = self._new(), self._new()
        self._jump(state, reader)
        self.edges[reader] = (ALPHABET, state)
        return state

    def _jump(self, source: int, target: int) -> None:
        self.jumps[source].append(target)

    def _build(self, node: Node) -> tuple[int, int]:
        """Adds a node's states; returns the first and the last."""
        first = self._new()
        if isinstance(node, Chars):
            last = self._new()
            self.edges[first] = (node.ranges, last)
        elif isinstance(node, Anchor):
            last = self._new()
            (self.end_jumps if node.at_end else self.begin_jumps)[first] = last
        elif isinstance(node, Cat):
            last = first
            for item in node.items:
                last = self._append(last, item)
        elif isinstance(node, Alt):
            last = self._new()
            for item in node.items:
                self._jump(self._append(first, item), last)
        elif isinstance(node, Repeat):
            last = self._repeat(first, node)
        else:
            assert isinstance(node, Lookahead)
            raise PatternError("lookaheads are only supported at the start of the pattern, right after ^")
        return first, last

    def _append(self, state: int, node: Node) -> int:
        if len(self.edges) > 4 * MAX_STATES:
            check_states(MAX_STATES)
        first, last = self._build(node)
        self._jump(state, first)
        return last

    def _repeat(self, first: int, node: Repeat) -> int:
        state = first
        for _ in range(node.low):
            state = self._append(state, node.item)
        last = self._new()
        self._jump(state, last)
        if node.high is None:
            loop_first, loop_last = self._build(node.item)
            self._jump(last, loop_first)
            self._jump(loop_last, last)
            return last
        for _ in range(node.high - node.low):
            state = self._append(state, node.item)
            self._jump(state, last)
        return last

    @cached_property
    def _relevant(self) -> list[bool]:
        """Of each state whether it matters after a closure: it reads, jumps at the end, or is the end."""
        relevant = [edge is not None for edge in self.edges]
        for state in (self.end, *self.end_jumps):
            relevant[state] = True
        return relevant

    def _closure(self, state: int, more_jumps: Mapping[int, int]) -> int:
        """The relevant states that are reached without reading."""
        relevant, jumps = self._relevant, self.jumps
        seen = {state}
        todo = [state]
        mask = 0
        for source in todo:
            if relevant[source]:
                mask |= 1 << source
            targets = jumps[source]
            if source in more_jumps:
                targets = [*targets, more_jumps[source]]
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return mask

    def closures(self) -> dict[int, int]:
        """For every state that an edge leads to, the states reached without reading more."""
        targets = {edge[1] for edge in self.edges if edge is not None}
        return {target: self._closure(target, {}) for target in targets}

    def start_closure(self) -> int:
        """The states where the automaton can be before it reads anything."""
        return self._closure(self.start, self.begin_jumps)

    def final_states(self) -> int:
        """The states from which the end is reached without reading more, at the end of the string."""
        sources: list[list[int]] = [[] for _ in self.jumps]
        for source, targets in enumerate(self.jumps):
            for target in targets:
                sources[target].append(source)
        for source, target in self.end_jumps.items():
            sources[target].append(source)
        seen = {self.end}
        todo = [self.end]
        mask = 0
        for target in todo:
            if self._relevant[target]:
                mask |= 1 << target
            for source in sources[target]:
                if source not in seen:
                    seen.add(source)
                    todo.append(source)
        return mask
