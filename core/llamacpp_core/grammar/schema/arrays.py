"""Arrays as grammar rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llamacpp_core.grammar.rules import repeat
from llamacpp_core.grammar.schema.document import Node
from llamacpp_core.grammar.schema.flats import Array, Contains
from llamacpp_core.grammar.schema.keywords import NoValueError, refuse, step
from llamacpp_core.grammar.schema.unique import unique_items

if TYPE_CHECKING:
    from llamacpp_core.grammar.schema.compile_value import ValueCompiler

__all__ = ["ArrayCompiler"]


class ArrayCompiler:
    """Compiles flat schemas of arrays.

    Args:
        compiler: Compiles what is inside.
    """

    def __init__(self, compiler: ValueCompiler) -> None:
        self.compiler = compiler
        self.values = compiler.values
        self.rules = compiler.values.rules
        self.limits = compiler.values.limits

    def array(self, flat: Array, path: str, hint: str) -> str:
        """An array: the items of ``prefixItems`` in their places, then any number of the others."""
        if self.compiler.shapes.is_default("array", flat._replace(typed=False)):
            depth = self.limits.max_depth
            return self.values.any_array(None if depth is None else max(1, depth))
        low, high, prefix, rest = self._parts(flat)
        if high is not None and low > high:
            self._none(step(path, "minItems"), f"at most {high} items are possible, {low} are needed")
        if flat.contains:
            return self._with_contains(flat, low, high, path, hint)
        if flat.unique and (high is None or high > 1):
            body = unique_items(self.compiler, flat, low, high, path, hint)
            return self.rules.add(hint, self.values.bracketed("[]", body, may_be_empty=low == 0))
        first, others, high = self._items(prefix, rest, low, high, hint)
        limit = self.limits.max_array_items
        if high is None and limit is not None:
            high = max(limit, low)
        if low > (len(first) if not others else low) or (high is not None and low > high):
            self._none(step(path, "minItems"), f"fewer than {low} items are possible")
        try:
            content = self._content(first, others, low, high)
        except ValueError as error:
            refuse(step(path, "maxItems"), str(error))
        body = self.values.bracketed("[]", content, may_be_empty=low == 0 and bool(content))
        return self.rules.add(hint, body)

    @staticmethod
    def _none(path: str, reason: str) -> NoReturn:
        raise NoValueError(f"{path}: {reason}", parameter="json_schema")

    def _parts(self, flat: Array) -> tuple[int, int | None, list[Node], Node]:
        """Fewest and most items, the nodes of the first ones, and that of the others."""
        document = self.compiler.document
        low, high, prefix, rest = flat.low, flat.high, list(flat.prefix), flat.rest
        if document.false in prefix:
            prefix, rest = prefix[: prefix.index(document.false)], document.false
        if prefix and rest is document.true and flat.evaluated is not None and low <= len(prefix):
            rest = document.false
        if rest is document.false:
            high = len(prefix) if high is None else min(len(prefix), high)
        if high is not None:
            prefix = prefix[:high]
        return low, high, prefix, rest

    def _items(
        self, prefix: list[Node], rest: Node, low: int, high: int | None, hint: str
    ) -> tuple[list[str], str, int | None]:
        """Symbols for the first items and the others, and the most items; impossible ones left out."""
        first: list[str] = []
        for index, node in enumerate(prefix):
            try:
                first.append(self.compiler.rule(node, f"{hint}-{index + 1}"))
            except NoValueError:
                self.compiler.dropped = True
                if index < low:
                    raise
                return first, "", len(first)
        if high is not None and high <= len(first):
            return first, "", high
        try:
            return first, self.compiler.inside(rest, f"{hint}-item"), high
        except NoValueError:
            self.compiler.dropped = True
            if len(first) < low:
                raise
            return first, "", len(first)

    def _content(self, first: list[str], rest: str, low: int, high: int | None) -> str:
        """The items with commas between, at least one; "" when there can be none."""
        if high == 0:
            return ""
        if not first:
            return self.values.several(rest, low, high, "item") if rest else ""
        comma, done = self.values.comma, len(first)
        content = ""
        if rest and (high is None or high > done):
            following = self.rules.add("item-next", f"{comma} {rest}")
            content = repeat(self.rules, following, max(0, low - done), None if high is None else high - done)
        for index in range(done - 1, 0, -1):
            content = f"{comma} {first[index]} {content}".strip()
            if index >= low:
                content = f"({content})?"
        return f"{first[0]} {content}".strip()

    def _with_contains(self, flat: Array, low: int, high: int | None, path: str, hint: str) -> str:
        """Items of which a counted number is valid under another schema."""
        where = step(path, "contains")
        if len(flat.contains) > 1 or flat.prefix or flat.unique:
            refuse(where, "can only be counted alone, without prefixItems and uniqueItems")
        wanted = flat.contains[0]
        document = self.compiler.document
        matching = document.all_of((flat.rest, wanted.node))
        other = document.all_of((flat.rest, document.negated(wanted.node)))
        limit = self.limits.max_array_items
        most = high if high is not None else None if limit is None else max(limit, low, wanted.low)
        if most is None:
            refuse(where, "needs maxItems, or max_array_items in schema_limits")
        if wanted.low > most or (wanted.high is not None and wanted.high < wanted.low):
            self._none(where, f"{wanted.low} matching items are needed")
        inside = self._symbol(matching, hint) if wanted.high != 0 else None
        outside = self._symbol(other, f"{hint}-other")
        content = self._counted(wanted, inside, outside, (low, most))
        if content is None:
            self._none(where, "no array has as many matching items")
        may_be_empty = low == 0 and wanted.low == 0
        body = self.values.bracketed("[]", content or "", may_be_empty=may_be_empty and bool(content))
        return self.rules.add(hint, body)

    def _symbol(self, node: Node, hint: str) -> str | None:
        try:
            return self.compiler.inside(node, f"{hint}-item")
        except NoValueError:
            self.compiler.dropped = True
            return None

    def _counted(
        self, wanted: Contains, inside: str | None, outside: str | None, bounds: tuple[int, int]
    ) -> str | None:
        """Matching items, each with some others before it, and others after the last; None when it cannot be.

        The number of others between is bounded alike everywhere, so that all together stay within the most.
        """
        low, most = bounds
        comma = self.values.comma
        if inside is None:
            if wanted.low or outside is None:
                return None if wanted.low or low else ""
            return self.values.several(outside, low, most, "item")
        least = max(wanted.low, low if outside is None else 0)
        top = min(most, wanted.high if wanted.high is not None else most)
        if outside is None:
            return None if least > top else self.values.several(inside, least, top, "item")
        if low > wanted.low:
            least = min(low, top)
            if low > top:
                return self._filled(inside, outside, wanted.low, top, low)
        if wanted.low > top:
            return None
        groups = min(top, max(least, 4)) if wanted.high is None else top
        spare = max(0, (most - groups) // (groups + 1))
        one = self.rules.add("item-group", self._spaced(outside, inside, spare, comma))
        tail = (
            repeat(self.rules, self.rules.add("item-next", f"{comma} {outside}"), 0, spare) if spare else ""
        )
        many = self.values.several(one, max(1, least), groups, "item")
        text = f"{many} {tail}".strip()
        if least == 0 and low == 0 and spare:
            text = f"{text} | {self.values.several(outside, 1, spare, 'item')}"
        return text

    def _spaced(self, outside: str, inside: str, spare: int, comma: str) -> str:
        if not spare:
            return inside
        before = self.rules.add("item-before", f"{outside} {comma}")
        return f"{repeat(self.rules, before, 0, spare)} {inside}"

    def _filled(self, inside: str, outside: str, n_inside: int, top: int, low: int) -> str:
        """Matching ones first, then as many others as the fewest items need."""
        comma = self.values.comma
        n_inside = max(n_inside, 1) if top else 0
        following = self.rules.add("item-next", f"{comma} {outside}")
        if not n_inside:
            return self.values.several(outside, low, low, "item")
        others = repeat(self.rules, following, low - n_inside, low - n_inside)
        return f"{self.values.several(inside, n_inside, n_inside, 'item')} {others}".strip()
