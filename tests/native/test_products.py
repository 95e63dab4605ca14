"""Products of quantised weights on this CPU equal llama.cpp's own dot products, for few tokens and many."""

from __future__ import annotations

import math

import pytest

from llamacpp_core.native import ffi, lib, text
from llamacpp_core.native.failures import last_report

# Greatest difference over root mean square. Adding up in another order comes to 5e-6, a weight that is off by
# one step to over 1e-3.
TOLERANCE = 3e-5

TYPES = [
    *("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K"),
    *("iq4_nl", "iq4_xs", "mxfp4"),
]
SMALL = {
    "n_in": 256,
    "n_out": 37,
    "n_tokens": 5,
    "n_streams": 1,
    "n_experts": 0,
    "apart": False,
    "extreme": False,
    "n_threads": 2,
}


def number_of(name: str) -> int:
    return next(i for i in range(lib.GGML_TYPE_COUNT) if text(lib.ggml_type_name(i)) == name)


def error_of(name: str, **changes: int) -> float:
    shape = ffi.new("struct lc_product_shape *", {**SMALL, "type": number_of(name), **changes})
    error = lib.lc_selftest_product(shape)
    assert not math.isnan(error), last_report()
    return error


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_numbers_of_tokens(name: str, n_threads: int) -> None:
    errors = {
        n: error_of(name, n_tokens=n, n_threads=n_threads) for n in [*range(1, 20), 31, 32, 33, 64, 100]
    }
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("name", TYPES)
def test_numbers_of_rows(name: str) -> None:
    errors = {n: error_of(name, n_out=n) for n in [*range(1, 35), 63, 64, 65, 127, 130]}
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("name", TYPES)
def test_lengths_of_rows(name: str) -> None:
    block = 256 if name.endswith(("_K", "xs")) else 32
    lengths = [
        n for n in (32, 64, 96, 224, 256, 288, 512, 576, 1024, 1056, 1280, 2048, 2304, 4352) if n % block == 0
    ]
    errors = {n: error_of(name, n_in=n, n_tokens=tokens) for n in lengths for tokens in (2, 18)}
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n_tokens", [1, 2, 16, 40])
def test_inputs_of_several_streams_and_with_gaps(name: str, n_tokens: int) -> None:
    for n_streams in (1, 2, 3):
        for apart in (False, True):
            assert error_of(name, n_tokens=n_tokens, n_streams=n_streams, apart=apart) < TOLERANCE


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_experts(name: str, n_threads: int) -> None:
    for n_tokens in (1, 2, 5, 30, 101):
        for n_streams in (1, 2):
            error = error_of(
                name,
                n_in=1280,
                n_tokens=n_tokens,
                n_streams=n_streams,
                n_experts=3,
                n_out=100,
                n_threads=n_threads,
            )
            assert error < TOLERANCE


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n_tokens", [1, 4, 20])
def test_sums_as_large_as_they_get(name: str, n_tokens: int) -> None:
    assert error_of(name, n_in=1024, n_tokens=n_tokens, extreme=True) < TOLERANCE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_out": 0}, "sizes"),
        ({"type": 0}, "quantised"),
        ({"type": -1}, "quantised"),
        ({"n_in": 33}, "block"),
        ({"n_experts": 1}, "experts"),
        ({"n_experts": 2, "n_streams": 3}, "experts"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, int], message: str) -> None:
    shape = ffi.new("struct lc_product_shape *", {**SMALL, "type": number_of("q4_1"), **changes})
    assert math.isnan(lib.lc_selftest_product(shape))
    assert message in last_report()["message"]
