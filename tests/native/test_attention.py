"""Attention of many shapes on this CPU equals plain arithmetic, for few queries and many."""

from __future__ import annotations

import math
from itertools import product

import pytest
from arithmetic import OWN_ATTENTION

from llamacpp_core.native import ffi, lib
from llamacpp_core.native.failures import last_report

pytestmark = pytest.mark.changes("attention")

# Mean squared difference over mean square. Single precision comes to 1e-13, adding up thousands of values in
# half precision, as llama.cpp's own code does, to 4e-5, a query that misses one of n keys to about 1 / n.
TOLERANCE = 1e-5 if OWN_ATTENTION else 1e-4

SMALL = {
    "half": True,
    "width_k": 64,
    "width_v": 64,
    "n_keys": 200,
    "n_tokens": 1,
    "n_heads": 6,
    "n_heads_kv": 2,
    "n_streams": 1,
    "window": 1000,
    "sinks": False,
    "max_bias": 0.0,
    "softcap": 0.0,
    "n_threads": 2,
    "alike": 0,
}


def error_of(**changes: float) -> float:
    shape = ffi.new("struct lc_attention_shape *", {**SMALL, **changes})
    error = lib.lc_selftest_attention(shape)
    assert not math.isnan(error), last_report()
    return error


def is_right(**changes: float) -> bool:
    return error_of(**changes) < TOLERANCE


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 5, 8, 63, 64, 100])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_numbers_of_queries_and_threads(half: bool, n_tokens: int, n_threads: int) -> None:
    assert is_right(half=half, n_tokens=n_tokens, n_threads=n_threads)


@pytest.mark.parametrize(
    ("width_k", "width_v"),
    [(16, 16), (32, 32), (80, 80), (96, 96), (128, 128), (192, 128), (256, 256), (576, 512)],
)
@pytest.mark.parametrize("n_tokens", [1, 7, 70])
def test_widths_of_heads(width_k: int, width_v: int, n_tokens: int) -> None:
    assert is_right(width_k=width_k, width_v=width_v, n_tokens=n_tokens)


@pytest.mark.parametrize(("n_heads", "n_heads_kv"), [(1, 1), (4, 4), (9, 3), (8, 1), (12, 2), (7, 1)])
@pytest.mark.parametrize("n_tokens", [1, 4, 65])
def test_heads_that_share_keys(n_heads: int, n_heads_kv: int, n_tokens: int) -> None:
    assert is_right(n_heads=n_heads, n_heads_kv=n_heads_kv, n_tokens=n_tokens)


@pytest.mark.parametrize("n_keys", [1, 2, 63, 64, 65, 127, 128, 1000, 3000])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_tokens", [1, 130])
def test_lengths_of_the_cache(n_keys: int, n_threads: int, n_tokens: int) -> None:
    assert is_right(n_keys=n_keys, n_threads=n_threads, n_tokens=n_tokens)


@pytest.mark.parametrize("window", [0, 1, 10, 64, 65, 150])
@pytest.mark.parametrize("n_tokens", [1, 5, 70])
@pytest.mark.parametrize("n_keys", [200, 1200])
def test_windows(window: int, n_tokens: int, n_keys: int) -> None:
    assert is_right(window=window, n_tokens=n_tokens, n_keys=n_keys)


@pytest.mark.parametrize("n_streams", [2, 8])
@pytest.mark.parametrize("n_tokens", [1, 3, 200])
def test_sequences_apart(n_streams: int, n_tokens: int) -> None:
    assert is_right(n_streams=n_streams, n_tokens=n_tokens)


@pytest.mark.skipif(not OWN_ATTENTION, reason="llama.cpp's own code reads each sequence in its own memory")
@pytest.mark.parametrize("alike", [128, 1024, 1100])
@pytest.mark.parametrize("n_tokens", [1, 3, 30])
@pytest.mark.parametrize("n_streams", [2, 9])
def test_sequences_that_begin_alike_are_read_in_one_place(alike: int, n_tokens: int, n_streams: int) -> None:
    # what the other sequences' own memory holds of it is not a number
    assert is_right(n_streams=n_streams, n_tokens=n_tokens, n_keys=1100, alike=alike)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_noted_as_alike_is_alike(seed: int) -> None:
    assert lib.lc_selftest_alike(2 + seed % 7, 300, seed) == 0


@pytest.mark.parametrize(
    ("sinks", "max_bias", "softcap"), [c for c in product([False, True], [0.0, 8.0], [0.0, 2.0]) if any(c)]
)
@pytest.mark.parametrize("n_tokens", [1, 6, 90])
def test_sinks_slopes_and_caps(sinks: bool, max_bias: float, softcap: float, n_tokens: int) -> None:
    assert is_right(sinks=sinks, max_bias=max_bias, softcap=softcap, n_tokens=n_tokens)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"n_keys": 0}, "sizes"), ({"n_heads": 5}, "multiple"), ({"window": 0, "max_bias": 8.0}, "window")],
)
def test_impossible_shapes_are_refused(changes: dict[str, float], message: str) -> None:
    assert math.isnan(lib.lc_selftest_attention(ffi.new("struct lc_attention_shape *", {**SMALL, **changes})))
    assert message in last_report()["message"]
