"""The embedding model."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from fakes import ScriptedLlama, scripted_info
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llamacpp_core import ContextOverflowError, InvalidParameterError, Llama, UnsupportedCapabilityError
from llamacpp_integrations.llama_index import LlamaCppEmbedding

TEXTS = ["A dog barks.", "A cat sleeps on the sofa.", "The parliament passed a law."]


async def test_all_ways_give_the_same_vectors(embed_model: LlamaCppEmbedding, embedder: Llama) -> None:
    expected = embedder.embed(TEXTS)
    assert expected.shape == (3, 384)
    for vectors in (
        embed_model.get_text_embedding_batch(TEXTS),
        await embed_model.aget_text_embedding_batch(TEXTS),
        [embed_model.get_text_embedding(t) for t in TEXTS],
        [await embed_model.aget_text_embedding(t) for t in TEXTS],
        [embed_model.get_query_embedding(t) for t in TEXTS],
        [await embed_model.aget_query_embedding(t) for t in TEXTS],
    ):
        assert np.sum(np.array(vectors) * expected, axis=1) == pytest.approx(1, abs=2e-3)


def test_similar_texts_are_near(embed_model: LlamaCppEmbedding) -> None:
    query = embed_model.get_query_embedding("Which animal makes noise?")
    scores = [embed_model.similarity(query, v) for v in embed_model.get_text_embedding_batch(TEXTS)]
    assert np.argmax(scores) == 0
    assert np.argmin(scores) == 2


def test_no_texts(embed_model: LlamaCppEmbedding) -> None:
    assert embed_model.get_text_embedding_batch([]) == []


async def test_batches_run_at_once(embedder: Llama) -> None:
    model = LlamaCppEmbedding(llama=embedder, embed_batch_size=8)
    texts = [f"Text number {i}" for i in range(40)]
    vectors = np.array(await model.aget_text_embedding_batch(texts))
    assert np.sum(vectors * embedder.embed(texts), axis=1) == pytest.approx(1, abs=2e-3)


def test_dimensions(embedder: Llama, embed_model: LlamaCppEmbedding) -> None:
    full = np.array(embed_model.get_text_embedding(TEXTS[0]))
    cut = np.array(LlamaCppEmbedding(llama=embedder, dimensions=64).get_text_embedding(TEXTS[0]))
    assert cut.shape == (64,)
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)
    assert cut == pytest.approx(full[:64] / np.linalg.norm(full[:64]), abs=5e-3)
    with pytest.raises(InvalidParameterError, match="384"):
        LlamaCppEmbedding(llama=embedder, dimensions=385)


def test_long_texts(embedder: Llama) -> None:
    long = "word " * 2000
    assert len(LlamaCppEmbedding(llama=embedder).get_text_embedding(long)) == 384
    cut = LlamaCppEmbedding(llama=embedder, overflow="truncate", max_tokens=16).get_text_embedding(long)
    short = embedder.embed("word " * 14)
    assert np.dot(cut, short) == pytest.approx(1, abs=2e-3)
    with pytest.raises(ContextOverflowError, match=r"input\[0\]"):
        LlamaCppEmbedding(llama=embedder, overflow="error").get_text_embedding(long)


async def test_instructions_go_in_front() -> None:
    llama = ScriptedLlama()
    model = LlamaCppEmbedding(llama=llama, query_instruction="query: ", text_instruction="passage: ")
    model.get_query_embedding("a")
    await model.aget_query_embedding("a")
    model.get_text_embedding("b")
    model.get_text_embedding_batch(["c", "d"])
    await model.aget_text_embedding_batch(["c", "d"])
    sent = [texts for _, texts, _ in llama.calls]
    assert sent == [["query: a"]] * 2 + [
        ["passage: b"],
        ["passage: c", "passage: d"],
        ["passage: c", "passage: d"],
    ]


def test_instructions_of_the_models_authors() -> None:
    info = scripted_info()
    for name, query, text in (
        ("nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("all-minilm-l6-v2", "", ""),
        ("somebody-elses", "", ""),
    ):
        llama = ScriptedLlama(info=_named(info, name))
        model = LlamaCppEmbedding(llama=llama)
        assert (model.query_instruction, model.text_instruction, model.model_name) == (query, text, name)
        assert LlamaCppEmbedding(llama=llama, query_instruction="q ").query_instruction == "q "


def _named(info: Any, name: str) -> Any:
    import dataclasses

    return dataclasses.replace(info, name=name)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_cached_vectors_of_queries_and_texts_do_not_mix(asynchronous: bool) -> None:
    cache = SimpleKVStore()
    llama = ScriptedLlama()
    model = LlamaCppEmbedding(
        llama=llama, embeddings_cache=cache, query_instruction="q ", text_instruction="d "
    )
    for _ in range(2):
        if asynchronous:
            text, query = await model.aget_text_embedding("same"), await model.aget_query_embedding("same")
        else:
            text, query = model.get_text_embedding("same"), model.get_query_embedding("same")
        assert text != query
    assert len(llama.calls) == 2  # the second time, both came from the cache
    assert cache.get("same", collection="embeddings")
    plain = LlamaCppEmbedding(llama=llama, embeddings_cache=SimpleKVStore())
    assert plain.get_text_embedding("same") == plain.get_query_embedding("same")
    assert len(llama.calls) == 3  # without instructions one vector serves both


@pytest.mark.parametrize(
    "change",
    [
        {"dimensions": 8},
        {"normalize": False},
        {"overflow": "truncate"},
        {"max_tokens": 8},
        {"query_instruction": "q "},
        {"text_instruction": "d "},
    ],
)
def test_every_option_that_changes_a_vector_is_part_of_the_cache_key(change: dict[str, Any]) -> None:
    nodes = [TextNode(text="a", id_="1")]
    llama = ScriptedLlama()
    plain = get_transformation_hash(nodes, LlamaCppEmbedding(llama=llama))
    assert plain == get_transformation_hash(nodes, LlamaCppEmbedding(llama=ScriptedLlama()))
    assert plain != get_transformation_hash(nodes, LlamaCppEmbedding(llama=llama, **change))


def test_a_copy_made_by_pickle(embedder: Llama) -> None:
    with LlamaCppEmbedding("all-minilm-l6-v2", n_parallel=8, dimensions=32, text_instruction="d ") as model:
        assert model.load_options == {}
        with pickle.loads(pickle.dumps(model)) as copy:
            assert copy.to_dict() == model.to_dict()
            assert copy.client is model.client
            assert np.dot(copy.get_text_embedding("a"), model.get_text_embedding("a")) == pytest.approx(
                1, abs=2e-3
            )


def test_a_fake_has_nothing_to_load_again() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(LlamaCppEmbedding(llama=ScriptedLlama()))


def test_a_model_without_embeddings(llm: Llama) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="embedding=True"):
        LlamaCppEmbedding(llama=llm)


@pytest.mark.parametrize("fields", [{"dimension": 3}, {"overflow": "cut"}, {"dimensions": 0}])
def test_arguments_that_cannot_work(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        LlamaCppEmbedding(llama=ScriptedLlama(), **fields)
