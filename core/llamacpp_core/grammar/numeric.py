"""Ranges of decimal numbers as GBNF expressions.

Every value has one spelling up to trailing zeros of the fraction: no leading zeros, no plus sign, no
exponent where bounds have to hold.
"""

from __future__ import annotations

from decimal import Decimal

__all__ = ["SIGNIFICANT_DIGITS", "any_number", "integer_range", "number_range"]

#: Decimal digits that a double always tells apart (IEEE 754 binary64).
SIGNIFICANT_DIGITS = 15


def _digits(low: int, high: int | None) -> str:
    if high == 0:
        return ""
    if low == high:
        return "[0-9]" if low == 1 else f"[0-9]{{{low}}}"
    if high is None:
        return {0: "[0-9]*", 1: "[0-9]+"}.get(low, f"[0-9]{{{low},}}")
    return "[0-9]?" if (low, high) == (0, 1) else f"[0-9]{{{low},{high}}}"


def _digit_class(low: int, high: int) -> str:
    return f'"{low}"' if low == high else f"[{low}-{high}]"


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _group(alternatives: list[str]) -> str:
    return alternatives[0] if len(alternatives) == 1 else f"({' | '.join(alternatives)})"


def _same_length(low: str, high: str) -> list[str]:
    """Digit strings of one length from ``low`` to ``high``."""
    if not low:
        return [""]
    n = len(low) - 1
    if low[0] == high[0]:
        return [_join(f'"{low[0]}"', _group(_same_length(low[1:], high[1:])))]
    first, last = int(low[0]), int(high[0])
    alternatives = []
    if low[1:] != "0" * n:
        alternatives.append(_join(f'"{first}"', _group(_same_length(low[1:], "9" * n))))
        first += 1
    upper = []
    if high[1:] != "9" * n:
        upper.append(_join(f'"{last}"', _group(_same_length("0" * n, high[1:]))))
        last -= 1
    if first <= last:
        alternatives.append(_join(_digit_class(first, last), _digits(n, n)))
    return alternatives + upper


def _natural_range(low: int, high: int | None) -> list[str]:
    """Non-negative integers from ``low`` to ``high`` (None: no end)."""
    if high is not None and low > high:
        return []
    alternatives = ['"0"'] if low == 0 else []
    low = max(low, 1)
    if high == 0:
        return alternatives
    size = len(str(low))
    last_full = size - 1
    if low != 10 ** (size - 1) or (high is not None and len(str(high)) == size and high != 10**size - 1):
        top = min(high, 10**size - 1) if high is not None else 10**size - 1
        alternatives += _same_length(str(low), str(top))
        size += 1
    if high is None:
        return [*alternatives, _join("[1-9]", _digits(size - 1, None))]
    last_full = len(str(high + 1)) - 1
    if last_full >= size:
        alternatives.append(_join("[1-9]", _digits(size - 1, last_full - 1)))
    if len(str(high)) > last_full and len(str(high)) >= size:
        alternatives += _same_length(str(10**last_full), str(high))
    return alternatives


def integer_range(low: int | None, high: int | None, max_digits: int | None) -> list[str]:
    """Integers within inclusive bounds, as GBNF alternatives.

    Args:
        low: Smallest value; None for no bound but ``max_digits``.
        high: Largest value; None for no bound but ``max_digits``.
        max_digits: Most digits where there is no bound; a bound with more digits raises it.

    Returns:
        Alternatives; none at all when no integer lies within the bounds.
    """
    return [*_natural(low, high, max_digits), *_negative(low, high, max_digits)]


def _reach(bound: int, max_digits: int | None) -> int | None:
    """How far a side without bound goes, given the bound on the other side."""
    return None if max_digits is None else 10 ** max(max_digits, len(str(abs(bound)))) - 1


def _natural(low: int | None, high: int | None, max_digits: int | None) -> list[str]:
    start = max(low or 0, 0)
    if high is not None and high < 0:
        return []
    return _natural_range(start, _reach(start, max_digits) if high is None else high)


def _negative(low: int | None, high: int | None, max_digits: int | None) -> list[str]:
    if low is not None and low >= 0:
        return []
    start = max(1, -high) if high is not None else 1
    found = _natural_range(start, _reach(start, max_digits) if low is None else -low)
    return [_join('"-"', _group(found))] if found else []


def any_number(max_digits: int | None, max_fraction: int | None, max_exponent: int | None) -> str:
    """A JSON number without bounds on its value."""
    integer = _join('"-"? ("0" | [1-9]', _digits(0, None if max_digits is None else max_digits - 1)) + ")"
    fraction = "" if max_fraction == 0 else f'("." {_digits(1, max_fraction)})?'
    exponent = "" if max_exponent == 0 else f"([eE] [-+]? {_digits(1, max_exponent)})?"
    return _join(integer, fraction, exponent)


