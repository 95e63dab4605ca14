from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Batch, Context, Model


@pytest.fixture(params=[True, False], ids=["unified", "separate"])
def several(model: Model, request: pytest.FixtureRequest) -> Iterator[Context]:
    with model.create_context(n_ctx=512, n_seq_max=4, kv_unified=request.param, n_threads=1) as context:
        yield context


def fill(context: Context, tokens: list[int], seq_id: int = 0, position: int = 0) -> np.ndarray:
    with Batch(len(tokens)) as batch:
        batch.add_tokens(tokens, seq_id=seq_id, position=position)
        context.decode(batch)
    return context.logits().copy()


def test_positions_follow_what_was_decoded(several: Context, model: Model) -> None:
    memory = several.memory
    assert (memory.seq_pos_min(0), memory.seq_pos_max(0)) == (-1, -1)
    fill(several, model.tokenize("The capital of France is"), seq_id=2)
    assert (memory.seq_pos_min(2), memory.seq_pos_max(2)) == (0, 4)
    assert memory.seq_pos_max(0) == -1
    memory.clear()
    assert memory.seq_pos_max(2) == -1


def test_a_removed_end_can_be_decoded_again(several: Context, model: Model) -> None:
    tokens = model.tokenize("The capital of France is")
    expected = fill(several, tokens)
    fill(several, model.tokenize(" Paris, and of Italy"), position=5)
    several.memory.seq_rm(0, 4)
    assert several.memory.seq_pos_max(0) == 3
    again = fill(several, tokens[4:], position=4)
    np.testing.assert_allclose(again, expected, atol=0.2)
    assert again.argmax() == expected.argmax()


def test_a_copy_goes_on_like_the_original(several: Context, model: Model) -> None:
    tokens = model.tokenize("The capital of France is")
    expected = fill(several, tokens)
    several.memory.seq_rm(0, 4)
    several.memory.seq_cp(0, 3)
    assert several.memory.seq_pos_max(3) == 3
    several.memory.seq_rm(0)
    assert several.memory.seq_pos_max(0) == -1
    copied = fill(several, tokens[4:], seq_id=3, position=4)
    assert copied.argmax() == expected.argmax()
    np.testing.assert_allclose(copied, expected, atol=0.2)


def test_a_part_is_copied_only_in_a_unified_memory(several: Context, model: Model) -> None:
    fill(several, model.tokenize("The capital of France is"))
    if several.kv_unified:
        several.memory.seq_cp(0, 1, 0, 3)
        assert several.memory.seq_pos_max(1) == 2
    else:
        with pytest.raises(errors.UnsupportedCapabilityError, match="kv_unified"):
            several.memory.seq_cp(0, 1, 0, 3)
        several.memory.seq_cp(0, 1, 0, 5)
        assert several.memory.seq_pos_max(1) == 4


def test_keep_forgets_all_others(several: Context, model: Model) -> None:
    for seq_id in range(4):
        fill(several, model.tokenize("one two three"), seq_id=seq_id)
    several.memory.seq_keep(2)
    assert [several.memory.seq_pos_max(seq_id) >= 0 for seq_id in range(4)] == [False, False, True, False]


def test_remove_from_every_sequence(several: Context, model: Model) -> None:
    for seq_id in range(4):
        fill(several, model.tokenize("one two three four"), seq_id=seq_id)
    several.memory.seq_rm(None, 2)
    assert [several.memory.seq_pos_max(seq_id) for seq_id in range(4)] == [1, 1, 1, 1]


def test_the_middle_can_be_cut_out_and_the_gap_closed(several: Context, model: Model) -> None:
    memory = several.memory
    assert memory.can_shift
    tokens = model.tokenize("The capital of France is a city. The capital of France is")
    fill(several, tokens)
    memory.seq_rm(0, 2, 6)
    memory.seq_add(0, -4, 6)
    last = len(tokens) - 1 - 4
    assert memory.seq_pos_max(0) == last
    logits = fill(several, model.tokenize(" Paris"), position=last + 1)
    assert np.isfinite(logits).all()


def test_positions_can_be_divided(several: Context, model: Model) -> None:
    tokens = model.tokenize("one two three four five six seven")
    fill(several, tokens)
    several.memory.seq_div(0, 2)
    assert several.memory.seq_pos_max(0) == (len(tokens) - 1) // 2


@pytest.mark.parametrize(
    "use",
    [
        lambda memory: memory.seq_rm(4),
        lambda memory: memory.seq_rm(-1),
        lambda memory: memory.seq_rm(0, -3),
        lambda memory: memory.seq_rm(0, 5, 2),
        lambda memory: memory.seq_cp(0, 4),
        lambda memory: memory.seq_cp(-1, 0),
        lambda memory: memory.seq_keep(99),
        lambda memory: memory.seq_add(4, 1),
        lambda memory: memory.seq_add(0, 2**31 - 1),
        lambda memory: memory.seq_add(0, 2**40),
        lambda memory: memory.seq_div(0, 0),
        lambda memory: memory.seq_div(0, -2),
        lambda memory: memory.seq_pos_min(4),
        lambda memory: memory.seq_pos_max("0"),
    ],
)
def test_nonsense_is_refused(several: Context, use: object) -> None:
    fill(several, [1, 2, 3])
    with pytest.raises(errors.InvalidParameterError):
        use(several.memory)  # type: ignore[operator]
    assert several.memory.seq_pos_max(0) == 2
