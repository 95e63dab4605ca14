"""Sequences with different numbers of tokens in one batch, each with a stream of the cache of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from llamacpp_core.lowlevel import Batch, Context, Model

N_SEQUENCES = 6

Step = dict[int, list[int]]  # tokens by sequence


@pytest.fixture(scope="module")
def together(model: Model) -> Iterator[Context]:
    """A context whose micro-batches hold only some of what a batch does."""
    n_ctx = 512 * N_SEQUENCES
    with model.create_context(
        n_ctx=n_ctx, n_batch=512, n_ubatch=96, n_seq_max=N_SEQUENCES, kv_unified=False
    ) as context:
        yield context


@pytest.fixture(scope="module")
def alone(model: Model) -> Iterator[Context]:
    with model.create_context(n_ctx=512, n_ubatch=96) as context:
        yield context


def decode(context: Context, step: Step) -> dict[int, NDArray[np.float32]]:
    """Logits after the last token of each sequence."""
    last = {}
    with Batch(sum(map(len, step.values()))) as batch:
        for seq_id, tokens in step.items():
            start = context.memory.seq_pos_max(seq_id) + 1
            for i, token in enumerate(tokens):
                batch.add(token, start + i, seq_ids=[seq_id], output=i == len(tokens) - 1)
            last[seq_id] = len(batch) - 1
        context.decode(batch)
        return {seq_id: context.logits(index).copy() for seq_id, index in last.items()}


def check_logits(logits: NDArray[np.float32], alone: Context, tokens: list[int]) -> None:
    """Whether they are what the tokens give alone, but for last digits where they were cut in another way."""
    alone.memory.clear()
    alone.decode(tokens)
    np.testing.assert_allclose(logits, alone.logits(), atol=1.5)
    assert np.corrcoef(logits, alone.logits())[0, 1] > 0.995


def check(context: Context, alone: Context, steps: list[Step]) -> None:
    """Whether each step gives what the same tokens give alone."""
    context.memory.clear()
    history: Step = {}
    for step in steps:
        for seq_id, logits in decode(context, step).items():
            history[seq_id] = history.get(seq_id, []) + step[seq_id]
            assert context.memory.seq_pos_max(seq_id) == len(history[seq_id]) - 1
            check_logits(logits, alone, history[seq_id])


def some_tokens(rng: np.random.Generator, n: int) -> list[int]:
    return [int(token) for token in rng.integers(100, 40_000, n)]


@pytest.mark.parametrize(
    "lengths",
    [
        [5, 3, 1, 4],
        [1, 1, 1, 30],
        [30, 1, 1, 1],
        [17, 17, 17],
        [1, 1, 1, 9, 1, 1],
        [2, 1, 80, 1, 60, 3],
        [90, 2, 90, 3],
        [200, 10, 11, 12, 9],
        [64, 65, 63, 1, 128, 2],
    ],
    ids=str,
)
def test_lengths_differ(together: Context, alone: Context, lengths: list[int]) -> None:
    rng = np.random.default_rng(len(lengths) + sum(lengths))
    prompts = {seq_id: some_tokens(rng, n) for seq_id, n in enumerate(lengths)}
    step = {seq_id: some_tokens(rng, 1) for seq_id in prompts}
    check(together, alone, [prompts, step, step])


@pytest.mark.parametrize("seed", range(6))
def test_some_read_while_others_write(together: Context, alone: Context, seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps: list[Step] = []
    for _ in range(4):
        present = sorted(rng.choice(N_SEQUENCES, rng.integers(1, N_SEQUENCES + 1), replace=False))
        steps.append({int(s): some_tokens(rng, int(rng.choice([1, 1, 2, 7, 30, 70]))) for s in present})
    check(together, alone, steps)


def test_sequences_come_in_any_order(together: Context, alone: Context) -> None:
    rng = np.random.default_rng(7)
    steps: list[Step] = [{seq_id: some_tokens(rng, 3 + 5 * seq_id) for seq_id in (4, 0, 5, 1)}]
    check(together, alone, steps)


def test_a_copied_beginning_goes_on_in_different_lengths(together: Context, alone: Context) -> None:
    rng = np.random.default_rng(8)
    beginning = some_tokens(rng, 200)
    together.memory.clear()
    decode(together, {0: beginning})
    for seq_id in range(1, N_SEQUENCES):
        together.memory.seq_cp(0, seq_id)
    ends = {seq_id: some_tokens(rng, 4 + 9 * seq_id % 23) for seq_id in range(N_SEQUENCES)}
    for seq_id, logits in decode(together, ends).items():
        check_logits(logits, alone, beginning + ends[seq_id])


def test_logits_of_other_tokens_are_told_apart(alone: Context) -> None:
    rng = np.random.default_rng(9)
    tokens = some_tokens(rng, 40)
    alone.memory.clear()
    alone.decode(tokens)
    logits = alone.logits().copy()
    with pytest.raises(AssertionError):
        check_logits(logits, alone, [*tokens[:20], *some_tokens(rng, 1), *tokens[21:]])
