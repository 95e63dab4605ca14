"""The questions through a LlamaIndex query engine over a vector index, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.schema import TextNode

from llamacpp_core import Llama
from llamacpp_integrations.demo.corpus import Passage
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding

__all__ = ["build", "stream_answer"]


def build(llm: Llama, embedder: Llama, texts: Sequence[Passage], k: int) -> Any:
    """A query engine over the passages."""
    nodes = [TextNode(text=p.text, metadata={"source": p.source}) for p in texts]
    for node in nodes:
        node.excluded_llm_metadata_keys = node.excluded_embed_metadata_keys = ["source"]
    index = VectorStoreIndex(nodes, embed_model=LlamaCppEmbedding(llama=embedder, overflow="chunk"))
    model = LlamaCpp(llama=llm, temperature=0, max_tokens=80)
    return index.as_query_engine(llm=model, similarity_top_k=k, streaming=True)


def stream_answer(engine: Any, question: str) -> Iterator[tuple[str, Any]]:
    """Pieces of the answer as ("text", piece), then ("sources", list of names)."""
    response = engine.query(question)
    if isinstance(response, StreamingResponse):
        for piece in response.response_gen:
            yield "text", piece
    else:
        yield "text", str(response)
    yield "sources", [node.metadata["source"] for node in response.source_nodes]
