from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from fakes import ScriptedLlama, scripted_info
from langchain_core.documents import Document
from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflow
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from llamacpp_core import Llama
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings, LlamaCppRerank

FACTS = [
    "The Eiffel Tower is in Paris.",
    "Tea is made from leaves.",
    "Penguins live in the southern hemisphere.",
    "Mount Everest is the highest mountain.",
]
LONG = "the cat sat on the mat " * 200


def test_vectors_are_the_engines(embeddings: LlamaCppEmbeddings, embedder: Llama) -> None:
    vectors = embeddings.embed_documents(FACTS)
    assert len(vectors) == 4
    assert all(type(value) is float for value in vectors[0])
    assert np.allclose(vectors, embedder.embed(FACTS), atol=2e-3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.dot(embeddings.embed_query(FACTS[0]), vectors[0]) > 0.999


async def test_async(embeddings: LlamaCppEmbeddings) -> None:
    assert (
        np.dot(await embeddings.aembed_query(FACTS[0]), (await embeddings.aembed_documents(FACTS))[0]) > 0.999
    )
    assert await embeddings.aembed_documents([]) == []


def test_no_documents(embeddings: LlamaCppEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []
    assert len(embeddings.embed_documents([""])[0]) == 384


def test_prefixes() -> None:
    llama = ScriptedLlama()
    embeddings = LlamaCppEmbeddings(llama=llama, query_prefix="q: ", document_prefix="d: ")
    embeddings.embed_query("x")
    embeddings.embed_documents(["y"])
    assert [call[1] for call in llama.calls] == [["q: x"], ["d: y"]]


def test_prefixes_of_the_catalog() -> None:
    from llamacpp_core.models import load_catalog

    prefixed = next(entry for entry in load_catalog().values() if entry.query_prefix)
    llama = ScriptedLlama(info=dataclasses.replace(scripted_info(), name=prefixed.name))
    LlamaCppEmbeddings(llama=llama).embed_query("x")
    LlamaCppEmbeddings(llama=llama, query_prefix="").embed_query("x")
    assert [call[1] for call in llama.calls] == [[prefixed.query_prefix + "x"], ["x"]]


@pytest.mark.parametrize("normalize", [True, False])
def test_dimensions(embedder: Llama, normalize: bool) -> None:
    short = LlamaCppEmbeddings(llama=embedder, dimensions=64, normalize=normalize).embed_documents(FACTS)
    whole = np.array(LlamaCppEmbeddings(llama=embedder, normalize=False).embed_documents(FACTS))[:, :64]
    if normalize:
        whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    assert np.allclose(short, whole, atol=2e-2)


@pytest.mark.parametrize("dimensions", [0, 385])
def test_bad_dimensions(embedder: Llama, dimensions: int) -> None:
    with pytest.raises(InvalidParameterError, match="between 1 and 384"):
        LlamaCppEmbeddings(llama=embedder, dimensions=dimensions).embed_query("x")


def test_a_long_text_is_never_cut_off_silently(embedder: Llama) -> None:
    with pytest.raises(LangChainContextOverflow, match=r"input\[1\]"):
        LlamaCppEmbeddings(llama=embedder, overflow="error").embed_documents(["short", LONG])
    cut = LlamaCppEmbeddings(llama=embedder, overflow="truncate").embed_query(LONG)
    pieces = LlamaCppEmbeddings(llama=embedder, overflow="chunk").embed_query(LONG)
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-4)
    assert np.dot(cut, pieces) > 0.9


@pytest.mark.parametrize("wrong", ["a string", [3], [None]])
def test_bad_input(embeddings: LlamaCppEmbeddings, wrong: Any) -> None:
    with pytest.raises(InvalidParameterError, match="string"):
        embeddings.embed_documents(wrong)


def test_a_chat_model_without_embeddings(llm: Llama) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="embedding=True"):
        LlamaCppEmbeddings(llama=llm).embed_query("x")


# In use


