"""Products of packed weights, computed with what follows them, equal the same steps one after another."""

from __future__ import annotations

import itertools
import math

import pytest
from arithmetic import PRODUCTS

from llamacpp_core.native import ffi, lib, text
from llamacpp_core.native.failures import last_report

#: What the build may use of this CPU.
FEATURES = text(lib.llama_print_system_info())
pytestmark = [
    pytest.mark.skipif("AVX2 = 1" not in FEATURES, reason="the kernels are for AVX2 and up"),
    pytest.mark.changes("encoders"),
    pytest.mark.changes("threads"),
]
#: The ways of packing that this CPU has, by their place in native/llama_cpp/encoders/form.h.
FORMS = {
    name: place
    for place, name in enumerate(("words", "tiles", "bytes"))
    if f"f16 packed as {name}" in PRODUCTS
}
PLAIN = {
    "n_in": 384,
    "n_out": 384,
    "n_tokens": 100,
    "n_products": 1,
    "n_threads": 2,
    "norm": False,
    "bias": True,
    "gelu": False,
    "residual": False,
}


def compared(**changes: int) -> tuple[float, int]:
    """The greatest difference, and how many results between the steps were not written."""
    shape, n_unwritten = ffi.new("struct lc_chain_shape *", PLAIN | changes), ffi.new("int32_t *")
    difference = lib.lc_selftest_chain(shape, n_unwritten)
    assert not math.isnan(difference), last_report()
    return difference, n_unwritten[0]


def test_this_cpu_has_at_least_words() -> None:
    assert "words" in FORMS


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_out", [384, 1536, 100, 37])  # whole panels of outputs, and not
@pytest.mark.parametrize("n_tokens", [1, 7, 48, 49, 200])
def test_results_are_the_same_to_the_bit(n_out: int, n_tokens: int, n_threads: int, form: int) -> None:
    shape = {"n_out": n_out, "n_tokens": n_tokens, "n_threads": n_threads, "form": form}
    for gelu, residual in itertools.product((0, 1), repeat=2):
        found = compared(gelu=gelu, residual=residual, **shape)
        assert found == (0.0, 1 + gelu + residual)
    assert compared(bias=0, gelu=1, **shape) == (0.0, 1)
    assert compared(bias=0, residual=1, **shape) == (0.0, 1)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("n_in", [16, 112, 128, 400, 1536])
def test_widths_of_inputs(n_in: int, form: int) -> None:
    assert compared(n_in=n_in, gelu=1, form=form) == (0.0, 2)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("n_products", "residual"), [(2, 0), (3, 0), (4, 0), (2, 1), (3, 1)])
def test_products_of_the_same_inputs(n_products: int, residual: int, form: int) -> None:
    found = compared(n_products=n_products, residual=residual, form=form)
    assert found == (0.0, n_products * (1 + residual))


@pytest.mark.parametrize("form", [place for name, place in FORMS.items() if name != "bytes"])
@pytest.mark.parametrize("n_in", [16, 384, 1008])
@pytest.mark.parametrize("n_products", [1, 3])
def test_with_the_normalisation_before(n_products: int, n_in: int, form: int) -> None:
    difference, n_unwritten = compared(norm=1, n_products=n_products, n_in=n_in, form=form)
    assert difference < 2e-4  # sums are added up in another order, and then rounded to integers
    assert n_unwritten == 2 + n_products
