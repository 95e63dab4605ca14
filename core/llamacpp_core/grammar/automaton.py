"""Finite automata over code points: patterns become grammars without ambiguity.

llama.cpp keeps one parse stack for every way in which the text so far can be read, and pays for each with
every token. A deterministic automaton has one way. Automata also give what a grammar cannot say directly:
several patterns at once, a length bound on a pattern, every string but these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from llamacpp_core.grammar.charset import (
    ALPHABET,
    Ranges,
    complement,
    contains,
    partition,
    union,
)
from llamacpp_core.grammar.nfa import MAX_STATES, Nfa, bits, check_states

__all__ = ["MAX_STATES", "Dfa", "all_strings", "determinize", "not_these"]

_MANY_STATES = 100


@dataclass(frozen=True, eq=False)
class Dfa:
    """A complete deterministic automaton; state 0 is the start.

    Attributes:
        classes: A partition of the alphabet.
        delta: For every state the next state by class.
        accepting: For every state whether a string may end there.
    """

    classes: list[Ranges]
    delta: list[list[int]]
    accepting: list[bool]

    def accepts(self, text: str) -> bool:
        """Whether the automaton accepts a string."""
        state = 0
        for c in text:
            for index, ranges in enumerate(self.classes):
                if contains(ranges, ord(c)):
                    state = self.delta[state][index]
                    break
            else:
                return False
        return self.accepting[state]

    @cached_property
    def shortest(self) -> list[float]:
        """For every state the length of its shortest accepted continuation; infinite if it has none."""
        users: list[list[int]] = [[] for _ in self.delta]
        for state, targets in enumerate(self.delta):
            for target in set(targets):
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
    def longest(self) -> list[float]:
        """For every state the length of its longest accepted continuation; infinite where it can loop."""
        live = [d < float("inf") for d in self.shortest]
        edges = [sorted({t for t in targets if live[t]}) for targets in self.delta]
        result = [float("inf") if alive else 0.0 for alive in live]
        waiting = [len(e) for e in edges]
        users: list[list[int]] = [[] for _ in edges]
        for state, targets in enumerate(edges):
            for target in targets:
                users[target].append(state)
        done = [state for state in range(len(edges)) if live[state] and not edges[state]]
        for state in done:
            result[state] = 0.0
        while done:
            for user in users[done.pop()]:
                waiting[user] -= 1
                if waiting[user] == 0 and live[user]:
                    result[user] = 1 + max(result[t] for t in edges[user])
                    done.append(user)
        return result

    @property
    def is_empty(self) -> bool:
        """Whether no string at all is accepted."""
        return self.shortest[0] == float("inf")

    def edges(self, state: int) -> dict[int, Ranges]:
        """The live next states of a state, each with the code points that lead there."""
        found: dict[int, list[int]] = {}
        for index, target in enumerate(self.delta[state]):
            if self.shortest[target] < float("inf"):
                found.setdefault(target, []).append(index)
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
        return Dfa(self.classes, self.delta, [not accepting for accepting in self.accepting])

    def intersect(self, other: Dfa) -> Dfa:
        """The automaton of the strings that both accept."""
        classes, steps = self._common_classes(other)
        alive, others = [d < float("inf") for d in self.shortest], [d < float("inf") for d in other.shortest]
        numbers = {(0, 0): 0}
        todo = [(0, 0)]
        dead = (-1, -1)
        delta = []
        for a_state, b_state in todo:
            row = []
            for i, j in steps:
                pair = dead
                if a_state >= 0:
                    pair = (self.delta[a_state][i], other.delta[b_state][j])
                    if not (alive[pair[0]] and others[pair[1]]):
                        pair = dead
                if pair not in numbers:
                    numbers[pair] = check_states(len(numbers))
                    todo.append(pair)
                row.append(numbers[pair])
            delta.append(row)
        accepting = [a >= 0 and self.accepting[a] and other.accepting[b] for a, b in todo]
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
        key = self._bounded_key(0, low, float("inf") if high is None else float(high))
        numbers = {key: 0}
        todo = [key]
        delta = []
        for state, need, left in todo:
            row = []
            for target in self.delta[state]:
                key = self._bounded_key(target, max(0, need - 1), left - 1)
                if key not in numbers:
                    if len(numbers) >= most:
                        return None
                    numbers[key] = len(numbers)
                    todo.append(key)
                row.append(numbers[key])
            delta.append(row)
        return Dfa(
            self.classes, delta, [self.accepting[s] and not n and left >= 0 for s, n, left in todo]
        ).minimize()

    def _bounded_key(self, state: int, need: int, left: float) -> tuple[int, int, float]:
        """A state with how many code points must and may follow, in its simplest equivalent form."""
        if left < self.shortest[state] or self.longest[state] < need:
            return self._dead, 0, -1
        return state, 0 if need <= self.shortest[state] else need, min(left, self.longest[state])

    @cached_property
    def _dead(self) -> int:
        return next((s for s, d in enumerate(self.shortest) if d == float("inf")), 0)

    def minimize(self) -> Dfa:
        """The equivalent automaton with the fewest states (Hopcroft's algorithm)."""
        block_of = _refine(self)
        numbers: dict[int, int] = {block_of[0]: 0}
        representatives = [0]
        delta = []
        for state in representatives:
            row = []
            for target in self.delta[state]:
                block = block_of[target]
                if block not in numbers:
                    numbers[block] = len(numbers)
                    representatives.append(target)
                row.append(numbers[block])
            delta.append(row)
        return Dfa(self.classes, delta, [self.accepting[s] for s in representatives])


def _refine(dfa: Dfa) -> list[int]:
    """Split the states into blocks of equivalent ones; returns the block number of every state."""
    sources: list[list[tuple[int, int]]] = [[] for _ in dfa.delta]
    for state, row in enumerate(dfa.delta):
        for index, target in enumerate(row):
            sources[target].append((index, state))
    yes = {s for s, accepting in enumerate(dfa.accepting) if accepting}
    blocks = [block for block in (yes, set(range(len(dfa.delta))) - yes) if block]
    block_of = [0] * len(dfa.delta)
    for number, block in enumerate(blocks):
        for state in block:
            block_of[state] = number
    work = {min(range(len(blocks)), key=lambda number: len(blocks[number]))}
    while work:
        # what leads into this block, by class; the block itself may be split meanwhile
        hits: dict[int, list[int]] = {}
        for target in blocks[work.pop()]:
            for index, state in sources[target]:
                hits.setdefault(index, []).append(state)
        for states in hits.values():
            _split(states, blocks, block_of, work)
    return block_of


def _split(states: list[int], blocks: list[set[int]], block_of: list[int], work: set[int]) -> None:
    """Split the blocks that only some of the states lie in; of two halves the smaller is still to be done."""
    parts: dict[int, list[int]] = {}
    for state in states:
        parts.setdefault(block_of[state], []).append(state)
    for number, part in parts.items():
        block = blocks[number]
        if len(part) == len(block):
            continue
        block.difference_update(part)
        new = len(blocks)
        blocks.append(set(part))
        for state in part:
            block_of[state] = new
        work.add(new if number in work or len(part) <= len(block) else number)


def determinize(nfa: Nfa) -> Dfa:
    """The minimal deterministic automaton of a nondeterministic one (subset construction)."""
    classes = partition(edge[0] for edge in nfa.edges if edge is not None)
    moves: list[tuple[list[int], int]] = []
    closures = nfa.closures()
    used_by: dict[Ranges, list[int]] = {}
    for edge in nfa.edges:
        if edge is None:
            moves.append(([], 0))
            continue
        if edge[0] not in used_by:
            used_by[edge[0]] = [i for i, c in enumerate(classes) if contains(edge[0], c[0][0])]
        moves.append((used_by[edge[0]], closures[edge[1]]))
    closures_end = closures[nfa.end]
    start = nfa.start_closure()
    numbers = {start: 0}
    todo = [start]
    delta = []
    for subset in todo:
        row = [0] * len(classes)
        for state in bits(subset):
            used, closure = moves[state]
            for index in used:
                row[index] |= closure
        # Past the end of a match anything may follow: the other states no longer matter.
        row = [closures_end if target >> nfa.end & 1 else target for target in row]
        for target in row:
            if target not in numbers:
                numbers[target] = check_states(len(numbers))
                todo.append(target)
        delta.append([numbers[target] for target in row])
    final = nfa.final_states()
    return Dfa(classes, delta, [bool(subset & final) for subset in todo]).minimize()


@lru_cache(maxsize=1)
def all_strings() -> Dfa:
    """The automaton of every string."""
    return Dfa([ALPHABET], [[0]], [True])


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
    rows = []
    for node in kept:
        row = [
            leaf if (t := trie[node].get(c)) in leaves else free if t is None else numbers[t] for c in letters
        ]
        rows.append([*row, free])
    rows += [[free] * (len(letters) + 1)] * 2
    accepting = [*(node not in ends for node in kept), False, True]
    return Dfa([*classes, others], rows, accepting)
