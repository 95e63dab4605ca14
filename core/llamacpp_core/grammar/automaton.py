"""Finite automata over code points: patterns become grammars without ambiguity.

llama.cpp keeps one parse stack for every way in which the text so far can be read, and pays for each with
every token. A deterministic automaton has one way. Automata also give what a grammar cannot say directly:
several patterns at once, a length bound on a pattern, every string but these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from llamacpp_core.grammar.blocks import blocks_of
from llamacpp_core.grammar.charset import (
    ALPHABET,
    Ranges,
    complement,
    contains,
    partition,
    union,
)
from llamacpp_core.grammar.nfa import MAX_STATES, Nfa, check_states

__all__ = ["MAX_STATES", "Dfa", "all_strings", "determinize", "not_these"]

_MANY_STATES = 100
_NO_PAIR = (-1, -1)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Dfa:
    """A complete deterministic automaton; state 0 is the start.

    Attributes:
        classes: A partition of the alphabet.
        delta: For every state the next state by class.
        accepting: For every state whether a string may end there.
        minimal: No smaller automaton is equivalent.
    """

    classes: list[Ranges]
    delta: list[tuple[int, ...]]
    accepting: list[bool]
    minimal: bool = False

    def accepts(self, text: str) -> bool:
        """Whether the automaton accepts a string."""
        state = 0
        steps = self._steps
        for c in text:
            known = steps[state]
            if known is None:
                # Nothing leads out of the state; what no string can hold is refused all the same.
                return self.accepting[state] and (text.isascii() or _SURROGATE.search(text) is None)
            following = known.get(c)
            if following is None:
                index = self._class_of(c)
                if index < 0:
                    return False
                following = known[c] = self.delta[state][index]
            state = following
        return self.accepting[state]

    @cached_property
    def _steps(self) -> list[dict[str, int] | None]:
        """For every state the next states by the characters that were asked for; None where it stays."""
        return [None if following == {state} else {} for state, following in enumerate(self._following)]

    def _class_of(self, c: str) -> int:
        """The class of a character; -1 for none."""
        known = self._classes_of.get(c)
        if known is None:
            found = (i for i, ranges in enumerate(self.classes) if contains(ranges, ord(c)))
            known = self._classes_of[c] = next(found, -1)
        return known

    @cached_property
    def _classes_of(self) -> dict[str, int]:
        """The class of each character that was asked for."""
        return {}

    @cached_property
    def _following(self) -> list[set[int]]:
        """For every state all next states."""
        return [set(targets) for targets in self.delta]

    @cached_property
    def shortest(self) -> list[float]:
        """For every state the length of its shortest accepted continuation; infinite if it has none."""
        users: list[list[int]] = [[] for _ in self.delta]
        for state, targets in enumerate(self._following):
            for target in targets:
                users[target].append(state)
        distance = [0.0 if accepting else float("inf") for accepting in self.accepting]
        level = [state for state, accepting in enumerate(self.accepting) if accepting]
        while level:
            following = []
            for state in level:
                for user in users[state]:
                    if distance[user] > distance[state] + 1:
                        distance[user] = distance[state] + 1
                        following.append(user)
            level = following
        return distance

    @cached_property
    def _dead_states(self) -> set[int]:
        """The states from which no string can end."""
        return {state for state, length in enumerate(self.shortest) if length == float("inf")}

    @cached_property
    def longest(self) -> list[float]:
        """For every state the length of its longest accepted continuation; infinite where it can loop."""
        dead = self._dead_states
        edges = [targets - dead for targets in self._following]
        result = [0.0 if state in dead else float("inf") for state in range(len(edges))]
        waiting = [len(e) for e in edges]
        users: list[list[int]] = [[] for _ in edges]
        for state, targets in enumerate(edges):
            for target in targets:
                users[target].append(state)
        done = [state for state in range(len(edges)) if state not in dead and not edges[state]]
        for state in done:
            result[state] = 0.0
        while done:
            for user in users[done.pop()]:
                waiting[user] -= 1
                if waiting[user] == 0 and user not in dead:
                    result[user] = 1 + max([result[t] for t in edges[user]])
                    done.append(user)
        return result

    @property
    def is_empty(self) -> bool:
        """Whether no string at all is accepted."""
        return self.shortest[0] == float("inf")

    @cached_property
    def edges(self) -> list[dict[int, Ranges]]:
        """For every state its live next states, each with the code points that lead there."""
        return [self._edges(state) for state in range(len(self.delta))]

    def _edges(self, state: int) -> dict[int, Ranges]:
        found: dict[int, list[int]] = {}
        dead = self._dead_states
        for index, target in enumerate(self.delta[state]):
            if target in found:
                found[target].append(index)
            elif target not in dead:
                found[target] = [index]
        return {target: self._together(tuple(indices)) for target, indices in found.items()}

    def _together(self, indices: tuple[int, ...]) -> Ranges:
        """The code points of several classes."""
        if indices not in self._joined:
            self._joined[indices] = union(*(self.classes[index] for index in indices))
        return self._joined[indices]

    @cached_property
    def _joined(self) -> dict[tuple[int, ...], Ranges]:
        return {}

    def complement(self) -> Dfa:
        """The automaton of all strings that this one does not accept."""
        return self._complement

    @cached_property
    def _complement(self) -> Dfa:
        return Dfa(self.classes, self.delta, [not accepting for accepting in self.accepting], self.minimal)

    def intersect(self, other: Dfa) -> Dfa:
        """The automaton of the strings that both accept."""
        for one, another in ((self, other), (other, self)):
            if len(one.delta) == 1 and one.accepting[0]:
                return another
        classes, steps = self._common_classes(other)
        size = len(other.delta)
        # A pair of states is one number, here those that are numbered in the new automaton.
        numbers = {0: 0}
        todo = [(0, 0)]
        dead = -1
        delta = []
        for pair in todo:
            if pair is _NO_PAIR:
                delta.append((dead,) * len(steps))
                continue
            mine, theirs = self.delta[pair[0]], other.delta[pair[1]]
            row = [mine[i] * size + theirs[j] for i, j in steps]
            for key in dict.fromkeys(row):
                if key in numbers:
                    continue
                after = divmod(key, size)
                if after[0] not in self._dead_states and after[1] not in other._dead_states:
                    numbers[key] = check_states(len(todo))
                    todo.append(after)
                    continue
                if dead < 0:
                    dead = check_states(len(todo))
                    todo.append(_NO_PAIR)
                numbers[key] = dead
            delta.append(tuple(map(numbers.__getitem__, row)))
        accepting = [s is not _NO_PAIR and self.accepting[s[0]] and other.accepting[s[1]] for s in todo]
        made = Dfa(classes, delta, accepting)
        return made.minimize() if len(delta) > _MANY_STATES else made

    def _common_classes(self, other: Dfa) -> tuple[list[Ranges], list[tuple[int, int]]]:
        """The classes of both together, and for each the two that it lies in."""
        mine, theirs = self._in_order, other._in_order
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        a = b = 0
        while a < len(mine) and b < len(theirs):
            low, high, i = mine[a]
            first, last, j = theirs[b]
            if low <= last and first <= high:
                found.setdefault((i, j), []).append((max(low, first), min(high, last)))
            a += high <= last
            b += last <= high
        steps = sorted(found)
        return [tuple(found[step]) for step in steps], steps

    @cached_property
    def _in_order(self) -> list[tuple[int, int, int]]:
        """The ranges of all classes with the number of the class; together they are the alphabet."""
        return sorted((low, high, i) for i, ranges in enumerate(self.classes) for low, high in ranges)

    def meets(self, other: Dfa) -> bool:
        """Whether there is a string that both accept."""
        _, steps = self._common_classes(other)
        seen = {(0, 0)}
        todo = [(0, 0)]
        for a_state, b_state in todo:
            if self.accepting[a_state] and other.accepting[b_state]:
                return True
            for i, j in steps:
                pair = (self.delta[a_state][i], other.delta[b_state][j])
                if pair not in seen and self.shortest[pair[0]] + other.shortest[pair[1]] < float("inf"):
                    seen.add(pair)
                    todo.append(pair)
        return False

    def with_length(self, low: int, high: int | None, most: int = MAX_STATES) -> Dfa | None:
        """The automaton of the accepted strings that have from ``low`` to ``high`` code points.

        Args:
            low: Fewest code points.
            high: Most code points; None for no end.
            most: Most states; with more the result is None.
        """
        if high is None and low <= self.shortest[0]:
            return self
        shortest, longest = self.shortest, self.longest
        dead = (next((s for s, d in enumerate(shortest) if d == float("inf")), 0), 0, -1.0)

        left = float("inf") if high is None else float(high)
        # A state with how many code points must and may follow, equal where that means the same.
        key = dead
        if shortest[0] <= left and low <= longest[0]:
            key = (0, 0 if low <= shortest[0] else low, min(left, longest[0]))
        numbers = {key: 0}
        todo = [key]
        delta = []
        distinct = [tuple(dict.fromkeys(row)) for row in self.delta]
        for state, need, left in todo:
            following: dict[int, int] = {}
            must, may = need - 1 if need else 0, left - 1
            for target in distinct[state]:
                short, long = shortest[target], longest[target]
                if may < short or long < must:
                    key = dead
                else:
                    key = (target, 0 if must <= short else must, may if may < long else long)
                number = numbers.get(key)
                if number is None:
                    number = len(numbers)
                    if number >= most:
                        return None
                    numbers[key] = number
                    todo.append(key)
                following[target] = number
            delta.append(tuple(map(following.__getitem__, self.delta[state])))
        return Dfa(
            self.classes, delta, [self.accepting[s] and not n and left >= 0 for s, n, left in todo]
        ).minimize()

    def minimize(self) -> Dfa:
        """The equivalent automaton with the fewest states."""
        if self.minimal:
            return self
        block_of = blocks_of(self.delta, self.accepting)
        numbers: dict[int, int] = {block_of[0]: 0}
        representatives = [0]
        delta = []
        for state in representatives:
            targets = self.delta[state]
            row = [*map(block_of.__getitem__, targets)]
            for block in dict.fromkeys(row):
                if block not in numbers:
                    numbers[block] = len(numbers)
                    representatives.append(targets[row.index(block)])
            delta.append(tuple(map(numbers.__getitem__, row)))
        return Dfa(self.classes, delta, [self.accepting[s] for s in representatives], minimal=True)


def determinize(nfa: Nfa) -> Dfa:
    """The minimal deterministic automaton of a nondeterministic one (subset construction)."""
    classes = partition(edge[0] for edge in nfa.edges if edge is not None)
    closures = nfa.closures()
    # Where the edge of a state leads to, by the bit of the state.
    after = {1 << state: closures[edge[1]] for state, edge in enumerate(nfa.edges) if edge is not None}
    end = 1 << nfa.end
    used_by: dict[Ranges, list[int]] = {}
    readers = [0] * len(classes)
    for state, edge in enumerate(nfa.edges):
        if edge is None:
            continue
        if edge[0] not in used_by:
            used_by[edge[0]] = [i for i, c in enumerate(classes) if contains(edge[0], c[0][0])]
        for index in used_by[edge[0]]:
            readers[index] |= 1 << state
    start = nfa.start_closure()
    # of states that read the same characters: what follows them, by its number
    reached: dict[int, int] = {}
    numbers = {start: 0}
    todo = [start]
    delta = []
    for subset in todo:
        row = [*map(subset.__and__, readers)]
        for here in dict.fromkeys(row):
            if here in reached:
                continue
            target, left = 0, here
            while left:
                lowest = left & -left
                target |= after[lowest]
                left ^= lowest
            if target & end:
                # Past the end of a match anything may follow: the other states no longer matter.
                target = closures[nfa.end]
            if target not in numbers:
                numbers[target] = check_states(len(numbers))
                todo.append(target)
            reached[here] = numbers[target]
        delta.append(tuple(map(reached.__getitem__, row)))
    final = nfa.final_states()
    return Dfa(classes, delta, [bool(subset & final) for subset in todo]).minimize()


@lru_cache(maxsize=1)
def all_strings() -> Dfa:
    """The automaton of every string."""
    return Dfa([ALPHABET], [(0,)], [True])


@lru_cache(maxsize=256)
def not_these(texts: tuple[str, ...]) -> Dfa:
    """The automaton of every string that is none of the given ones."""
    if not texts:
        return all_strings()
    trie: list[dict[str, int]] = [{}]
    ends: set[int] = set()
    for text in texts:
        node = 0
        for c in text:
            if c not in trie[node]:
                trie[node][c] = len(trie)
                trie.append({})
                check_states(len(trie))
            node = trie[node][c]
        ends.add(node)
    # All texts that nothing longer begins with end in the same way.
    leaves = {node for node in ends if node and not trie[node]}
    kept = [node for node in range(len(trie)) if node not in leaves]
    numbers = {node: index for index, node in enumerate(kept)}
    leaf, free = len(kept), len(kept) + 1
    letters = sorted({c for node in trie for c in node})
    classes: list[Ranges] = [((ord(c), ord(c)),) for c in letters]
    others = complement(union(*classes))
    places = {c: index for index, c in enumerate(letters)}
    others_only = [free] * (len(letters) + 1)
    rows = []
    for node in kept:
        row = others_only.copy()
        for c, target in trie[node].items():
            row[places[c]] = leaf if target in leaves else numbers[target]
        rows.append(tuple(row))
    rows += [tuple(others_only)] * 2
    accepting = [*(node not in ends for node in kept), False, True]
    return Dfa([*classes, others], rows, accepting)
