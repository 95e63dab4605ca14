"""The methods of :class:`~llamacpp_core.Llama` that answer a list of requests."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from llamacpp_core._checks import shown
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["amap", "map"]

Key = str | Callable[[Any], Any]


def map(
    self: Llama,
    requests: Iterable[Any],
    *,
    task: str | None = None,
    on_error: Literal["raise", "return"] = "raise",
    key: Key | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | None = False,
    **shared: Any,
) -> Generator[Any, None, None]:
    """Answers a list of requests of any length, in its order and in one shared batch.

    Requests are read as answers are taken, some hundred ahead, and on the thread that takes the answers, so
    that memory stays bounded. Closing the iterator ends the work.

    Args:
        requests: The requests, from a list or anything that gives them one after another. Each is a dict of
            the arguments of one call: with ``messages`` of :meth:`create_chat_completion`, with ``prompt`` of
            :meth:`create_completion`, with ``input`` of :meth:`create_embedding`, with ``query`` and
            ``documents`` of :meth:`rerank`. With ``task`` a text will do: a user's message, a prompt, or a
            text to embed. An exception in a request's place, from a source that found a fault, is its error.
        task: "chat", "completion", "embedding" or "rerank". None: as each request's fields show.
        on_error: What becomes of a request that fails. "raise" its error when its turn comes, with its
            position as a note; what came before it has been given out. "return" the error in the place of
            its answer: ``str(error)`` says what is wrong, its ``parameter`` which field.
        key: What names a request for ``resume``: a field, which is then not an argument, or a function of the
            request. None: its position.
        resume: A file that keeps every answer as it comes. When the same list is run again, requests that
            have their answer there are not computed again. Errors are not kept. A request that has changed,
            or whose LoRA adapters have other contents now, is computed anew.
        progress: Show a progress bar on stderr. None: on a terminal only.
        shared: Parameters for all requests; those of a request come before them.

    Yields:
        For each request what its method returns, or with ``on_error="return"`` an error.

    Raises:
        InvalidParameterError: An argument cannot work, or a shared parameter fits no request.
        EngineClosedError: The model was closed meanwhile.

    Example:
        >>> rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]  # doctest: +SKIP
        >>> for answer in llm.map(rows, max_tokens=64):
        ...     print(answer["choices"][0]["message"]["content"])
    """
    _check_source(requests, (Iterable,))
    from llamacpp_core.llama.lists.run import Run, in_order

    return in_order(Run(self, task, on_error, key, resume, progress, shared), requests)


def amap(
    self: Llama,
    requests: Iterable[Any] | AsyncIterable[Any],
    *,
    task: str | None = None,
    on_error: Literal["raise", "return"] = "raise",
    key: Key | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | None = False,
    **shared: Any,
) -> AsyncGenerator[tuple[int, Any], None]:
    """:meth:`map` for coroutines: answers come as they are ready, each with the position of its request.

    Args:
        requests: As for :meth:`map`; they may come asynchronously.
        task: As for :meth:`map`.
        on_error: As for :meth:`map`; "raise" raises the first error that there is.
        key: As for :meth:`map`.
        resume: As for :meth:`map`.
        progress: As for :meth:`map`.
        shared: As for :meth:`map`.

    Yields:
        ``(position, answer)``, the position from 0.

    Raises:
        InvalidParameterError: As for :meth:`map`.
        EngineClosedError: The model was closed meanwhile.

    Example:
        >>> async for i, answer in llm.amap(rows, on_error="return"):  # doctest: +SKIP
        ...     print(i, answer)
    """
    _check_source(requests, (Iterable, AsyncIterable))
    from llamacpp_core.llama.lists.run import Run, as_ready

    return as_ready(Run(self, task, on_error, key, resume, progress, shared), requests)


def _check_source(requests: Any, kinds: tuple[type, ...]) -> None:
    if isinstance(requests, str | bytes | Mapping) or not isinstance(requests, kinds):
        raise InvalidParameterError(
            f"requests must be a list of requests, or give them one after another, got {shown(requests)}",
            parameter="requests",
        )
