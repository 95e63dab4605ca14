"""Embeddings of llama.cpp in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.embeddings import Embeddings
from pydantic import Field

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.langchain._errors import translated_errors
from llamacpp_integrations.langchain._model import LlamaCppModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LlamaCppEmbeddings"]


class LlamaCppEmbeddings(LlamaCppModel, Embeddings):
    """Embeddings of llama.cpp in this process.

    Setup:
        ``pip install "llamacpp-integrations[langchain,models]"``.

    Key init args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        query_prefix, document_prefix: Prefixes of queries and documents.
        overflow: How to handle a text that is too long for the model.
        normalize: Scale the vectors to length 1.
        dimensions: Number of leading dimensions to keep.

    Instantiate:
        >>> from llamacpp_integrations.langchain import LlamaCppEmbeddings
        >>> embeddings = LlamaCppEmbeddings(model="all-minilm-l6-v2")  # doctest: +SKIP

    Embed:
        >>> embeddings.embed_query("Where is the Eiffel Tower?")  # doctest: +SKIP
        [0.0412, ...]
        >>> embeddings.embed_documents(["It is in Paris.", "Tea is a drink."])  # doctest: +SKIP
        [[0.0613, ...], [-0.0187, ...]]

    Async:
        >>> await embeddings.aembed_query("Where is the Eiffel Tower?")  # doctest: +SKIP
    """

    query_prefix: str | None = None
    """Prefix of every query. None: the one that the model's authors used, if the catalog has it."""

    document_prefix: str | None = None
    """Prefix of every document. None: as for ``query_prefix``."""

    normalize: bool = True
    """Scale the vectors to Euclidean length 1."""

    dimensions: int | None = None
    """Keep only this many leading dimensions, for models trained for it. None: all."""

    overflow: Literal["error", "truncate", "chunk"] = "chunk"
    """A text that is too long is embedded in pieces whose vectors are averaged by their numbers of tokens
    ("chunk"), is cut off ("truncate"), or is an error that names it."""

    max_tokens: int | None = Field(default=None, ge=3)
    """Tokens of one text at most, below the model's own limit. None: the model's."""

    clean: bool = True
    """Leave out NUL characters and replace lone surrogates, which texts extracted from files hold; False
    makes them errors."""

    show_progress: bool | None = False
    """Show a progress bar on stderr for ``embed_documents``. None: on a terminal only."""

    def _prefix(self, kind: Literal["query", "document"]) -> str:
        given = self.query_prefix if kind == "query" else self.document_prefix
        if given is not None:
            return given
        from llamacpp_core.models import load_catalog

        entry = load_catalog().get(self.model or self.client.info.name)
        if entry is None:
            return ""
        return entry.query_prefix if kind == "query" else entry.document_prefix

    def _prepared(self, kind: Literal["query", "document"], texts: list[str]) -> list[str]:
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise InvalidParameterError(
                "texts must be a list of strings: embed_query takes one string", parameter="texts"
            )
        texts = list(texts)  # an iterator can be read once
        prefix = self._prefix(kind)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidParameterError(
                    f"texts[{i}] must be a string, got {type(text).__name__}", parameter=f"texts[{i}]"
                )
        return [prefix + text for text in texts]

    def _settled(self, name: str, value: Any) -> Any:
        if name == "dimensions" and value is not None:
            n_embd = self.client.info.n_embd
            if not 1 <= value <= n_embd:
                raise InvalidParameterError(
                    f"dimensions must be between 1 and {n_embd}, got {value}", parameter="dimensions"
                )
        return super()._settled(name, value)

    def _finished(self, vectors: NDArray[np.float32]) -> list[list[float]]:
        if self.dimensions is not None:
            vectors = vectors[:, : self.dimensions]
            if self.normalize:
                from llamacpp_core.response.vectors import normalize

                vectors = normalize(vectors)
        rows: list[list[float]] = vectors.tolist()
        return rows

    @property
    def _options_of_embed(self) -> dict[str, Any]:
        names = ("normalize", "overflow", "max_tokens", "clean")
        return {name: getattr(self, name) for name in names}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds documents, all in one batch.

        Args:
            texts: The documents; none give an empty list.

        Raises:
            ContextOverflowError: A text is too long, and ``overflow`` is "error".
            UnsupportedCapabilityError: The model computes no embeddings, or was loaded without them.
        """
        with translated_errors():
            prepared = self._prepared("document", texts)
            if not prepared:
                return []
            vectors = self.client.embed(prepared, progress=self.show_progress, **self._options_of_embed)
            return self._finished(vectors)

    def embed_query(self, text: str) -> list[float]:
        """Embeds a query.

        Args:
            text: The query.

        Raises:
            ContextOverflowError: The text is too long, and ``overflow`` is "error".
            UnsupportedCapabilityError: The model computes no embeddings, or was loaded without them.
        """
        with translated_errors():
            vectors = self.client.embed(self._prepared("query", [text]), **self._options_of_embed)
            return self._finished(vectors)[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """:meth:`embed_documents` for coroutines."""
        with translated_errors():
            prepared = self._prepared("document", texts)
            if not prepared:
                return []
            return self._finished(await self.client.aembed(prepared, **self._options_of_embed))

    async def aembed_query(self, text: str) -> list[float]:
        """:meth:`embed_query` for coroutines."""
        with translated_errors():
            vectors = await self.client.aembed(self._prepared("query", [text]), **self._options_of_embed)
            return self._finished(vectors)[0]
