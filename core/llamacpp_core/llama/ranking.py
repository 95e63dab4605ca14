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
    answer = _Answer(self, query, documents, model, top_n, return_documents)
    if answer.is_empty:
        return answer.response(None)
    batch = self._vectors.rerank(query, documents)
    collect_batch(self, batch)
    return answer.response(batch)


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
    answer = _Answer(self, query, documents, model, top_n, return_documents)
    if answer.is_empty:
        return answer.response(None)
    batch = await aoff_loop(lambda: self._vectors.rerank(query, documents), text_size(documents))
    await acollect_batch(self, batch)
    return answer.response(batch)


class _Answer:
    """The answer to a call, whose arguments are checked when it is made.

    Attributes:
        is_empty: There is nothing to rank.
    """

    def __init__(
        self,
        llama: Llama,
        query: Any,
        documents: Any,
        model: str | None,
        top_n: int | None,
        return_documents: bool,
    ) -> None:
        self._top_n = None if top_n is None else _TOP_N("top_n", top_n)
        self._with_documents = boolean("return_documents", return_documents)
        self._name = llama.info.name if model is None else text("model", model)
        self._documents = documents
        is_list = isinstance(documents, Sequence) and not isinstance(documents, str | bytes)
        self.is_empty = is_list and not documents
        if self.is_empty:
            check_query(query)

    def response(self, batch: EmbeddingBatch | RerankBatch | None) -> dict[str, Any]:
        """What the call returns, from what was computed; None where there was nothing to rank."""
        n_tokens = 0 if batch is None else batch.n_tokens
        results = [] if batch is None else _ranking(batch, self._documents, self._top_n, self._with_documents)
        return {
            "model": self._name,
            "results": results,
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
