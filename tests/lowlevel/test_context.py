from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Batch, Context, Model, Sampler

PROMPT = "The capital of France is"


def test_decode_gives_the_logits_of_the_last_token(model: Model, context: Context) -> None:
    context.decode(model.tokenize(PROMPT))
    logits = context.logits()
    assert logits.shape == (len(model.vocabulary),)
    assert logits.dtype == np.float32
    assert model.token_to_piece(int(logits.argmax())) == b" Paris"


def test_logits_are_a_read_only_view(model: Model, context: Context) -> None:
    context.decode(model.tokenize(PROMPT))
    first, second = context.logits(), context.logits()
    assert first.base is not None
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        first.flags.writeable = True


def test_a_view_shows_the_next_decode(model: Model, context: Context) -> None:
    context.decode(model.tokenize(PROMPT))
    view, copy = context.logits(), context.logits().copy()
    context.decode([int(view.argmax())])
    assert not np.array_equal(view, copy)
    np.testing.assert_array_equal(view, context.logits())


def test_a_view_outlives_its_context(model: Model) -> None:
    context = model.create_context(n_ctx=64, n_threads=1)
    context.decode(model.tokenize(PROMPT))
    view, copy = context.logits(), context.logits().copy()
    context.close()
    del context
    gc.collect()
    np.testing.assert_array_equal(view, copy)


def test_decoding_never_moves_memory_under_a_view(model: Model, context: Context) -> None:
    tokens = model.tokenize(PROMPT)
    context.decode(tokens)
    view = context.logits()
    with Batch(8) as batch:
        for offset in range(4):
            batch.add(tokens[0], len(tokens) + offset, output=True)
        with pytest.raises(errors.GenerationError, match="let go of it"):
            context.decode(batch)
        assert context.memory.seq_pos_max(0) == len(tokens) - 1
        del view
        context.decode(batch)
        assert context.logits(3).shape == (len(model.vocabulary),)


def test_one_batch_equals_token_by_token(model: Model, context: Context) -> None:
    tokens = model.tokenize(PROMPT)
    context.decode(tokens)
    together = context.logits().copy()
    context.memory.clear()
    for token in tokens:
        context.decode([token])
    np.testing.assert_allclose(context.logits(), together, atol=0.2)
    assert context.logits().argmax() == together.argmax()


def test_a_long_prompt_is_cut_into_batches(model: Model, context: Context) -> None:
    tokens = model.tokenize("once upon a time " * 30)
    assert len(tokens) > context.n_batch
    context.decode(tokens)
    assert context.memory.seq_pos_max(0) == len(tokens) - 1
    assert context.logits().shape == (len(model.vocabulary),)


def test_sequences_in_one_batch_do_not_see_each_other(model: Model) -> None:
    prompts = [model.tokenize("The capital of France is"), model.tokenize("Two plus two makes")]
    with model.create_context(n_ctx=256, n_seq_max=2, n_threads=1) as context, Batch(64) as batch:
        outputs = [batch.add_tokens(tokens, seq_id=i) for i, tokens in enumerate(prompts)]
        context.decode(batch)
        together = [context.logits(index).copy() for index in outputs]
        assert context.logits(-1).tolist() == together[1].tolist()
        assert context.logits(-2).tolist() == together[0].tolist()
        for tokens, expected in zip(prompts, together, strict=True):
            context.memory.clear()
            context.decode(tokens)
            assert context.logits().argmax() == expected.argmax()
            np.testing.assert_allclose(context.logits(), expected, atol=0.2)


def test_outputs_are_checked(model: Model, context: Context) -> None:
    with pytest.raises(errors.InvalidParameterError, match="decode a batch"):
        context.logits()
    with Batch(8) as batch:
        for position, token in enumerate(model.tokenize(PROMPT)):
            batch.add(token, position, output=position in (1, 3))
        assert batch.outputs == (1, 3)
        context.decode(batch)
    assert np.shares_memory(context.logits(-1), context.logits(3))
    assert np.shares_memory(context.logits(-2), context.logits(1))
    for index in (0, 2, 4, 100, -3):
        with pytest.raises(errors.InvalidParameterError, match=r"index|token"):
            context.logits(index)
    with pytest.raises(errors.UnsupportedCapabilityError, match="embeddings=True"):
        context.embeddings()
    with pytest.raises(errors.UnsupportedCapabilityError, match="embeddings=True"):
        context.sequence_embedding()


