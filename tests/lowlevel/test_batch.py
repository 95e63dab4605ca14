from __future__ import annotations

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Batch


def test_tokens_and_outputs_are_counted() -> None:
    with Batch(4, n_seq_max=2) as batch:
        assert batch.add(5, 0, seq_ids=[0, 1]) == 0
        assert batch.add_tokens([6, 7], position=1) == 2
        assert len(batch) == 3
        assert batch.outputs == (2,)
        batch.set_output(0)
        assert batch.outputs == (0, 2)
        batch.set_output(2, False)
        assert batch.outputs == (0,)
        batch.clear()
        assert (len(batch), batch.outputs) == (0, ())


def test_a_full_batch_stays_as_it_is() -> None:
    with Batch(2) as batch:
        batch.add_tokens([1, 2])
        with pytest.raises(errors.InvalidParameterError, match="full"):
            batch.add(3, 2)
        with pytest.raises(errors.InvalidParameterError, match="do not fit: 2 of 2"):
            batch.add_tokens([3], position=2)
        assert len(batch) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"token": -1, "position": 0}, "token"),
        ({"token": 1.0, "position": 0}, "token"),
        ({"token": 1, "position": -1}, "position"),
        ({"token": 1, "position": 2**31}, "position"),
        ({"token": 1, "position": 0, "seq_ids": []}, "seq_ids"),
        ({"token": 1, "position": 0, "seq_ids": [0, 1, 2]}, "seq_ids"),
        ({"token": 1, "position": 0, "seq_ids": [1, 1]}, "seq_ids"),
        ({"token": 1, "position": 0, "seq_ids": [-1]}, "seq_ids"),
        ({"token": 1, "position": 0, "seq_ids": [10_000]}, "seq_ids"),
    ],
)
def test_bad_tokens_are_refused_and_leave_no_trace(arguments: dict[str, object], named: str) -> None:
    with Batch(4, n_seq_max=2) as batch:
        with pytest.raises(errors.InvalidParameterError, match=named):
            batch.add(**arguments)  # type: ignore[arg-type]
        assert (len(batch), batch.outputs) == (0, ())


@pytest.mark.parametrize("options", [{"capacity": 0}, {"capacity": -5}, {"capacity": 1, "n_seq_max": 0}])
def test_bad_sizes(options: dict[str, int]) -> None:
    with pytest.raises(errors.InvalidParameterError):
        Batch(**options)


def test_tokens_and_embeddings_do_not_mix() -> None:
    with Batch(2, n_embd=4) as batch:
        with pytest.raises(errors.InvalidParameterError, match="add_embedding"):
            batch.add(1, 0)
        with pytest.raises(errors.InvalidParameterError, match="shape"):
            batch.add_embedding(np.zeros(3, dtype=np.float32), 0)
        batch.add_embedding(np.arange(4, dtype=np.float32), 0)
        assert list(batch._pointer.embd[0:4]) == [0.0, 1.0, 2.0, 3.0]
    with Batch(2) as batch, pytest.raises(errors.InvalidParameterError, match="n_embd"):
        batch.add_embedding(np.zeros(4, dtype=np.float32), 0)


def test_a_closed_batch() -> None:
    batch = Batch(2)
    batch.close()
    batch.close()
    with pytest.raises(errors.EngineClosedError, match="Batch is closed"):
        batch.add(1, 0)


def test_a_leaked_batch_is_reported() -> None:
    with pytest.warns(ResourceWarning, match="Batch"):
        Batch(2)
