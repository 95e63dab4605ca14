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


#: What the build may use of this CPU.
FEATURES = text(lib.llama_print_system_info())
VNNI = "AVX512_VNNI = 1" in FEATURES or "AVX_VNNI = 1" in FEATURES
#: Those whose results do not depend on how many tokens are computed together.
ALIKE = [
    *("q4_0", "q4_1", "q5_0", "q5_1", *(["q8_0"] if VNNI else [])),
    *("q2_K", "q3_K", "q4_K", "q5_K", "q6_K"),
]
needs_products = pytest.mark.skipif("AVX2 = 1" not in FEATURES, reason="the kernels are for AVX2 and up")


def results_of(name: str, n_tokens: int, **changes: int) -> list[bytes]:
    """The results of each token."""
    sizes = {**SMALL, "type": number_of(name), "n_tokens": n_tokens, **changes}
    per_token = sizes["n_out"] * (2 if sizes["n_experts"] else 1)
    output = ffi.new("float[]", n_tokens * per_token)
    error = lib.lc_selftest_product(ffi.new("struct lc_product_shape *", sizes), output)
    assert not math.isnan(error), last_report()
    size = 4 * per_token
    return [bytes(ffi.buffer(output)[i * size : (i + 1) * size]) for i in range(n_tokens)]


def error_of(name: str, **changes: int) -> float:
    shape = ffi.new("struct lc_product_shape *", {**SMALL, "type": number_of(name), **changes})
    error = lib.lc_selftest_product(shape, ffi.NULL)
    assert not math.isnan(error), last_report()
    return error


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_numbers_of_tokens(name: str, n_threads: int) -> None:
    errors = {
        n: error_of(name, n_tokens=n, n_threads=n_threads) for n in [*range(1, 20), 31, 32, 33, 64, 100]
    }
    assert max(errors.values()) < TOLERANCE, errors


@needs_products
@pytest.mark.changes("products")
@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.parametrize("changes", [{}, {"n_out": 130, "n_in": 1280, "n_threads": 3}, {"n_experts": 3}])
def test_a_tokens_results_are_the_same_whatever_their_number(name: str, changes: dict[str, int]) -> None:
    expected = results_of(name, 40, **changes)
    assert len(set(expected)) == 40
    for n_tokens in range(1, 40):
        assert results_of(name, n_tokens, **changes) == expected[:n_tokens], n_tokens


@needs_products
@pytest.mark.changes("products")
@pytest.mark.parametrize("name", ALIKE)
def test_the_results_are_the_same_with_any_number_of_threads(name: str) -> None:
    for n_tokens in (1, 5, 40):
        expected = results_of(name, n_tokens, n_threads=1)
        for n_threads in (2, 3, 5):
            assert results_of(name, n_tokens, n_threads=n_threads) == expected


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
    assert math.isnan(lib.lc_selftest_product(shape, ffi.NULL))
    assert message in last_report()["message"]