def test_a_full_context(model: Model, context: Context) -> None:
    too_many = [500] * (context.n_ctx_seq + 1)
    with pytest.raises(errors.ContextOverflowError) as caught:
        context.decode(too_many)
    assert caught.value.n_ctx == context.n_ctx_seq
    assert caught.value.n_prompt_tokens == len(too_many)
    context.decode(too_many[:-1])
    with pytest.raises(errors.ContextOverflowError):
        context.decode([500])
    with Batch(1) as batch:
        batch.add(500, context.n_ctx_seq)
        with pytest.raises(errors.ContextOverflowError, match=r"memory\.seq_rm"):
            context.decode(batch)


def test_bad_batches_never_reach_native_code(model: Model, context: Context) -> None:
    with pytest.raises(errors.InvalidParameterError, match="no tokens"):
        context.decode([])
    with pytest.raises(errors.InvalidParameterError, match="token ids go from 0"):
        context.decode([len(model.vocabulary)])
    with Batch(100, n_seq_max=2) as batch:
        with pytest.raises(errors.InvalidParameterError, match="empty"):
            context.decode(batch)
        batch.add(len(model.vocabulary), 0)
        with pytest.raises(errors.InvalidParameterError, match="not in the vocabulary"):
            context.decode(batch)
        batch.clear()
        batch.add(1, 0, seq_ids=[0, 1])
        with pytest.raises(errors.InvalidParameterError, match="n_seq_max"):
            context.decode(batch)
        batch.clear()
        batch.add_tokens([1] * 65)
        with pytest.raises(errors.InvalidParameterError, match="n_batch is 64"):
            context.decode(batch)
        batch.clear()
        batch.add_tokens([1, 2], position=7)
        context.decode(batch)  # a sequence may begin anywhere
        with pytest.raises(errors.InvalidParameterError, match=r"positions go on"):
            context.decode(batch)
    with pytest.raises(errors.EngineClosedError):
        context.decode(batch)


@pytest.mark.parametrize(
    "options",
    [
        {"n_batch": 0},
        {"n_ctx": -1},
        {"n_ctx": 2**33},
        {"n_seq_max": 0},
        {"n_seq_max": 100_000},
        {"n_ctx": 2, "n_seq_max": 4},
        {"n_threads": 0},
        {"n_threads": 100_000},
        {"pooling_type": "sum"},
        {"flash_attn": "maybe"},
        {"type_k": "q1_k"},
        {"rope_freq_base": float("nan")},
        {"rope_freq_base": float("inf")},
    ],
)
def test_bad_options(model: Model, options: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidParameterError, match=next(iter(options))):
        model.create_context(**options)


def test_a_context_that_llama_cpp_refuses_says_why(model: Model) -> None:
    with pytest.raises(errors.ModelAllocationError, match="flash_attn"):
        model.create_context(n_ctx=64, type_v="q8_0", flash_attn="disabled")


def test_quantized_cache(model: Model) -> None:
    with model.create_context(n_ctx=256, type_k="q8_0", type_v="q8_0", n_threads=1) as context:
        context.decode(model.tokenize(PROMPT))
        assert model.token_to_piece(int(context.logits().argmax())) == b" Paris"


def test_token_embeddings_are_views(model: Model) -> None:
    with model.create_context(n_ctx=64, embeddings=True, pooling_type="none", n_threads=1) as context:
        context.decode(model.tokenize(PROMPT))
        rows = [context.embeddings(index) for index in range(5)]
        assert rows[0].shape == (model.n_embd_out,)
        assert np.shares_memory(rows[4], context.embeddings(-1))
        assert not np.array_equal(rows[3], rows[4])
        del rows