def test_a_vector_store(embeddings: LlamaCppEmbeddings) -> None:
    store = InMemoryVectorStore.from_texts(FACTS, embeddings)
    assert store.similarity_search("Where is the Eiffel Tower?", k=1)[0].page_content == FACTS[0]


def rag(store: VectorStore, chat: ChatLlamaCpp) -> Any:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from the context.\n{context}"), ("human", "{question}")]
    )

    def join(documents: list[Document]) -> str:
        return "\n".join(document.page_content for document in documents)

    source = {
        "context": store.as_retriever(search_kwargs={"k": 1}) | join,
        "question": RunnablePassthrough(),
    }
    return source | prompt | chat | StrOutputParser()


async def test_rag_with_both_real_models(embeddings: LlamaCppEmbeddings, chat: ChatLlamaCpp) -> None:
    chain = rag(InMemoryVectorStore.from_texts(FACTS, embeddings), chat)
    question = "Where is the Eiffel Tower?"
    answer = chain.invoke(question)
    assert answer
    assert "".join(chain.stream(question)) == answer
    assert len([piece async for piece in chain.astream(question)]) > 1
    batch = chain.batch([question, "What is tea made from?"])
    assert len(batch) == 2
    assert len(await chain.abatch([question, "What is tea made from?"])) == 2


def test_rag_puts_the_right_fact_into_the_prompt(embeddings: LlamaCppEmbeddings) -> None:
    llama = ScriptedLlama("x")
    rag(InMemoryVectorStore.from_texts(FACTS, embeddings), ChatLlamaCpp(llama=llama)).invoke(
        "the highest mountain?"
    )
    assert FACTS[3] in llama.calls[0][1][0]["content"]


def test_chroma(embeddings: LlamaCppEmbeddings) -> None:
    chroma = pytest.importorskip("langchain_chroma", reason="an optional extra of this test")
    store = chroma.Chroma.from_texts(FACTS, embeddings)
    assert store.similarity_search("Where is the Eiffel Tower?", k=1)[0].page_content == FACTS[0]


def test_splitting_by_meaning(embeddings: LlamaCppEmbeddings) -> None:
    """What a semantic chunker does: a new chunk begins where neighbouring sentences are least alike."""
    sentences = [
        "Cats are small animals.",
        "A cat likes to sleep.",
        "Kittens are young cats.",
        "The stock market fell today.",
        "Shares lost value on the exchange.",
    ]
    vectors = np.array(embeddings.embed_documents(sentences))
    likeness = (vectors[1:] * vectors[:-1]).sum(axis=1)
    assert int(likeness.argmin()) == 2


# Reranking


def test_rerank_with_the_cosine_of_an_embedding_model(embedder: Llama) -> None:
    reranker = LlamaCppRerank(llama=embedder, top_n=2)
    documents = [Document(text, metadata={"n": i}) for i, text in enumerate(FACTS)]
    best, second = reranker.compress_documents(documents, "Where is the Eiffel Tower?")
    assert best.page_content == FACTS[0]
    assert best.metadata["n"] == 0
    assert best.metadata["relevance_score"] > second.metadata["relevance_score"]
    assert documents[0].metadata == {"n": 0}


async def test_rerank_with_a_chat_models_yes_and_no(llm: Llama) -> None:
    reranker = LlamaCppRerank(llama=llm, top_n=None)
    scores = reranker.rerank("Where is the Eiffel Tower?", FACTS[:2])
    assert sorted(entry["index"] for entry in scores) == [0, 1]
    assert all(0 <= entry["relevance_score"] <= 1 for entry in scores)
    documents = await reranker.acompress_documents(
        [Document(text) for text in FACTS[:2]], "the Eiffel Tower?"
    )
    assert len(documents) == 2


def test_rerank_of_nothing(embedder: Llama) -> None:
    assert LlamaCppRerank(llama=embedder).compress_documents([], "x") == []


def test_rerank_refuses_what_it_does_not_know(embedder: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="top_n"):
        LlamaCppRerank(llama=embedder, top_k=3)
    with pytest.raises(InvalidParameterError, match="query"):
        LlamaCppRerank(llama=embedder).rerank("", FACTS)
