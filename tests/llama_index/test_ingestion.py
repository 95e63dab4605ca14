"""Ingestion with a cache and with worker processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from llamacpp_core import Llama
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding

DOCUMENTS = [
    Document(text=f"Text number {i} is about the sea. It is not long.", id_=str(i)) for i in range(4)
]


def splitter() -> SentenceSplitter:
    return SentenceSplitter(chunk_size=128, chunk_overlap=0)


def test_a_cache_saves_the_work(embed_model: LlamaCppEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = IngestionPipeline(transformations=[splitter(), embed_model], cache=IngestionCache())
    first = pipeline.run(documents=DOCUMENTS)
    monkeypatch.setattr(Llama, "embed", lambda *_, **__: pytest.fail("computed again"))
    again = pipeline.run(documents=DOCUMENTS)
    assert [node.embedding for node in again] == [node.embedding for node in first]


def test_a_persisted_cache(
    embed_model: LlamaCppEmbedding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = IngestionPipeline(transformations=[splitter(), embed_model])
    pipeline.run(documents=DOCUMENTS)
    pipeline.persist(str(tmp_path))
    reloaded = IngestionPipeline(transformations=[splitter(), embed_model])
    reloaded.load(str(tmp_path))
    monkeypatch.setattr(Llama, "embed", lambda *_, **__: pytest.fail("computed again"))
    assert len(reloaded.run(documents=DOCUMENTS)) == 4


def test_two_worker_processes(embedder: Llama) -> None:
    with LlamaCppEmbedding("all-minilm-l6-v2", n_threads=1) as model:
        split = SentenceSplitter(chunk_size=128, chunk_overlap=0, tokenizer=model.tokenizer)
        pipeline = IngestionPipeline(transformations=[split, model], disable_cache=True)
        nodes = pipeline.run(documents=DOCUMENTS, num_workers=2)
    assert len(nodes) == 4
    expected = embedder.embed([node.get_content(metadata_mode="embed") for node in nodes])  # type: ignore[arg-type]
    vectors = np.array([node.embedding for node in nodes])
    assert np.sum(vectors * expected, axis=1) == pytest.approx(1, abs=2e-3)


async def test_asynchronous_ingestion(embed_model: LlamaCppEmbedding, chat_model: LlamaCpp) -> None:
    split = SentenceSplitter(chunk_size=128, chunk_overlap=0, tokenizer=chat_model.tokenizer)
    nodes = await IngestionPipeline(transformations=[split, embed_model]).arun(documents=DOCUMENTS)
    assert all(len(node.embedding or ()) == 384 for node in nodes)