def test_pooled_embeddings_are_the_mean_of_the_tokens(model: Model) -> None:
    tokens = model.tokenize(PROMPT)
    with model.create_context(n_ctx=64, embeddings=True, pooling_type="none", n_threads=1) as context:
        context.decode(tokens)
        mean = np.mean([context.embeddings(index) for index in range(len(tokens))], axis=0)
    with model.create_context(
        n_ctx=64, embeddings=True, pooling_type="mean", n_seq_max=2, n_threads=1
    ) as context:
        assert context.pooling_type == "mean"
        context.decode(tokens)
        pooled = context.sequence_embedding(0)
        np.testing.assert_allclose(pooled, mean, rtol=0.05, atol=0.05)
        with pytest.raises(errors.InvalidParameterError, match="not in the last batch"):
            context.sequence_embedding(1)
        with pytest.raises(errors.InvalidParameterError, match="seq_id"):
            context.sequence_embedding(2)
        context.memory.clear()
        context.decode(model.tokenize("something else"))
        np.testing.assert_allclose(pooled, mean, rtol=0.05, atol=0.05)  # a copy


def test_embeddings_in_place_of_tokens(model: Model, context: Context) -> None:
    row = np.zeros(model.n_embd, dtype=np.float32)
    with Batch(4, n_embd=model.n_embd) as batch:
        batch.add_embedding(row, 0)
        batch.add_embedding(row + 0.1, 1, output=True)
        context.decode(batch)
        assert np.isfinite(context.logits(1)).all()
    with Batch(4, n_embd=8) as batch:
        batch.add_embedding(np.zeros(8, dtype=np.float32), 2)
        with pytest.raises(errors.InvalidParameterError, match="rows of 8"):
            context.decode(batch)


def test_another_thread_can_interrupt(model: Model) -> None:
    with model.create_context(n_ctx=4096, n_batch=4096, n_threads=1) as context:
        timer = threading.Timer(0.1, context.interrupt)
        timer.start()
        started = time.monotonic()
        with pytest.raises(errors.RequestCancelledError):
            context.decode([500] * 4000)
        assert time.monotonic() - started < 20
        timer.join()
        context.memory.clear()
        context.decode(model.tokenize(PROMPT))
        assert model.token_to_piece(int(context.logits().argmax())) == b" Paris"


def test_two_threads_are_told_apart(model: Model) -> None:
    with model.create_context(n_ctx=4096, n_batch=4096, n_threads=1) as context:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                context.decode([500] * 3000)
            except BaseException as error:
                failures.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        while not context._lock._is_owned() and worker.is_alive():  # type: ignore[attr-defined]
            time.sleep(0.05)
            if not context._lock.acquire(blocking=False):
                break
            context._lock.release()
        with pytest.raises(errors.EngineError, match="another thread"):
            context.memory.clear()
        with pytest.raises(errors.EngineError, match="another thread"):
            context.close()
        context.interrupt()
        worker.join()
        assert isinstance(failures[0], errors.RequestCancelledError)


def test_threads_and_attention_can_be_changed(model: Model, context: Context) -> None:
    context.set_threads(1, 2)
    with pytest.raises(errors.InvalidParameterError, match="n_threads"):
        context.set_threads(0)
    context.set_causal_attention(False)
    context.decode(model.tokenize(PROMPT))
    mixed = context.logits().copy()
    context.memory.clear()
    context.set_causal_attention(True)
    context.decode(model.tokenize(PROMPT))
    assert np.abs(context.logits() - mixed).max() > 0.5


def test_embeddings_can_be_switched_on(model: Model, context: Context) -> None:
    context.set_embeddings(True)
    context.decode(model.tokenize(PROMPT))
    assert context.embeddings(0).shape == (model.n_embd_out,)
    context.set_embeddings(False)
    with pytest.raises(errors.UnsupportedCapabilityError):
        context.embeddings(0)


def test_a_sampler_of_another_model_is_refused(smollm2_path: object, model: Model, context: Context) -> None:
    with Model(smollm2_path) as other, Sampler(other).greedy() as sampler:  # type: ignore[arg-type]
        context.decode([1])
        with pytest.raises(errors.InvalidParameterError, match="another model"):
            sampler.sample(context)
