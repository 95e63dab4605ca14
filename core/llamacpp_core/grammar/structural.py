"""Patterns as grammar rules of the same structure, for patterns that are read in one way, or nearly so."""

from __future__ import annotations

from functools import lru_cache

from llamacpp_core.grammar.charset import json_text_of
from llamacpp_core.grammar.pattern import Alt, Anchor, Cat, Chars, Node, Repeat, parse_pattern
from llamacpp_core.grammar.rules import ATOM, SYMBOL, RuleSet, choice, repeat
from llamacpp_core.grammar.strings import PREFIX

__all__ = ["structural_rules"]


@lru_cache(maxsize=256)
def structural_rules(pattern: str, limit: int | None) -> tuple[str, dict[str, str]]:
    """Rules for the inside of JSON strings that a pattern matches from its beginning to its end.

    Args:
        pattern: A pattern with anchors at both ends, and nowhere else.
        limit: Most repetitions where the pattern sets no end; None for no end.

    Returns:
        As :func:`~llamacpp_core.grammar.strings.dfa_rules`.
    """
    rules = RuleSet()
    start = _structural(parse_pattern(pattern), rules, limit)

    def marked(body: str) -> str:
        return SYMBOL.sub(lambda found: f"{PREFIX if found[1] else ''}{found[0]}", body)

    return marked(start), {f"{PREFIX}{name}": marked(body) for name, body in rules.rules.items()}


def _structural(node: Node, rules: RuleSet, limit: int | None) -> str:
    """The expression for one node; parts of the pattern that are equal share a rule."""
    if isinstance(node, Chars):
        return _symbol(choice(json_text_of(node.ranges)), rules)
    if isinstance(node, Anchor):
        return ""
    if isinstance(node, Cat):
        parts = [_structural(item, rules, limit) for item in node.items]
        parts = [_symbol(part, rules) if " | " in part else part for part in parts]
        return " ".join(part for part in parts if part)
    if isinstance(node, Alt):
        return choice([_structural(item, rules, limit) or '""' for item in node.items])
    assert isinstance(node, Repeat), "lookaheads are not read like this"
    item = _symbol(_structural(node.item, rules, limit), rules)
    high = node.high if node.high is not None or limit is None else max(node.low, limit)
    body = repeat(rules, item, node.low, high)
    return body if high == 1 else rules.add("part", body)


def _symbol(body: str, rules: RuleSet) -> str:
    return body if ATOM.fullmatch(body) else rules.add("part", body)
