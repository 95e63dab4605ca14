"""Which states of a deterministic automaton are equivalent."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["blocks_of"]

_Rows = Sequence[Sequence[int]]


def blocks_of(delta: _Rows, accepting: Sequence[bool]) -> list[int]:
    """The block number of every state; equivalent states are in one block.

    Args:
        delta: For every state the next state by class.
        accepting: For every state whether a string may end there.
    """
    return _from_the_ends(delta, accepting) or _refine(delta, accepting)


def _from_the_ends(delta: _Rows, accepting: Sequence[bool]) -> list[int] | None:
    """The block numbers of the states, those that a state leads to first; None when there are circles.

    A state may stay where it is. Most automata of patterns and of names are of this kind, and need no more
    than one look at each state.
    """
    targets = [set(row) for row in delta]
    users: list[list[int]] = [[] for _ in targets]
    for state, following in enumerate(targets):
        following.discard(state)
        for target in following:
            users[target].append(state)
    waiting = [len(following) for following in targets]
    done = [state for state, count in enumerate(waiting) if not count]
    block_of = [-1] * len(targets)
    blocks: dict[tuple[bool, tuple[int, ...]], int] = {}
    for state in done:
        row = tuple(map(block_of.__getitem__, delta[state]))
        block_of[state] = _block(accepting[state], row, blocks)
        for user in users[state]:
            waiting[user] -= 1
            if not waiting[user]:
                done.append(user)
    return block_of if len(done) == len(targets) else None


def _block(accepting: bool, row: tuple[int, ...], blocks: dict[tuple[bool, tuple[int, ...]], int]) -> int:
    """The block of a state whose next states are in given blocks, -1 for the state itself."""
    found = blocks.get((accepting, row))
    if found is not None:
        return found
    if -1 in row:
        for block in set(row) - {-1}:
            if blocks.get((accepting, tuple([block if other == -1 else other for other in row]))) == block:
                return block
    new = len(blocks)
    blocks[accepting, row] = new
    if -1 in row:
        blocks[accepting, tuple([new if other == -1 else other for other in row])] = new
    return new


def _refine(delta: _Rows, accepting: Sequence[bool]) -> list[int]:
    """Splits the states into blocks of equivalent ones (Hopcroft's algorithm), as block numbers."""
    sources: list[list[tuple[int, int]]] = [[] for _ in delta]
    for state, row in enumerate(delta):
        for index, target in enumerate(row):
            sources[target].append((index, state))
    yes = {s for s, ends in enumerate(accepting) if ends}
    blocks = [block for block in (yes, set(range(len(delta))) - yes) if block]
    block_of = [0] * len(delta)
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
    """Splits blocks that only some of the states lie in; of two halves the smaller one is left to do."""
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
