"""A corpus on its way through an embedding model: a piece at a time, the next one ready when it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.request.runner import aoff_loop
from llamacpp_core.response.vectors import EmbeddingBatch, RerankBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.in_flight import Request

__all__ = [
    "acollect",
    "aeach_vector",
    "arun_pieces",
    "check_texts",
    "collect",
    "each_vector",
    "run_pieces",
    "text_size",
]

#: Texts that are prepared and computed together. Twice as many are held at a time.
_PIECE = 256

_AHEAD = 2

Prepare = Callable[[list[Any], int], EmbeddingBatch]


def check_texts(texts: Any, *, asynchronous: bool = False) -> None:
    """Checks that there are several texts to go through.

    Raises:
        InvalidParameterError: It is one text, or nothing that gives texts one after another.
    """
    kinds: tuple[type, ...] = (Iterable, AsyncIterable) if asynchronous else (Iterable,)
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, kinds):
        raise InvalidParameterError(
            f"input must be a list of texts, or give texts one after another, got {type(texts).__name__}",
            parameter="input",
        )


def text_size(texts: Any) -> int:
    """Roughly how much text there is to tokenize; what is not text is refused later."""
    try:
        return len(texts) if isinstance(texts, str) else sum(map(len, texts))
    except TypeError:
        return 0


def collect(request: Request, batch: EmbeddingBatch | RerankBatch) -> None:
    """Waits on this thread until everything of the batch is computed."""
    while not batch.done:
        batch.add(request.next())


async def acollect(request: Request, batch: EmbeddingBatch | RerankBatch) -> None:
    """:func:`collect` for coroutines."""
    while not batch.done:
        batch.add(await request.anext())


class _Running:
    """The pieces that are being computed, oldest first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pieces: deque[tuple[EmbeddingBatch, Request]] = deque()

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, batch: EmbeddingBatch) -> None:
        assert batch.plan is not None
        self._pieces.append((batch, self._engine.submit(batch.plan, batch.kind, batch.params)))

    @property
    def oldest(self) -> tuple[EmbeddingBatch, Request]:
        return self._pieces[0]

    def forget_oldest(self) -> None:
        self._pieces.popleft()[1].cancel()

    def cancel(self) -> None:
        while self._pieces:
            self.forget_oldest()


def run_pieces(
    engine: Engine, prepare: Prepare, texts: Iterable[Any], advance: Callable[[int], None]
) -> Generator[NDArray[np.float32], None, None]:
    """The vectors of texts, a piece at a time and in their order.

    Args:
        engine: The engine.
        prepare: Tokenizes some texts, given the number of those before them.
        texts: The texts; read at most ``2 * _PIECE`` ahead.
        advance: Called with the number of texts that have got their vectors.

    Yields:
        float32, shape [at most _PIECE, dim].
    """
    source: Iterator[Any] = iter(texts)
    running, n_read = _Running(engine), 0
    try:
        while True:
            while len(running) < _AHEAD and (piece := list(islice(source, _PIECE))):
                running.add(prepare(piece, n_read))
                n_read += len(piece)
            if not running:
                return
            batch, request = running.oldest
            collect(request, batch)
            running.forget_oldest()
            vectors = batch.vectors()
            advance(len(vectors))
            yield vectors
    finally:
        running.cancel()


async def arun_pieces(
    engine: Engine, prepare: Prepare, texts: Iterable[Any] | AsyncIterable[Any]
) -> AsyncGenerator[NDArray[np.float32], None]:
    """:func:`run_pieces` for coroutines; the texts may come asynchronously."""
    source = _pieces(texts)
    running, n_read = _Running(engine), 0
    try:
        while True:
            while len(running) < _AHEAD and (piece := await anext(source, None)):
                running.add(await aoff_loop(partial(prepare, piece, n_read), text_size(piece)))
                n_read += len(piece)
            if not running:
                return
            batch, request = running.oldest
            await acollect(request, batch)
            running.forget_oldest()
            yield batch.vectors()
    finally:
        running.cancel()


async def _pieces(texts: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[list[Any], None]:
    if not isinstance(texts, AsyncIterable):
        source = iter(texts)
        while piece := list(islice(source, _PIECE)):
            yield piece
        return
    piece = []
    async for text in texts:
        piece.append(text)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def each_vector(
    pieces: Generator[NDArray[np.float32], None, None],
) -> Generator[NDArray[np.float32], None, None]:
    """The rows of the pieces, one after another."""
    try:
        for piece in pieces:
            yield from piece
    finally:
        pieces.close()


async def aeach_vector(
    pieces: AsyncGenerator[NDArray[np.float32], None],
) -> AsyncGenerator[NDArray[np.float32], None]:
    """:func:`each_vector` for coroutines."""
    try:
        async for piece in pieces:
            for vector in piece:
                yield vector
    finally:
        await pieces.aclose()
