"""The questions through a LangChain expression: retriever, prompt, model, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from llamacpp_core import Llama
from llamacpp_integrations.demo.corpus import Passage
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings

__all__ = ["build", "stream_answer"]

PROMPT = ChatPromptTemplate.from_template(
    "These notes were found:\n\n{notes}\n\nAnswer from the notes and not from memory.\n"
    "Question: {question}\nAnswer:"
)


def build(llm: Llama, embedder: Llama, texts: Sequence[Passage], k: int) -> Runnable[str, dict[str, Any]]:
    """A chain from a question to ``{"documents", "answer"}``; its answer streams."""
    store = InMemoryVectorStore(LlamaCppEmbeddings(llama=embedder, overflow="chunk"))
    store.add_documents([Document(p.text, metadata={"source": p.source}) for p in texts])
    model = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=80)

    def notes(found: dict[str, Any]) -> dict[str, Any]:
        # The best note comes last, nearest to the question.
        ordered = list(enumerate(found["documents"], 1))[::-1]
        return {
            "question": found["question"],
            "notes": "\n\n".join(f"[{i}] {document.page_content}" for i, document in ordered),
        }

    retrieve = {"documents": store.as_retriever(search_kwargs={"k": k}), "question": RunnablePassthrough()}
    return retrieve | RunnablePassthrough.assign(answer=RunnableLambda(notes) | PROMPT | model)


def stream_answer(chain: Runnable[str, dict[str, Any]], question: str) -> Iterator[tuple[str, Any]]:
    """Pieces of the answer as ("text", piece), then ("timings", dict) and ("sources", list of names)."""
    documents: list[Document] = []
    timings: dict[str, Any] = {}
    for chunk in chain.stream(question):
        documents = chunk.get("documents") or documents
        message = chunk.get("answer")
        if message is not None:
            if message.content:
                yield "text", message.content
            timings = message.response_metadata.get("timings") or timings
    yield "timings", timings
    yield "sources", [document.metadata["source"] for document in documents]
