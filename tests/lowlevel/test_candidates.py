from __future__ import annotations

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Candidates


def test_views_reach_the_native_array() -> None:
    candidates = Candidates.from_logits(np.array([1.0, 3.0, 2.0], dtype=np.float32))
    assert candidates.ids.tolist() == [0, 1, 2]
    candidates.logits[0] = 9.0
    assert candidates._native.data[0].logit == 9.0
    assert candidates.probs.tolist() == [0.0, 0.0, 0.0]
    candidates.sorted = True
    assert candidates.sorted
    assert candidates._native.sorted


def test_from_logits_copies() -> None:
    logits = np.array([1.0, 2.0], dtype=np.float32)
    Candidates.from_logits(logits).logits[0] = 5.0
    assert logits[0] == 1.0


def test_softmax() -> None:
    candidates = Candidates.from_logits(np.log(np.array([0.1, 0.6, 0.3], dtype=np.float32)))
    np.testing.assert_allclose(candidates.softmax(), [0.1, 0.6, 0.3], rtol=1e-5)
    np.testing.assert_allclose(candidates.probs, [0.1, 0.6, 0.3], rtol=1e-5)


def test_keep_and_select() -> None:
    candidates = Candidates.from_logits(np.arange(5, dtype=np.float32))
    candidates.select(4)
    assert candidates.selected == 4
    candidates.keep([3, 1])
    assert candidates.ids.tolist() == [3, 1]
    assert candidates.selected is None
    candidates.keep(np.array([False, True]))
    assert candidates.ids.tolist() == [1]
    candidates.select(0)
    assert candidates.selected == 1


@pytest.mark.parametrize("logits", [np.zeros((2, 2)), np.zeros(0), 1.0])
def test_shapes_are_checked(logits: np.ndarray) -> None:
    with pytest.raises(errors.InvalidParameterError, match="n_vocab"):
        Candidates.from_logits(logits)
