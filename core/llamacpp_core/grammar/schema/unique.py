"""Arrays whose items all differ, where that can be built: few values, or items that begin differently."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, NoReturn

from llamacpp_core.grammar.rules import choice
from llamacpp_core.grammar.schema.document import Node
from llamacpp_core.grammar.schema.flats import Array, Flat, Number, Object, Single
from llamacpp_core.grammar.schema.keywords import NoValueError, refuse, step
from llamacpp_core.grammar.schema.members import Body, Member
from llamacpp_core.grammar.schema.numbers import number_rule
from llamacpp_core.grammar.schema.validity import is_valid

if TYPE_CHECKING:
    from llamacpp_core.grammar.schema.compile_value import ValueCompiler

__all__ = ["unique_items"]

_MAX_UNORDERED = 7
#: Groups of strings by their first character; a string in none of them begins otherwise, or is empty.
_BEGINNINGS = (
    "^[a-cA-C]", "^[d-hD-H]", "^[i-lI-L]", "^[m-oM-O]", "^[p-rP-R]", "^[s-zS-Z]", "^[0-9]"
)  # fmt: skip
_ENDS = ("[01]$", "[23]$", "[45]$", "[67]$", "[89]$", "[a-z]$", "[A-Z]$")


def unique_items(
    compiler: ValueCompiler, flat: Array, low: int, high: int | None, path: str, hint: str
) -> str:
    """The items of an array that all differ, with commas between, at least one.

    Items of a few values come in any order, of more values in the order of the schema. Other items are put
    into groups by how they begin, and each group is used once.

    Raises:
        NoValueError: There are fewer different items than are needed.
        GrammarError: Items cannot be told apart.
    """
    where = step(path, "uniqueItems")
    if flat.prefix:
        refuse(where, "items of prefixItems cannot be compared; leave it out")
    symbols = _values(compiler, flat.rest, hint)
    if symbols is None:
        symbols = _groups(compiler, flat.rest, hint)
        if len(symbols) < max(2, low):
            refuse(where, "a grammar cannot compare such items; leave it out, or set maxItems to 1")
    most = len(symbols) if high is None else min(high, len(symbols))
    if low > most or most == 0:
        _none(step(path, "minItems"), f"only {len(symbols)} different items are possible")
    if len(symbols) > _MAX_UNORDERED:
        return _ordered(compiler, symbols, max(1, low), most, hint)
    return _any_order(compiler, symbols, max(1, low), most, hint)


def _none(path: str, reason: str) -> NoReturn:
    raise NoValueError(f"{path}: {reason}", parameter="json_schema")


def _values(compiler: ValueCompiler, node: Node, hint: str) -> list[str] | None:
    """The items as symbols, one for each value, when there are few enough."""
    values: list[Any] = []
    for flats in compiler.shapes.of(node).values():
        for flat in flats:
            if isinstance(flat, Single) or flat.values is not None:
                values += list(flat.values or ())
            elif isinstance(flat, Number) and flat.integer and flat.low is not None and flat.high is not None:
                if flat.high - flat.low > 100:
                    return None
                values += list(range(int(flat.low), int(flat.high) + 1))
            else:
                return None
    found = []
    for value in values:
        if is_valid(value, node, compiler.shapes):
            symbol = compiler.values.literals([value], f"{hint}-item")
            if symbol not in found:
                found.append(symbol)
    return found


def _groups(compiler: ValueCompiler, node: Node, hint: str) -> list[str]:
    """Symbols for groups of items of which no two share a value."""
    shape = compiler.shapes.of(node)
    kinds = set(shape)
    if kinds == {"string"}:
        return _text_groups(compiler, node, hint)
    if kinds == {"number"} and all(isinstance(f, Number) and f.integer for f in shape["number"]):
        return _remainders(compiler, shape["number"], node.path, hint)
    return _object_groups(compiler, node, hint) if kinds == {"object"} else []


def _text_groups(compiler: ValueCompiler, node: Node, hint: str) -> list[str]:
    """Strings by how they begin; where all begin alike, by how they end."""
    document = compiler.document
    for patterns in (_BEGINNINGS, _ENDS):
        nodes = [document.node({"type": "string", "pattern": pattern}, node.path) for pattern in patterns]
        found = _symbols(compiler, [document.all_of((node, other)) for other in nodes], hint)
        if len(found) > 1:
            return found
    return []


def _remainders(compiler: ValueCompiler, flats: list[Flat], path: str, hint: str) -> list[str]:
    """Integers by the remainder of their magnitude after division."""
    found = []
    for rest in range(_MAX_UNORDERED):
        symbols = []
        for flat in flats:
            assert isinstance(flat, Number)
            try:
                residue = flat._replace(residue=(_MAX_UNORDERED, rest))
                symbols.append(number_rule(residue, compiler.values, path, f"{hint}-item"))
            except NoValueError:
                continue
        if symbols:
            found.append(compiler.rules.add(f"{hint}-item", choice(symbols)))
    return found


def _object_groups(compiler: ValueCompiler, node: Node, hint: str) -> list[str]:
    """Objects by how a required property begins, the same in all."""
    document = compiler.document
    flats = [flat for flat in compiler.shapes.of(node)["object"] if isinstance(flat, Object)]
    for name in flats[0].required:
        if any(name not in flat.required for flat in flats):
            continue
        nodes = []
        for begin in _BEGINNINGS:
            narrowed = {"properties": {name: {"type": "string", "pattern": begin}}}
            nodes.append(document.all_of((node, document.node(narrowed, node.path))))
        found = _symbols(compiler, nodes, hint)
        if len(found) > 1:
            return found
    return []


def _symbols(compiler: ValueCompiler, nodes: list[Node], hint: str) -> list[str]:
    found = []
    for node in nodes:
        try:
            found.append(compiler.rule(node, f"{hint}-item"))
        except NoValueError:
            compiler.dropped = True
    return found


def _ordered(compiler: ValueCompiler, symbols: list[str], low: int, most: int, hint: str) -> str:
    """Some of the items in their order."""
    body = Body(compiler.values, [Member(symbol, False) for symbol in symbols], "", (low, most), hint)
    return body.more(0, 0)


def _any_order(compiler: ValueCompiler, symbols: list[str], low: int, most: int, hint: str) -> str:
    """Some of the items in any order: a rule for each set of items that is left."""
    rules, comma = compiler.rules, compiler.values.comma
    names: dict[frozenset[int], str] = {}
    n = len(symbols)
    for used in range(most - 1, -1, -1):
        for left in combinations(range(n), n - used):
            following = []
            for index in left:
                rest = names.get(frozenset(left) - {index}, "")
                more = ""
                if used + 1 < most:
                    more = f"{comma} {rest}"
                    more = f"({more})?" if used + 1 >= low else more
                following.append(f"{symbols[index]} {more}".strip())
            body = " | ".join(following)
            if used == 0:
                return body
            names[frozenset(left)] = rules.add(f"{hint}-rest", body)
    raise AssertionError("at least one item")
