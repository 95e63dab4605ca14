"""Texts as they come out of files: with NUL characters and halves of surrogate pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import ScriptedLlama
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from llamacpp_core import Llama
from llamacpp_core._checks import clean_text
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations import langchain, llama_index

DIRTY = ["Tea\0 is a drink.", "A \udc80 byte", "\0", "pair \ud83d\ude00"]
CLEAN = ["Tea is a drink.", "A \ufffd byte", "", "pair \U0001f600"]


def test_what_is_cleaned() -> None:
    assert [clean_text(text) for text in DIRTY] == CLEAN


def test_vectors_of_cleaned_texts(embedder: Llama) -> None:
    expected = embedder.embed(CLEAN)
    np.testing.assert_allclose(embedder.embed(DIRTY, clean=True), expected, atol=1e-5)
    np.testing.assert_allclose(list(embedder.embed_stream(DIRTY, clean=True)), expected, atol=1e-5)
    data = embedder.create_embedding(DIRTY, clean=True)["data"]
    np.testing.assert_allclose([row["embedding"] for row in data], expected, atol=1e-5)
    for made in (
        langchain.LlamaCppEmbeddings(llama=embedder).embed_documents(DIRTY),
        llama_index.LlamaCppEmbedding(llama=embedder).get_text_embedding_batch(DIRTY),
    ):
        np.testing.assert_allclose(made, expected, atol=1e-5)


def test_bert_leaves_nul_out_by_itself(embedder: Llama) -> None:
    np.testing.assert_allclose(embedder.embed(DIRTY[0]), embedder.embed(CLEAN[0]), atol=1e-5)
    with pytest.raises(InvalidParameterError, match="surrogate"):
        embedder.embed(DIRTY[1])


def test_other_models_refuse_unless_asked() -> None:
    with Llama("smollm2-135m-instruct", n_ctx=256, n_parallel=1, embedding=True) as llm:
        with pytest.raises(InvalidParameterError, match=r"input\[0\] holds a NUL"):
            llm.embed(DIRTY[:1])
        np.testing.assert_allclose(llm.embed(DIRTY[0], clean=True), llm.embed(CLEAN[0]), atol=1e-3)
        with pytest.raises(InvalidParameterError, match="clean"):
            llm.embed(DIRTY, clean=1)  # type: ignore[arg-type]


def documents_of(llama: ScriptedLlama, **fields: Any) -> list[str]:
    langchain.LlamaCppRerank(llama=llama, **fields).compress_documents(
        [Document(one) for one in DIRTY], "tea"
    )
    return list(llama.calls[-1][1][1])


def nodes_of(llama: ScriptedLlama, **fields: Any) -> list[str]:
    nodes = [NodeWithScore(node=TextNode(text=one)) for one in DIRTY]
    llama_index.LlamaCppRerank(llama=llama, **fields).postprocess_nodes(nodes, query_str="tea")
    return list(llama.calls[-1][1][1])


@pytest.mark.parametrize("texts_of", [documents_of, nodes_of])
def test_rerankers_clean_too(texts_of: Any) -> None:
    assert texts_of(ScriptedLlama()) == CLEAN
    assert texts_of(ScriptedLlama(), clean=False) == DIRTY


@pytest.mark.parametrize("made", [langchain.LlamaCppEmbeddings, llama_index.LlamaCppEmbedding])
def test_cleaning_can_be_off(made: Any) -> None:
    llama = ScriptedLlama()
    embeddings = made(llama=llama, clean=False)
    if isinstance(embeddings, llama_index.LlamaCppEmbedding):
        with pytest.raises(InvalidParameterError, match="NUL"):
            embeddings.get_text_embedding(DIRTY[0])
    else:
        embeddings.embed_documents(DIRTY)
        assert llama.calls[-1][2]["clean"] is False
