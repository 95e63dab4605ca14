"""Ranges of numbers, checked number by number."""

from __future__ import annotations

from decimal import Decimal

import pytest
from grammar.matcher import accepts, random_text
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import SchemaLimits, json_schema_to_gbnf
from llamacpp_core.grammar.schema.flats import Number
from llamacpp_core.grammar.schema.possible import number_fits

BOUNDS = st.one_of(
    st.none(), st.integers(-1200, 1200), st.sampled_from([0, 1, 9, 10, 99, 100, -1, -9, -10, -100])
)
DECIMALS = st.one_of(
    st.none(),
    st.decimals(-30, 30, places=3, allow_nan=False),
    st.sampled_from([Decimal(t) for t in ("0", "0.1", "0.99", "1", "-1", "-0.5", "100", "99.99", "0.001")]),
)


@settings(deadline=None, max_examples=60)
@given(low=BOUNDS, high=BOUNDS, digits=st.integers(4, 6))
@example(low=None, high=0, digits=4)
@example(low=0, high=0, digits=4)
@example(low=-10, high=-10, digits=4)
def test_integer_range(low: int | None, high: int | None, digits: int) -> None:
    schema = {"type": "integer"}
    schema |= {} if low is None else {"minimum": low}
    schema |= {} if high is None else {"maximum": high}
    limits = SchemaLimits(max_integer_digits=digits)
    if low is not None and high is not None and low > high:
        with pytest.raises(GrammarError, match="no integer lies between"):
            json_schema_to_gbnf(schema, limits=limits)
        return
    gbnf = json_schema_to_gbnf(schema, limits=limits)
    near = {
        bound + d
        for bound in (low, high, 0)
        if bound is not None
        for d in (-11, -10, -9, -2, -1, 0, 1, 2, 9, 10, 11)
    }
    for value in near | {-9999, -1000, -999, -100, 100, 999, 1000, 9999}:
        expected = (low is None or value >= low) and (high is None or value <= high)
        assert accepts(gbnf, str(value)) == expected, value
    for text in ("", "-", "-0", "00", "01", "-01", "+1", "1.0", "1e1"):
        assert not accepts(gbnf, text)


@settings(deadline=None, max_examples=80)
@given(
    low=DECIMALS,
    high=DECIMALS,
    low_open=st.booleans(),
    high_open=st.booleans(),
    places=st.integers(0, 4),
    data=st.data(),
)
def test_number_range(
    low: Decimal | None,
    high: Decimal | None,
    low_open: bool,
    high_open: bool,
    places: int,
    data: st.DataObject,
) -> None:
    schema: dict[str, object] = {"type": "number"}
    if low is not None:
        schema["exclusiveMinimum" if low_open else "minimum"] = float(low)
    if high is not None:
        schema["exclusiveMaximum" if high_open else "maximum"] = float(high)

    def valid(text: str) -> bool:
        value = Decimal(text)
        return (
            (low is None or value > low or (value == low and not low_open))
            and (high is None or value < high or (value == high and not high_open))
            and len(text.partition(".")[2]) <= places
        )

    step = Decimal(1).scaleb(-places)
    near = [bound for bound in (low, high, Decimal(0)) if bound is not None]
    offsets = data.draw(st.lists(st.integers(-30, 30), min_size=5, max_size=20))
    numbers = [bound.quantize(step) + offset * step for bound in near for offset in offsets]
    texts = [f"{number:f}" for number in numbers if number]
    try:
        gbnf = json_schema_to_gbnf(
            schema, limits=SchemaLimits(max_fraction_digits=places, max_exponent_digits=0)
        )
    except GrammarError:
        assert not any(valid(text) for text in texts)
        return
    for text in texts:
        assert accepts(gbnf, text) == valid(text), text
    for seed in range(20):
        assert valid(random_text(gbnf, seed))


def test_exclusive_bounds_hold_for_doubles() -> None:
    gbnf = json_schema_to_gbnf(
        {"type": "number", "exclusiveMaximum": 1000000}, limits=SchemaLimits(max_fraction_digits=None)
    )
    assert accepts(gbnf, "999999.99999999")
    assert float("999999.99999999999999999") == 1000000
    assert not accepts(gbnf, "999999.99999999999999999")


@pytest.mark.parametrize(
    ("value", "multiples", "no_multiples", "fits"),
    [
        (0.3, ["0.1"], [], True),
        (0.35, ["0.1"], [], False),
        (-9, ["3"], ["6"], True),
        (-12, ["3"], ["6"], False),
        (9007199254740991, ["0.0000000000000000000000000000001"], [], True),
        (1e300, ["7"], [], False),
        (0, ["7"], [], True),
    ],
)
def test_multiples_are_told_exactly(
    value: float, multiples: list[str], no_multiples: list[str], fits: bool
) -> None:
    yes, no = (tuple(map(Decimal, factors)) for factors in (multiples, no_multiples))
    assert number_fits(Number(multiples=yes, no_multiples=no), value) is fits
