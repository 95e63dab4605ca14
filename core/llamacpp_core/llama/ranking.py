"""The reranking methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, integer, text
from llamacpp_core.llama.vector_stream import text_size
from llamacpp_core.llama.vectors import acollect_batch, collect_batch
from llamacpp_core.request.runner import aoff_loop
from llamacpp_core.request.vectors import check_query
from llamacpp_core.response.vectors import EmbeddingBatch, RerankBatch

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["acreate_rerank", "arerank", "create_rerank", "rerank"]

_TOP_N = integer(1)


def rerank(
    self: Llama,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    return_documents: bool = False,
) -> list[dict[str, Any]]:
    """Sorts documents by how well they answer a query.

    A cross-encoder gives its own score, an embedding model the cosine, any other model the
    probability of "yes" against "no" when asked; ``info.capabilities.rerank`` says which.

    Args:
        query: The question.
        documents: The texts to sort.
        top_n: Keep this many.
        return_documents: Put each document into its result.

    Returns:
        Best first: ``{"index": position in documents, "relevance_score": float}``.
    """
    return self.create_rerank(query, documents, top_n=top_n, return_documents=return_documents)["results"]  # type: ignore[no-any-return]


async def arerank(
    self: Llama,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    return_documents: bool = False,
) -> list[dict[str, Any]]:
    """:meth:`rerank` for coroutines."""
    found = await self.acreate_rerank(query, documents, top_n=top_n, return_documents=return_documents)
    return found["results"]  # type: ignore[no-any-return]


def create_rerank(
    self: Llama,
    query: str,
    documents: Sequence[str],
    *,
    model: str | None = None,
    top_n: int | None = None,
    return_documents: bool = False,
) -> dict[str, Any]:
    """:meth:`rerank` with the tokens that were read, in the form of Jina's API.

    Args:
        query: The question.
        documents: The texts to sort.
        model: The name to report; None: the model's own.
        top_n: Keep this many.
        return_documents: Put each document into its result.

    Returns:
        ``model``, ``results`` as of :meth:`rerank`, and ``usage`` with ``prompt_tokens`` and
        ``total_tokens``: what the model read of the query and the documents, with what it needs around them.
    """
    top_n = None if top_n is None else _TOP_N("top_n", top_n)
    boolean("return_documents", return_documents)
    batch = None
    if _is_empty(documents):
        check_query(query)
    else:
        batch = self._vectors.rerank(query, documents)
        collect_batch(self, batch)
    return _response(self, model, batch, documents, top_n, return_documents)


async def acreate_rerank(
    self: Llama,
    query: str,
    documents: Sequence[str],
    *,
    model: str | None = None,
    top_n: int | None = None,
    return_documents: bool = False,
) -> dict[str, Any]:
    """:meth:`create_rerank` for coroutines."""
    top_n = None if top_n is None else _TOP_N("top_n", top_n)
    boolean("return_documents", return_documents)
    batch = None
    if _is_empty(documents):
        check_query(query)
    else:
        batch = await aoff_loop(lambda: self._vectors.rerank(query, documents), text_size(documents))
        await acollect_batch(self, batch)
    return _response(self, model, batch, documents, top_n, return_documents)


def _is_empty(documents: Any) -> bool:
    return isinstance(documents, Sequence) and not isinstance(documents, str | bytes) and not documents


def _response(
    llama: Llama,
    model: str | None,
    batch: EmbeddingBatch | RerankBatch | None,
    documents: Sequence[str],
    top_n: int | None,
    with_documents: bool,
) -> dict[str, Any]:
    n_tokens = 0 if batch is None else batch.n_tokens
    return {
        "model": llama.info.name if model is None else text("model", model),
        "results": [] if batch is None else _ranking(batch, documents, top_n, with_documents),
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
    }


def _ranking(
    batch: EmbeddingBatch | RerankBatch, documents: Sequence[str], top_n: int | None, with_documents: bool
) -> list[dict[str, Any]]:
    if isinstance(batch, EmbeddingBatch):
        vectors = batch.vectors()
        scores = (vectors[1:] @ vectors[0]).tolist()
    else:
        scores = batch.scores
    order = sorted(range(len(documents)), key=lambda i: -scores[i])
    results = [{"index": i, "relevance_score": scores[i]} for i in order[:top_n]]
    if with_documents:
        for result in results:
            result["document"] = documents[result["index"]]
    return results
