"""Sorting documents by how well they answer a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field

from llamacpp_core._checks import clean_text
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.langchain._errors import translated_errors
from llamacpp_integrations.langchain._model import LlamaCppModel

__all__ = ["LlamaCppRerank"]


class LlamaCppRerank(LlamaCppModel, BaseDocumentCompressor):
    """Sorts documents by how well they answer a query, with llama.cpp in this process.

    A cross-encoder model gives its own scores; an embedding model the cosine of query and document; a chat
    model the probability that it answers "yes", against "no", when asked whether the document is relevant.

    Setup:
        ``pip install "llamacpp-integrations[langchain,models]"``.

    Key init args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        top_n: Documents to keep.

    Instantiate:
        >>> from llamacpp_integrations.langchain import LlamaCppRerank
        >>> reranker = LlamaCppRerank(model="bge-reranker.gguf", top_n=3)  # doctest: +SKIP

    Use:
        >>> reranker.compress_documents(documents, "Where is the Eiffel Tower?")  # doctest: +SKIP
        [Document(metadata={'relevance_score': 0.98}, page_content='It is in Paris.'), ...]
    """

    top_n: int | None = Field(default=3, ge=1)
    """Documents to keep, best first. None: all."""

    clean: bool = True
    """Leave out NUL characters and replace lone surrogates, which texts extracted from files hold; False
    makes them errors."""

    def rerank(self, query: str, documents: Sequence[str | Document]) -> list[dict[str, Any]]:
        """Scores documents.

        Args:
            query: The question.
            documents: Texts or documents.

        Returns:
            Best first, at most ``top_n``: ``{"index": position in documents, "relevance_score": float}``.

        Raises:
            ContextOverflowError: The query and a document together are too long.
            UnsupportedCapabilityError: The model can neither score nor generate.
        """
        with translated_errors():
            return self.client.rerank(query, self._texts(documents), top_n=self.top_n)

    async def arerank(self, query: str, documents: Sequence[str | Document]) -> list[dict[str, Any]]:
        """:meth:`rerank` for coroutines."""
        with translated_errors():
            return await self.client.arerank(query, self._texts(documents), top_n=self.top_n)

    def _texts(self, documents: Sequence[str | Document]) -> list[str]:
        texts = _texts(documents)
        return [clean_text(one) if isinstance(one, str) else one for one in texts] if self.clean else texts

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  LangChain's signature
    ) -> Sequence[Document]:
        """The best documents, best first, as copies with ``relevance_score`` in their metadata."""
        return _ranked(documents, self.rerank(query, documents))

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002  LangChain's signature
    ) -> Sequence[Document]:
        """:meth:`compress_documents` for coroutines."""
        return _ranked(documents, await self.arerank(query, documents))


def _texts(documents: Sequence[str | Document]) -> list[str]:
    if isinstance(documents, str):
        raise InvalidParameterError(
            "documents must be a list of strings or Documents, not one string", parameter="documents"
        )
    return [document.page_content if isinstance(document, Document) else document for document in documents]


def _ranked(documents: Sequence[Document], results: Sequence[Mapping[str, Any]]) -> list[Document]:
    ranked = []
    for result in results:
        document = documents[result["index"]]
        metadata = document.metadata | {"relevance_score": result["relevance_score"]}
        ranked.append(document.model_copy(update={"metadata": metadata}))
    return ranked
