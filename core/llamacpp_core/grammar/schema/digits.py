"""Decimal numbers as automata over their text: multiples, bounds and exceptions at once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from llamacpp_core.grammar.automaton import Dfa
from llamacpp_core.grammar.schema.flats import Number

__all__ = ["DigitsError", "number_automaton"]

_MAX_STATES = 6000
_CHARACTERS = "-.0123456789"


class DigitsError(ValueError):
    """The automaton would be too large."""


class _State(NamedTuple):
    """Where reading is.

    Attributes:
        phase: 0 at the start, 1 after the sign, 2 after a leading 0, 3 in digits before the point, 4 after
            the point, 5 in digits after it.
        negative: There is a sign.
        places: Digits before or after the point.
        compared: For each watched magnitude whether the number is so far smaller, equal or larger.
        rests: The remainders.
        broken: A digit after the point is not 0.
    """

    phase: int
    negative: bool
    places: int
    compared: tuple[int, ...]
    rests: tuple[int, ...]
    broken: bool


class _Reader:
    """Reads a number character by character.

    Args:
        wanted: What the numbers have to be.
        max_digits: Most digits before the point.
        max_fraction: Most digits after it.
    """

    def __init__(self, wanted: Number, max_digits: int, max_fraction: int) -> None:
        self.wanted = wanted
        self.max_digits = max_digits
        self.max_fraction = 0 if wanted.integer else max_fraction
        watched = [value for value in (wanted.low, wanted.high) if value is not None]
        watched += [Decimal(str(value)) for value in wanted.excluded]
        self.watched = list(dict.fromkeys(abs(value) for value in watched))
        self.digits = [f"{value:f}".partition(".")[::2] for value in self.watched]
        self.wholes = [whole.lstrip("0") or "0" for whole, _ in self.digits]
        self.fractions = [fraction.rstrip("0") for _, fraction in self.digits]
        factors = [*wanted.multiples, *wanted.no_multiples]
        self.scales = [max(0, -int(factor.normalize().as_tuple().exponent)) for factor in factors]
        self.moduli = [int(factor * 10**scale) for factor, scale in zip(factors, self.scales, strict=True)]
        self.n_yes = len(wanted.multiples)
        if wanted.residue is not None:
            self.scales.append(0)
            self.moduli.append(wanted.residue[0])
        self.start = _State(0, False, 0, (0,) * len(self.watched), (0,) * len(self.moduli), False)

    def read(self, state: _State, c: str) -> _State | None:
        """The state after one more character; None when nothing valid can come of it."""
        if c == "-":
            return state._replace(phase=1, negative=True) if state.phase == 0 else None
        if c == ".":
            if state.phase not in (2, 3) or not self.max_fraction:
                return None
            return state._replace(phase=4, places=0, compared=self._whole_done(state))
        if state.phase == 2 or (state.phase == 3 and state.places >= self.max_digits):
            return None
        if state.phase >= 4:
            return self._fraction_digit(state, int(c))
        places, digit = state.places, int(c)
        compared = tuple(
            [
                self._compare(known, whole[places : places + 1], c)
                for known, whole in zip(state.compared, self.wholes, strict=True)
            ]
        )
        rests = tuple(
            [(rest * 10 + digit) % modulus for rest, modulus in zip(state.rests, self.moduli, strict=True)]
        )
        return _State(
            2 if c == "0" and state.phase < 2 else 3, state.negative, state.places + 1, compared, rests, False
        )

    @staticmethod
    def _compare(known: int, there: str, c: str) -> int:
        if known or not there:
            return known
        return (c > there) - (c < there)

    def _whole_done(self, state: _State) -> tuple[int, ...]:
        """How the digits before the point compare with those of the watched magnitudes."""
        return tuple(
            known if state.places == len(whole) else (state.places > len(whole)) - (state.places < len(whole))
            for known, whole in zip(state.compared, self.wholes, strict=True)
        )

    def _fraction_digit(self, state: _State, digit: int) -> _State | None:
        if state.places >= self.max_fraction:
            return None
        place = state.places
        compared = tuple(
            known
            or (digit > int(fraction[place : place + 1] or 0))
            - (digit < int(fraction[place : place + 1] or 0))
            for known, fraction in zip(state.compared, self.fractions, strict=True)
        )
        rests = []
        for index, (rest, modulus, scale) in enumerate(
            zip(state.rests, self.moduli, self.scales, strict=True)
        ):
            if place < scale:
                rests.append((rest * 10 + digit) % modulus)
            elif digit and index < self.n_yes:
                return None
            else:
                rests.append(-1 if digit or rest == -1 else rest)
        broken = state.broken or bool(digit)
        return _State(5, state.negative, place + 1, compared, tuple(rests), broken)

    def ends(self, state: _State) -> bool:
        """Whether the number may end here."""
        if state.phase not in (2, 3, 5):
            return False
        compared = self._whole_done(state) if state.phase < 4 else state.compared
        place = state.places if state.phase == 5 else 0
        final = [
            known or (-1 if fraction[place:] else 0)
            for known, fraction in zip(compared, self.fractions, strict=True)
        ]
        return self._within(state, final) and self._divides(state, place)

    def _within(self, state: _State, final: list[int]) -> bool:
        wanted = self.wanted
        if wanted.integer is False and not state.broken:
            return False

        def sign(value: Decimal) -> int:
            """Whether the number is smaller than, equal to or larger than a value."""
            size = final[self.watched.index(abs(value))]
            zero = value == 0 and size == 0
            if zero:
                return 0
            if value == 0:
                return -1 if state.negative else 1
            if state.negative != (value < 0):
                return -1 if state.negative else 1
            return -size if state.negative else size

        low, high = wanted.low, wanted.high
        if low is not None and (sign(low) < 0 or (sign(low) == 0 and wanted.low_open)):
            return False
        if high is not None and (sign(high) > 0 or (sign(high) == 0 and wanted.high_open)):
            return False
        return all(sign(Decimal(str(value))) for value in wanted.excluded)

    def _divides(self, state: _State, place: int) -> bool:
        for index, (rest, modulus, scale) in enumerate(
            zip(state.rests, self.moduli, self.scales, strict=True)
        ):
            if index == len(self.moduli) - 1 and self.wanted.residue is not None:
                return rest == self.wanted.residue[1]
            whole = rest != -1 and not rest * 10 ** max(0, scale - place) % modulus
            if whole != (index < self.n_yes):
                return False
        return True


def number_automaton(wanted: Number, max_digits: int, max_fraction: int | None) -> Dfa:
    """The automaton of the decimal texts of numbers, without exponent.

    Args:
        wanted: What the numbers have to be.
        max_digits: Most digits before the point.
        max_fraction: Most digits after it; None for 10.

    Raises:
        DigitsError: It would be too large.
    """
    reader = _Reader(wanted, max_digits, 10 if max_fraction is None else max_fraction)
    product = 1
    for modulus in reader.moduli:
        product *= modulus
    if product > 200:
        raise DigitsError(f"remainders by {product}")
    numbers = {reader.start: 0}
    todo = [reader.start]
    dead = -1
    rows: list[list[int]] = []
    for state in todo:
        row = []
        for following in _steps(reader, state):
            if following is None:
                row.append(dead)
                continue
            if following not in numbers:
                numbers[following] = len(todo)
                todo.append(following)
                if len(todo) > _MAX_STATES:
                    raise DigitsError("too many states")
            row.append(numbers[following])
        rows.append(row)
    end = len(todo)
    delta = [tuple([end if target == dead else target for target in row]) for row in rows]
    delta.append((end,) * len(_CHARACTERS))
    accepting = [*(reader.ends(state) for state in todo), False]
    return Dfa([((ord(c), ord(c)),) for c in _CHARACTERS], delta, accepting).minimize()


def _steps(reader: _Reader, state: _State) -> Iterator[_State | None]:
    for c in _CHARACTERS:
        yield reader.read(state, c)