def number_range(
    low: Decimal | None,
    high: Decimal | None,
    *,
    exclusive_low: bool,
    exclusive_high: bool,
    max_digits: int | None,
    max_fraction: int | None,
) -> list[str]:
    """Decimal numbers within bounds, exactly, as GBNF alternatives.

    Near an exclusive bound a decimal with too many digits would be read as the bound itself once it is a
    double, so fractions are kept to what :data:`SIGNIFICANT_DIGITS` tells apart.

    Args:
        low: Smallest value, or None.
        high: Largest value, or None.
        exclusive_low: ``low`` itself is not allowed.
        exclusive_high: ``high`` itself is not allowed.
        max_digits: Most digits before the point where there is no bound.
        max_fraction: Most digits after the point.

    Returns:
        Alternatives; none at all when no such number lies within the bounds.
    """
    places = SIGNIFICANT_DIGITS if max_fraction is None else max_fraction
    for bound, exclusive in ((low, exclusive_low), (high, exclusive_high)):
        if bound is not None and exclusive:
            places = min(places, max(0, SIGNIFICANT_DIGITS - len(str(int(abs(bound))))))
    builder = _DecimalRange(places, max_digits)
    found = []
    if high is None or high > 0 or (high == 0 and not exclusive_high):
        start, open_start = (low, exclusive_low) if low is not None and low >= 0 else (Decimal(0), False)
        found += builder.magnitudes(start, high, open_start, exclusive_high)
    if low is None or low < 0:
        has_end = high is not None and high <= 0
        start = -high if high is not None and has_end else Decimal(0)
        negative = builder.magnitudes(
            start, None if low is None else -low, has_end and exclusive_high, exclusive_low
        )
        if negative:
            found.append(_join('"-"', _group(negative)))
    return found


def _split(value: Decimal) -> tuple[int, str]:
    """Integer part and fraction digits, without trailing zeros."""
    whole, _, fraction = f"{value:f}".partition(".")
    return int(whole), fraction.rstrip("0")


class _DecimalRange:
    def __init__(self, places: int, max_digits: int | None) -> None:
        self.places = places
        self.max_digits = max_digits

    def magnitudes(self, low: Decimal, high: Decimal | None, open_low: bool, open_high: bool) -> list[str]:
        """Non-negative numbers from ``low`` to ``high``."""
        low_whole, low_fraction = _split(low)
        if high is None:
            return [
                *self._whole(low_whole, self._fraction_from(low_fraction, open_low)),
                *self._wholes(low_whole + 1, _reach(low_whole, self.max_digits)),
            ]
        high_whole, high_fraction = _split(high)
        if low_whole > high_whole:
            return []
        if low_whole == high_whole:
            return self._whole(
                low_whole, self._fraction_between(low_fraction, high_fraction, open_low, open_high)
            )
        return [
            *self._whole(low_whole, self._fraction_from(low_fraction, open_low)),
            *self._wholes(low_whole + 1, high_whole - 1),
            *self._whole(high_whole, self._fraction_to(high_fraction, open_high)),
        ]

    def _whole(self, whole: int, fractions: list[str]) -> list[str]:
        return [_join(f'"{whole}"', _optional_group(fractions))] if fractions else []

    def _wholes(self, low: int, high: int | None) -> list[str]:
        found = _natural_range(low, high)
        return [_join(_group(found), self._any_fraction())] if found else []

    def _any_fraction(self) -> str:
        return f'("." {_digits(1, self.places)})?' if self.places else ""

    def _fraction_from(self, low: str, exclusive: bool) -> list[str]:
        """Fractions not below ``low``; the empty alternative means no fraction."""
        return self._fraction_between(low, None, exclusive, False)

    def _fraction_to(self, high: str, exclusive: bool) -> list[str]:
        return self._fraction_between("", high, False, exclusive)

    def _fraction_between(self, low: str, high: str | None, open_low: bool, open_high: bool) -> list[str]:
        found = self._tails(low, high, open_low, open_high, self.places)
        with_digits = [tail for tail in found if tail]
        result = [_join('"."', _group(with_digits))] if with_digits else []
        return ["", *result] if "" in found else result

    def _tails(self, low: str, high: str | None, open_low: bool, open_high: bool, left: int) -> list[str]:
        """Digit strings of at most ``left`` digits whose value as a fraction is within the bounds.

        ``high`` None means no upper bound. "" among the results is the empty string, value 0.
        """
        above = not low and not open_low
        if above and high is None:
            return ["", _digits(1, left)] if left else [""]
        below_zero = high == "" and open_high
        found = [""] if above and not below_zero else []
        if not left or below_zero:
            return found
        for first, last, branch in self._branches(low, high, open_low, open_high):
            tails = self._tails(*branch, left - 1)
            if tails:
                found.append(_join(_digit_class(first, last), _optional_group(tails)))
        return found

    @staticmethod
    def _branches(
        low: str, high: str | None, open_low: bool, open_high: bool
    ) -> list[tuple[int, int, tuple[str, str | None, bool, bool]]]:
        """Groups of next digits with the bounds that remain after them."""
        first, last = int(low[:1] or 0), 9 if high is None else int(high[:1] or 0)
        tight_low, tight_high = bool(low) or open_low, high is not None
        if first > last:
            return []
        rest_high = None if high is None else high[1:]
        if first == last:
            return [(first, last, (low[1:], rest_high, open_low, open_high))]
        found: list[tuple[int, int, tuple[str, str | None, bool, bool]]] = []
        if tight_low:
            found.append((first, first, (low[1:], None, open_low, False)))
        start, end = first + tight_low, last - tight_high
        if start <= end:
            found.append((start, end, ("", None, False, False)))
        if tight_high:
            found.append((last, last, ("", rest_high, False, open_high)))
        return found


def _optional_group(alternatives: list[str]) -> str:
    """A group that may be left out when the empty string is among its alternatives."""
    some = [a for a in alternatives if a]
    if "" not in alternatives:
        return _group(some)
    if not some:
        return ""
    return (
        f"{some[0]}?"
        if len(some) == 1 and " " not in some[0] and not some[0].endswith("}")
        else f"({' | '.join(some)})?"
    )
