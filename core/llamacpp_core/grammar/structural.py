"""Patterns as grammar rules of the same structure, for patterns that are read in one way, or nearly so."""

from __future__ import annotations

from llamacpp_core.grammar.charset import json_text_of
from llamacpp_core.grammar.pattern import Alt, Anchor, Cat, Chars, Node, Repeat
from llamacpp_core.grammar.rules import ATOM, RuleSet, choice, repeat

__all__ = ["structural"]


def structural(node: Node, rules: RuleSet, hint: str, limit: int | None) -> str:
    """The inside of JSON strings that a pattern matches from its begin to its end.

    Args:
        node: A pattern with anchors at both ends, and nowhere else.
        rules: Where rules go; parts that are equal share one.
        hint: Begin of the names of rules.
        limit: Most repetitions where the pattern sets no end; None for no end.

    Returns:
        An expression.
    """
    if isinstance(node, Chars):
        return _symbol(choice(json_text_of(node.ranges)), rules, hint)
    if isinstance(node, Anchor):
        return ""
    if isinstance(node, Cat):
        parts = [structural(item, rules, hint, limit) for item in node.items]
        parts = [_symbol(part, rules, hint) if " | " in part else part for part in parts]
        return " ".join(part for part in parts if part)
    if isinstance(node, Alt):
        return choice([structural(item, rules, hint, limit) or '""' for item in node.items])
    assert isinstance(node, Repeat), "lookaheads are not read like this"
    item = _symbol(structural(node.item, rules, hint, limit), rules, hint)
    high = node.high if node.high is not None or limit is None else max(node.low, limit)
    body = repeat(rules, item, node.low, high)
    return body if high == 1 else rules.add(hint, body)


def _symbol(body: str, rules: RuleSet, hint: str) -> str:
    return body if ATOM.fullmatch(body) else rules.add(hint, body)
