"""An encoder-only model: no memory, attention in both directions, one embedding for each sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamacpp_core import errors
from llamacpp_core.lowlevel import Batch, Context, Model

TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Stock prices fell sharply today."]


@pytest.fixture(scope="module")
def encoder(minilm_path: Path) -> Iterator[Model]:
    with Model(minilm_path) as loaded:
        yield loaded


@pytest.fixture
def embedding_context(encoder: Model) -> Iterator[Context]:
    with encoder.create_context(
        n_ctx=256, n_batch=256, n_ubatch=64, n_seq_max=4, embeddings=True, n_threads=1
    ) as made:
        yield made


def test_similar_texts_have_similar_embeddings(encoder: Model, embedding_context: Context) -> None:
    with Batch(64) as batch:
        for seq_id, text in enumerate(TEXTS):
            batch.add_tokens(encoder.tokenize(text), seq_id=seq_id)
        embedding_context.decode(batch)
    vectors = np.array([embedding_context.sequence_embedding(i) for i in range(3)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors.shape == (3, encoder.n_embd_out)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.5 > similarity[0, 2]


def test_encode_is_what_decode_does(encoder: Model, embedding_context: Context) -> None:
    with Batch(64) as batch:
        batch.add_tokens(encoder.tokenize(TEXTS[0]))
        embedding_context.decode(batch)
        first = embedding_context.sequence_embedding()
        embedding_context.encode(batch)
        np.testing.assert_allclose(embedding_context.sequence_embedding(), first, atol=1e-5)


def test_there_is_no_memory(embedding_context: Context) -> None:
    for use in (
        embedding_context.memory.clear,
        lambda: embedding_context.memory.seq_pos_max(0),
        lambda: embedding_context.memory.seq_rm(0),
        lambda: embedding_context.decode([1, 2]),
    ):
        with pytest.raises(errors.UnsupportedCapabilityError, match="no memory"):
            use()


def test_a_batch_is_computed_at_once(encoder: Model, embedding_context: Context) -> None:
    with Batch(100) as batch:
        batch.add_tokens([101] * 65)
        for run in (embedding_context.decode, embedding_context.encode):
            with pytest.raises(errors.InvalidParameterError, match="n_ubatch"):
                run(batch)
