"""Numbers as grammar rules."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NoReturn

from llamacpp_core.grammar.limits import SchemaLimits
from llamacpp_core.grammar.numeric import integer_range, number_range
from llamacpp_core.grammar.rules import choice, literal_choice
from llamacpp_core.grammar.schema.digits import DigitsError, number_automaton
from llamacpp_core.grammar.schema.flats import Number
from llamacpp_core.grammar.schema.keywords import NoValueError, refuse, step
from llamacpp_core.grammar.schema.possible import number_fits
from llamacpp_core.grammar.strings import dfa_rules
from llamacpp_core.grammar.values import Values

__all__ = ["number_rule"]

_MAX_MULTIPLES = 400
_MAX_EXCLUDED = 20
#: Beyond this not every integer is a double.
_EXACT = 2**53


def number_rule(flat: Number, values: Values, path: str, hint: str) -> str:
    """The symbol for numbers of a flat schema.

    Raises:
        NoValueError: There are none.
        GrammarError: They cannot be enforced.
    """
    flat = _safe(flat)
    if flat.multiples or flat.no_multiples or flat.excluded or flat.residue or flat.integer is False:
        return _special(flat, values, path, hint)
    limits = values.limits
    if flat.integer:
        low, high = integer_bounds(flat)
        if low is None and high is None:
            return values.integer()
        alternatives = integer_range(low, high, limits.max_integer_digits)
        if not alternatives:
            _none(path, f"no integer lies between {low} and {high}")
        return values.rules.add(hint, choice(alternatives))
    if flat.low is None and flat.high is None:
        return values.number()
    alternatives = number_range(
        flat.low,
        flat.high,
        exclusive_low=flat.low_open,
        exclusive_high=flat.high_open,
        max_digits=limits.max_integer_digits,
        max_fraction=limits.max_fraction_digits,
    )
    if not alternatives:
        places = limits.max_fraction_digits
        _none(path, f"no number with up to {places} digits after the point lies within the bounds")
    return values.rules.add(hint, choice(alternatives))


def _none(path: str, reason: str) -> NoReturn:
    raise NoValueError(f"{path}: {reason}", parameter="json_schema")


def _safe(flat: Number) -> Number:
    """Bounds that hold when a reader takes what is written for a double."""
    low, high = flat.low, flat.high
    if high is not None and abs(high) > _EXACT and Decimal(float(high)) > high:
        flat = flat._replace(high=Decimal(math.nextafter(float(high), -math.inf)), high_open=False)
    if low is not None and abs(low) > _EXACT and Decimal(float(low)) < low:
        flat = flat._replace(low=Decimal(math.nextafter(float(low), math.inf)), low_open=False)
    return flat


def integer_bounds(flat: Number) -> tuple[int | None, int | None]:
    """The smallest and the largest integer within the bounds."""
    low = high = None
    if flat.low is not None:
        low = math.floor(flat.low) + 1 if flat.low_open else math.ceil(flat.low)
    if flat.high is not None:
        high = math.ceil(flat.high) - 1 if flat.high_open else math.floor(flat.high)
    return low, high


def _special(flat: Number, values: Values, path: str, hint: str) -> str:
    """Multiples, and numbers that are none of some."""
    keyword = "multipleOf" if flat.multiples or flat.no_multiples else "not"
    if len(flat.excluded) > _MAX_EXCLUDED:
        refuse(step(path, keyword), f"more than {_MAX_EXCLUDED} numbers cannot be left out")
    limits = values.limits
    try:
        made = _special_rules(flat._replace(typed=True), _digits(limits), limits.max_fraction_digits)
    except DigitsError:
        return _listed(flat, values, path, hint)
    if made is None:
        _none(step(path, keyword), "no number is left")
    return values.plain_automaton(made, hint)


@lru_cache(maxsize=256)
def _special_rules(
    flat: Number, max_digits: int, max_fraction: int | None
) -> tuple[str, dict[str, str]] | None:
    """Rules for the text of such numbers; None when there are none."""
    dfa = number_automaton(flat, max_digits, max_fraction)
    return None if dfa.is_empty else dfa_rules(dfa)


def _digits(limits: SchemaLimits) -> int:
    return 15 if limits.max_integer_digits is None else min(15, limits.max_integer_digits)


def _listed(flat: Number, values: Values, path: str, hint: str) -> str:
    """Multiples of a number that is too large to be divided by digit by digit: those nearest to 0."""
    where = step(path, "multipleOf")
    if not flat.multiples:
        refuse(where, "non-multiples of such a number cannot be enforced; leave out the negation")
    factor = max(flat.multiples)
    low, high = flat.low, flat.high
    first = -_MAX_MULTIPLES if low is None else max(-(10**6), math.ceil(Fraction(low) / Fraction(factor)))
    last = _MAX_MULTIPLES if high is None else math.floor(Fraction(high) / Fraction(factor))
    if low is None and high is not None:
        first = last - 2 * _MAX_MULTIPLES
    found = []
    for count in range(first, min(last, first + 2 * _MAX_MULTIPLES) + 1):
        value = factor * count
        if number_fits(flat, float(value)) and abs(value) < _EXACT:
            found.append(f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}")
    if not found:
        _none(where, "no multiple lies within the bounds")
    return values.rules.add(hint, literal_choice([(text, "") for text in dict.fromkeys(found)]))
