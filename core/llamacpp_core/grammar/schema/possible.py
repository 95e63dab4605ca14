"""Which flat schemas can have a value at all; in doubt they can."""

from __future__ import annotations

import math
import weakref
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.schema.document import Node
from llamacpp_core.grammar.schema.flats import Array, Flat, Number, Object, Text
from llamacpp_core.grammar.schema.languages import no_text
from llamacpp_core.grammar.schema.regions import lookup

if TYPE_CHECKING:
    from llamacpp_core.grammar.schema.shapes import Shapes

__all__ = ["Possible", "number_fits"]

_MAX_DEPTH = 20


def number_fits(flat: Number, value: float) -> bool:
    """Whether a number is valid under a flat schema, ``values`` left out."""
    exact = Decimal(str(value))
    above, below = exact.as_integer_ratio()
    if flat.integer is not None and (below == 1) != flat.integer:
        return False
    if flat.low is not None and (exact < flat.low or (exact == flat.low and flat.low_open)):
        return False
    if flat.high is not None and (exact > flat.high or (exact == flat.high and flat.high_open)):
        return False
    if any(Decimal(str(other)) == exact for other in flat.excluded):
        return False
    for factors, wanted in ((flat.multiples, True), (flat.no_multiples, False)):
        for factor in factors:
            factor_above, factor_below = _ratio(factor)
            if (above * factor_below % (below * factor_above) == 0) is not wanted:
                return False
    return True


@lru_cache(maxsize=256)
def _ratio(value: Decimal) -> tuple[int, int]:
    return value.as_integer_ratio()


class Possible:
    """Tells what can have no value.

    Args:
        shapes: The flat schemas of the nodes inside.
    """

    def __init__(self, shapes: Shapes) -> None:
        # The shapes own this: a circle of both would wait for the garbage collector.
        self.shapes: Shapes = weakref.proxy(shapes)
        self._nodes: dict[int, bool] = {}
        self._depth = 0

    def node(self, node: Node) -> bool:
        """Whether a node may have a value."""
        known = self._nodes.get(node.number)
        if known is not None:
            return known
        if node is self.shapes.document.true or self._depth > _MAX_DEPTH:
            return True
        self._nodes[node.number] = True
        self._depth += 1
        try:
            shape = self.shapes.of(node, wide=True)
            found = any(self.flat(flat) for flats in shape.values() for flat in flats)
        except GrammarError:
            # It is being worked out further up, or refused: refused it is when its own turn comes.
            del self._nodes[node.number]
            return True
        finally:
            self._depth -= 1
        self._nodes[node.number] = found
        return found

    def flat(self, flat: Flat) -> bool:
        """Whether a flat schema may have a value."""
        if isinstance(flat, Text):
            return not no_text(flat)
        if isinstance(flat, Number):
            return _number(flat)
        if isinstance(flat, Object):
            return self._object(flat)
        if isinstance(flat, Array):
            return self._array(flat)
        return bool(flat.values)

    def _object(self, flat: Object) -> bool:
        if flat.high is not None and flat.high < max(flat.low, len(flat.required)):
            return False
        for name in flat.required:
            known = flat.names.get(name)
            if not self.node(lookup(flat, name, self.shapes.document).node if known is None else known.node):
                return False
        return True

    def _array(self, flat: Array) -> bool:
        if flat.high is not None and flat.high < flat.low:
            return False
        if not all(self.node(node) for node in flat.prefix[: flat.low]):
            return False
        return flat.low <= len(flat.prefix) or self.node(flat.rest)


def _number(flat: Number) -> bool:
    if flat.values is not None:
        return any(number_fits(flat, value) for value in flat.values)
    low, high = flat.low, flat.high
    if low is None or high is None:
        return True
    if low > high or (low == high and (flat.low_open or flat.high_open)):
        return False
    if flat.integer:
        first = math.floor(low) + 1 if flat.low_open else math.ceil(low)
        last = math.ceil(high) - 1 if flat.high_open else math.floor(high)
        return first <= last
    return low < high or number_fits(flat, float(low))
