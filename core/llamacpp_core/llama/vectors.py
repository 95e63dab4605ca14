"""The embedding methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, text, unknown_name
from llamacpp_core.llama.vector_stream import (
    acollect,
    aeach_vector,
    arun_pieces,
    check_texts,
    collect,
    each_vector,
    run_pieces,
    text_size,
)
from llamacpp_core.request.runner import aoff_loop
from llamacpp_core.response.vectors import EmbeddingBatch, RerankBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.models import ResolvedModel

__all__ = [
    "EmbeddingCall",
    "acollect_batch",
    "acreate_embedding",
    "aembed",
    "aembed_stream",
    "collect_batch",
    "create_embedding",
    "embed",
    "embed_stream",
    "wordpiece_of",
]


_OPTIONS = ("normalize", "overflow", "max_tokens", "clean")


def embed(
    self: Llama,
    texts: str | Iterable[str] | Iterable[Sequence[int]],
    *,
    normalize: bool = True,
    overflow: str = "error",
    max_tokens: int | None = None,
    clean: bool = False,
    progress: bool | None = False,
) -> NDArray[np.float32]:
    """Embeds texts.

    Args:
        texts: One text, or several: a list, or anything that gives them one after another. A text may
            be a list of token ids. Of many texts only some hundred are held as tokens at a time.
        normalize: Scale the vectors to Euclidean length 1.
        overflow: What to do with a text that is too long for the model: "error", "truncate" it, or
            "chunk" it and average the pieces' vectors, weighted by their tokens.
        max_tokens: A limit below the model's own, in tokens.
        clean: Leave out NUL characters, and put U+FFFD in the place of lone surrogates, which texts
            extracted from files hold. Otherwise they are errors, but for NUL where the model's own tokenizer
            leaves it out, as BERT's does.
        progress: Show a progress bar on stderr. None: on a terminal only.

    Returns:
        float32, shape [n, dim]; for a single text [dim].

    Raises:
        UnsupportedCapabilityError: The model was loaded without embeddings.
        ContextOverflowError: A text is too long, and ``overflow`` is "error"; of more than 256 texts,
            those before it may have been computed.
    """
    options = {"normalize": normalize, "overflow": overflow, "max_tokens": max_tokens, "clean": clean}
    if isinstance(texts, str):
        _check_progress(progress)
        batch = _prepared(self, options, [texts], 0)
        collect_batch(self, batch)
        vector: NDArray[np.float32] = batch.vectors()[0]
        return vector
    return _stacked(self, list(_pieces(self, texts, options, progress)))


async def aembed(
    self: Llama,
    texts: str | Iterable[str] | Iterable[Sequence[int]] | AsyncIterable[str],
    *,
    normalize: bool = True,
    overflow: str = "error",
    max_tokens: int | None = None,
    clean: bool = False,
) -> NDArray[np.float32]:
    """:meth:`embed` for coroutines; the texts may come asynchronously."""
    options = {"normalize": normalize, "overflow": overflow, "max_tokens": max_tokens, "clean": clean}
    single = isinstance(texts, str)
    pieces = _apieces(self, [texts] if single else texts, options)
    vectors = _stacked(self, [piece async for piece in pieces])
    return vectors[0] if single else vectors


def embed_stream(
    self: Llama,
    texts: Iterable[str] | Iterable[Sequence[int]],
    *,
    normalize: bool = True,
    overflow: str = "error",
    max_tokens: int | None = None,
    clean: bool = False,
    progress: bool | None = False,
) -> Generator[NDArray[np.float32], None, None]:
    """Embeds a corpus of any size: vectors come as they are ready, and memory stays bounded.

    At most 512 texts are read ahead. Closing the iterator ends the work.

    Args:
        texts: The texts, as for :meth:`embed`.
        normalize: As for :meth:`embed`.
        overflow: As for :meth:`embed`.
        max_tokens: As for :meth:`embed`.
        clean: As for :meth:`embed`.
        progress: Show a progress bar on stderr. None: on a terminal only.

    Yields:
        One vector per text, in their order: float32, shape [dim].

    Raises:
        UnsupportedCapabilityError: The model was loaded without embeddings.
        ContextOverflowError: A text is too long, and ``overflow`` is "error"; those before it that
            were not yet given out are lost.
    """
    options = {"normalize": normalize, "overflow": overflow, "max_tokens": max_tokens, "clean": clean}
    return each_vector(_pieces(self, texts, options, progress))


def aembed_stream(
    self: Llama,
    texts: Iterable[str] | Iterable[Sequence[int]] | AsyncIterable[str],
    *,
    normalize: bool = True,
    overflow: str = "error",
    max_tokens: int | None = None,
    clean: bool = False,
) -> AsyncGenerator[NDArray[np.float32], None]:
    """:meth:`embed_stream` for coroutines; the texts may come asynchronously."""
    options = {"normalize": normalize, "overflow": overflow, "max_tokens": max_tokens, "clean": clean}
    return aeach_vector(_apieces(self, texts, options))


def _pieces(
    llama: Llama, texts: Iterable[Any], options: dict[str, Any], progress: bool | None
) -> Generator[NDArray[np.float32], None, None]:
    check_texts(texts)
    _check_progress(progress)
    llama._vectors.check_embedding(options)
    return _run_pieces(llama, texts, options, progress)


def _check_progress(progress: bool | None) -> None:
    if progress is not None:
        boolean("progress", progress)


def _run_pieces(
    llama: Llama, texts: Iterable[Any], options: dict[str, Any], progress: bool | None
) -> Generator[NDArray[np.float32], None, None]:
    from llamacpp_core.models.progress import ProgressBar

    total = len(texts) if isinstance(texts, Sized) else None
    with ProgressBar("embedding", total, unit="text", progress=progress) as bar:
        yield from run_pieces(llama._engine, partial(_prepared, llama, options), texts, bar.advance)


def _apieces(
    llama: Llama, texts: Iterable[Any] | AsyncIterable[Any], options: dict[str, Any]
) -> AsyncGenerator[NDArray[np.float32], None]:
    check_texts(texts, asynchronous=True)
    llama._vectors.check_embedding(options)
    return arun_pieces(llama._engine, partial(_prepared, llama, options), texts)


def _prepared(llama: Llama, options: dict[str, Any], texts: list[Any], first: int) -> EmbeddingBatch:
    return llama._vectors.embedding(
        texts,
        unit=options["normalize"],
        overflow=options["overflow"],
        max_tokens=options["max_tokens"],
        clean=options["clean"],
        first=first,
    )


def _stacked(llama: Llama, pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    import numpy as np

    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros((0, llama.info.n_embd), dtype=np.float32)


def create_embedding(
    self: Llama, input: str | Sequence[str], model: str | None = None, **params: Any
) -> dict[str, Any]:
    """Embeds texts and answers in OpenAI's form.

    Args:
        input: One text, or several.
        model: The name to report.
        params: ``normalize``, ``overflow``, ``max_tokens`` and ``clean``, as for :meth:`embed`.
    """
    name = _reported(self, model)
    batch = _embedding_batch(self, input, params)
    collect_batch(self, batch)
    return _embedding_response(batch, name)


async def acreate_embedding(
    self: Llama, input: str | Sequence[str], model: str | None = None, **params: Any
) -> dict[str, Any]:
    """:meth:`create_embedding` for coroutines."""
    name = _reported(self, model)
    batch = await aoff_loop(lambda: _embedding_batch(self, input, params), text_size(input))
    await acollect_batch(self, batch)
    return _embedding_response(batch, name)


def _embedding_batch(llama: Llama, texts: str | Sequence[str], params: dict[str, Any]) -> EmbeddingBatch:
    return llama._vectors.embedding([texts] if isinstance(texts, str) else texts, **_options(params))


def _options(params: dict[str, Any]) -> dict[str, Any]:
    unknown = set(params) - {*_OPTIONS}
    if unknown:
        raise unknown_name(unknown.pop(), _OPTIONS, "parameter")
    return {
        "unit": boolean("normalize", params.get("normalize", True)),
        "overflow": params.get("overflow", "error"),
        "max_tokens": params.get("max_tokens"),
        "clean": params.get("clean", False),
    }


class EmbeddingCall:
    """One text of :func:`create_embedding`, prepared to be computed together with others.

    Args: as for :func:`create_embedding`.

    Attributes:
        unit: What those that are computed together have in common.
        part: For :meth:`~llamacpp_core.request.vectors.VectorPreparer.joined`.
    """

    def __init__(self, llama: Llama, input: str, model: str | None = None, **params: Any) -> None:
        self._name = _reported(llama, model)
        options = _options(params)
        self.unit: bool = options["unit"]
        self.part = llama._vectors.unplanned([input], **options)

    def response(self) -> dict[str, Any]:
        """What the call returns, once its batch is done."""
        return _embedding_response(self.part[0], self._name)


def _reported(llama: Llama, model: str | None) -> str:
    return llama.info.name if model is None else text("model", model)


def _embedding_response(batch: EmbeddingBatch, name: str) -> dict[str, Any]:
    rows = batch.vectors().tolist()
    return {
        "object": "list",
        "data": [{"object": "embedding", "embedding": row, "index": i} for i, row in enumerate(rows)],
        "model": name,
        "usage": {"prompt_tokens": batch.n_tokens, "total_tokens": batch.n_tokens},
    }


def collect_batch(llama: Llama, batch: EmbeddingBatch | RerankBatch) -> None:
    """Waits until a batch has all its vectors or scores."""
    if batch.plan is None:
        return
    request = llama._engine.submit(batch.plan, batch.kind, batch.params)
    try:
        collect(request, batch)
    finally:
        request.cancel()


async def acollect_batch(llama: Llama, batch: EmbeddingBatch | RerankBatch) -> None:
    """:func:`collect_batch` for coroutines."""
    if batch.plan is None:
        return
    request = llama._engine.submit(batch.plan, batch.kind, batch.params)
    try:
        await acollect(request, batch)
    finally:
        request.cancel()


def wordpiece_of(resolved: ResolvedModel, info: ModelInfo) -> Any:
    """BERT's own tokenizer where llama.cpp's differs from it; None for every other model."""
    if resolved.header.metadata.get("tokenizer.ggml.model") != "bert" or not info.capabilities.embedding:
        return None
    from llamacpp_core.models.bert.wordpiece import WordPieceTokenizer

    return WordPieceTokenizer.from_gguf(resolved.path).encode
