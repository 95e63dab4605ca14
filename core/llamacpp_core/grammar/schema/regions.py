"""Properties that a schema does not name, by patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce

from llamacpp_core.grammar.automaton import Dfa, all_strings
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.schema.document import Document, Node
from llamacpp_core.grammar.schema.flats import Object, Property, Region, named_tuple
from llamacpp_core.grammar.strings import pattern_dfa

__all__ = ["lookup", "may_match", "merge_regions", "region_dfa", "regions_of"]


@lru_cache(maxsize=4096)
def may_match(pattern: str, name: str, *, wide: bool) -> bool:
    """Whether a pattern matches a name: in some dialect of regular expressions (wide), or in all."""
    try:
        return pattern_dfa(pattern, wide=wide).accepts(name)
    except PatternError:
        return wide


@lru_cache(maxsize=1024)
def region_dfa(within: tuple[str, ...], without: tuple[str, ...], *, wide: bool) -> Dfa:
    """The names that match all of ``within`` and none of ``without``: surely, or perhaps (wide).

    Raises:
        PatternError: A pattern is not supported.
    """
    parts = [pattern_dfa(pattern, wide=wide) for pattern in within]
    parts += [pattern_dfa(pattern, wide=not wide).complement() for pattern in without]
    return reduce(Dfa.intersect, parts) if parts else all_strings()


@lru_cache(maxsize=4096)
def _is_empty(within: tuple[str, ...], without: tuple[str, ...]) -> bool:
    if not within or (len(within) == 1 and not without):
        return False
    try:
        if without:
            last = region_dfa((), without[-1:], wide=True)
            return not region_dfa(within, without[:-1], wide=True).meets(last)
        last = region_dfa(within[-1:], (), wide=True)
        return not region_dfa(within[:-1], (), wide=True).meets(last)
    except PatternError:
        return False


def _region(within: Sequence[str], without: Sequence[str], node: Node, evaluated: bool) -> Region | None:
    yes, no = tuple(sorted(set(within))), tuple(sorted(set(without)))
    return None if set(yes) & set(no) or _is_empty(yes, no) else Region(yes, no, node, evaluated)


def regions_of(
    patterns: Sequence[tuple[str, Node]], others: Node | None, document: Document
) -> tuple[Region, ...]:
    """The regions of ``patternProperties`` and ``additionalProperties``.

    Args:
        patterns: The patterns with their nodes.
        others: The node of properties that no pattern matches; None when nothing is said about them.
        document: Joins nodes.
    """
    if not patterns:
        return (Region((), (), document.true if others is None else others, others is not None),)
    found = [Region((), (), document.true, False)]
    for pattern, node in patterns:
        split = []
        for region in found:
            joined = document.all_of((region.node, node))
            both = _region((*region.within, pattern), region.without, joined, True)
            split.append(both)
            # Where nothing matches both, the one says already that the other does not match.
            split.append(
                region
                if both is None
                else _region(region.within, (*region.without, pattern), region.node, region.evaluated)
            )
        found = [region for region in split if region is not None]
    if others is None:
        return tuple(found)
    return tuple(r if r.within else Region((), r.without, others, True) for r in found)


def merge_regions(a: tuple[Region, ...], b: tuple[Region, ...], document: Document) -> tuple[Region, ...]:
    """The regions of two schemas that apply to the same object."""
    if a == b:
        return a
    found = []
    for mine in a:
        for theirs in b:
            region = _region(
                (*mine.within, *theirs.within),
                (*mine.without, *theirs.without),
                document.all_of((mine.node, theirs.node)),
                mine.evaluated or theirs.evaluated,
            )
            if region is not None:
                found.append(region)
    return tuple(found)


def lookup(flat: Object, name: str, document: Document) -> Property:
    """What holds for a property of a given name; where a pattern is in doubt, all that may hold."""
    known = flat.names.get(name)
    if known is not None:
        return known
    if len(flat.rest) == 1:
        within, without, node, evaluated = flat.rest[0]
        if not within and not without:
            return named_tuple(Property, (node, evaluated))
    found = [
        region
        for region in flat.rest
        if all(may_match(pattern, name, wide=True) for pattern in region.within)
        and not any(may_match(pattern, name, wide=False) for pattern in region.without)
    ]
    return Property(
        document.all_of([region.node for region in found]), bool(found) and all(r.evaluated for r in found)
    )
