"""The embedding model of LlamaIndex: :class:`LlamaCppEmbedding`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field

from llamacpp_core._checks import string, text
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_integrations.llama_index._embedding_cache import QueryCache
from llamacpp_integrations.llama_index._model import LlamaCppComponent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LlamaCppEmbedding"]


_INSTRUCTIONS = ("query_instruction", "text_instruction")


class LlamaCppEmbedding(LlamaCppComponent, BaseEmbedding):
    """Embeddings computed by llama.cpp in this process, as an embedding model of LlamaIndex.

    One object serves any number of threads and event loops at once. Its pickle holds the fields only, so it
    works in an ``IngestionPipeline`` with several workers, each of which loads the model for itself.

    Args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        llama: A loaded :class:`~llamacpp_core.Llama` to use instead of ``model``.
        fields: The fields below; load options of :class:`~llamacpp_core.LoadOptions`, such as
            ``pooling_type``; ``progress``, as for :class:`~llamacpp_core.Llama`.

    Raises:
        ModelNotFoundError: There is no such model.
        UnsupportedCapabilityError: The model cannot embed.
        InvalidParameterError: An argument is unknown or cannot work.

    Example:
        >>> from llamacpp_integrations.llama_index import LlamaCppEmbedding
        >>> embed_model = LlamaCppEmbedding("all-minilm-l6-v2")  # doctest: +SKIP
        >>> len(embed_model.get_query_embedding("Who wrote Emma?"))  # doctest: +SKIP
        384
    """

    _load_defaults: ClassVar[dict[str, Any]] = {"embedding": True}

    embed_batch_size: int = Field(
        default=256,
        description="Texts per call of the engine, which share its batch; few leave it partly empty.",
        gt=0,
        le=2048,
    )
    query_instruction: str | None = Field(
        default=None,
        description="Prefix of a query. None: the one that the model's authors used, if known.",
    )
    text_instruction: str | None = Field(
        default=None,
        description="Prefix of a text. None: the one that the model's authors used, if known.",
    )
    normalize: bool = Field(default=True, description="Scale vectors to Euclidean length 1.")
    dimensions: int | None = Field(
        default=None,
        description="Keep only this many leading dimensions, for models trained for it. None: all.",
        gt=0,
    )
    overflow: Literal["error", "truncate", "chunk"] = Field(
        default="chunk",
        description="What to do with a text that is too long for the model: refuse it, cut it off, or take "
        "the mean of its pieces' vectors, weighted by their tokens.",
    )
    max_tokens: int | None = Field(
        default=None,
        description="Tokens that one input, or one piece, may have. None: what the model takes.",
        gt=0,
    )

    clean: bool = Field(
        default=True,
        description="Leave out NUL characters and replace lone surrogates, which texts extracted from files "
        "hold. False makes them errors.",
    )

    def __init__(self, model: Any = None, *, llama: Any = None, **fields: Any) -> None:
        super().__init__(model, llama=llama, **fields)
        info = self.client.info
        if not info.capabilities.embedding:
            raise UnsupportedCapabilityError(
                f"{info.name} was loaded without embeddings: load it with embedding=True",
                parameter="embedding",
            )
        if "model_name" not in self.model_fields_set:
            self.__dict__["model_name"] = info.name

    def _settled(self, name: str, value: Any) -> Any:
        if name == "dimensions" and value is not None:
            info = self.client.info
            if value > info.n_embd:
                raise InvalidParameterError(
                    f"dimensions is {value} and {info.name} has only {info.n_embd}", parameter="dimensions"
                )
        # Caches compare fields, so everything that changes a vector has to be in one.
        if name in _INSTRUCTIONS and value is None:
            return _instructions(self.client.info.name)[_INSTRUCTIONS.index(name)]
        return value

    @classmethod
    def class_name(cls) -> str:
        """The name of the class in serialized objects."""
        return "LlamaCppEmbedding"

    def get_query_embedding(self, query: str) -> Embedding:
        """The vector of a query, with its instruction in front."""
        return BaseEmbedding.get_query_embedding(self._for_queries(), query)

    async def aget_query_embedding(self, query: str) -> Embedding:
        """:meth:`get_query_embedding` for coroutines."""
        return await BaseEmbedding.aget_query_embedding(self._for_queries(), query)

    def _for_queries(self) -> LlamaCppEmbedding:
        """This object, with a separate cache for queries if they are embedded differently from texts."""
        if self.embeddings_cache is None or self.query_instruction == self.text_instruction:
            return self
        return self.model_copy(update={"embeddings_cache": QueryCache(self.embeddings_cache)})

    def get_text_embedding_batch(
        self, texts: Sequence[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """The vectors of texts, with their instruction in front.

        Args:
            texts: The texts; anything that gives them one after the other.
            show_progress: Show a progress bar on stderr.
            kwargs: What the framework gives to every embedding model.
        """
        return BaseEmbedding.get_text_embedding_batch(self, _listed(texts), show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: Sequence[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """:meth:`get_text_embedding_batch` for coroutines."""
        return await BaseEmbedding.aget_text_embedding_batch(self, _listed(texts), show_progress, **kwargs)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query], self.query_instruction)[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query], self.query_instruction))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text], self.text_instruction)[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text], self.text_instruction))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts, self.text_instruction)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed(texts, self.text_instruction)

    def _embed(self, texts: Sequence[str], instruction: str | None) -> list[Embedding]:
        return self._cut(self.client.embed(self._prefixed(texts, instruction), **self._options))

    async def _aembed(self, texts: Sequence[str], instruction: str | None) -> list[Embedding]:
        return self._cut(await self.client.aembed(self._prefixed(texts, instruction), **self._options))

    @property
    def _options(self) -> dict[str, Any]:
        names = ("normalize", "overflow", "max_tokens", "clean")
        return {name: getattr(self, name) for name in names}

    def _prefixed(self, texts: Sequence[str], instruction: str | None) -> list[str]:
        if not self.clean:
            texts = [text(f"input[{i}]", one) for i, one in enumerate(texts)]
        return [(instruction or "") + string(f"input[{i}]", one) for i, one in enumerate(texts)]

    def _cut(self, vectors: NDArray[np.float32]) -> list[Embedding]:
        if self.dimensions is not None:
            vectors = vectors[:, : self.dimensions]
            if self.normalize:
                from llamacpp_core.response.vectors import normalize

                vectors = normalize(vectors)
        rows: list[Embedding] = vectors.tolist()
        return rows


def _listed(texts: Any) -> list[str]:
    """The texts as a list: the framework asks for their number."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise InvalidParameterError(
            f"texts must be a list of strings, got {type(texts).__name__}: one text goes to "
            "get_text_embedding()",
            parameter="texts",
        )
    return list(texts)


def _instructions(name: str) -> tuple[str, str]:
    """The prefixes of queries and of texts that the authors of a catalog model used."""
    from llamacpp_core.models import load_catalog

    entry = load_catalog().get(name)
    return (entry.query_prefix, entry.document_prefix) if entry is not None else ("", "")
