"""Several prompts, texts or documents in one request."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.answers import Chunks

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = [
    "answer_all",
    "check_dimensions",
    "check_known",
    "documents",
    "listed",
    "stream_all",
    "to_base64",
]

_MOST_DOCUMENTS = 10_000
_END = object()


def listed(value: Any, name: str = "prompt", *, most: int = 128) -> list[Any]:
    """One text, one list of tokens, or several of either, as a list.

    Raises:
        InvalidParameterError: It is none of these.
    """
    if value is None:
        raise InvalidParameterError(f"{name} is missing", parameter=name)
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int)):
        value = [value]
    if not isinstance(value, list) or not value:
        raise InvalidParameterError(
            f"{name} must be a text, token ids, or a list of them that is not empty", parameter=name
        )
    if len(value) > most:
        raise InvalidParameterError(f"{name} may have {most} entries, got {len(value)}", parameter=name)
    for i, entry in enumerate(value):
        tokens = isinstance(entry, list) and all(type(token) is int for token in entry)
        if not isinstance(entry, str) and not (tokens and entry):
            raise InvalidParameterError(f"{name}[{i}] must be a text or token ids", parameter=f"{name}[{i}]")
    return value


def documents(value: Any) -> list[str]:
    """The documents to rank: texts, or objects that have a text.

    Raises:
        InvalidParameterError: They are something else.
    """
    if not isinstance(value, list) or len(value) > _MOST_DOCUMENTS:
        raise InvalidParameterError(
            f"documents must be a list of at most {_MOST_DOCUMENTS} texts", parameter="documents"
        )
    texts: list[Any] = [entry.get("text") if isinstance(entry, dict) else entry for entry in value]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidParameterError(
                f"documents[{i}] must be a text, or an object with one under 'text'",
                parameter=f"documents[{i}]",
            )
    return texts


def check_known(body: Mapping[str, Any], known: set[str]) -> None:
    """Refuses a field that does not exist.

    Raises:
        InvalidParameterError: There is one.
    """
    for name in body:
        if name not in known:
            raise unknown_name(name, known, "parameter")


def check_dimensions(llm: Llama, dimensions: int | None) -> None:
    """Refuses embeddings shorter than the model's: cutting one off keeps its sense for few models only.

    Raises:
        InvalidParameterError: Another length is asked for.
    """
    if dimensions not in (None, llm.info.n_embd):
        raise InvalidParameterError(
            f"dimensions must be {llm.info.n_embd}, the length of this model's embeddings, or left out",
            parameter="dimensions",
        )


def to_base64(answer: dict[str, Any]) -> None:
    """Puts base64 of float32, little-endian, in place of each embedding."""
    import numpy as np

    for row in answer["data"]:
        row["embedding"] = base64.b64encode(np.asarray(row["embedding"], dtype="<f4").tobytes()).decode()


async def answer_all(llm: Llama, texts: list[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """One answer to several prompts, which run in one batch: the choices in the order of the prompts."""
    if len(texts) == 1:
        return dict(await llm.acreate_completion(texts[0], **params))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(llm.acreate_completion(text, **params)) for text in texts]
    answers: list[Any] = [task.result() for task in tasks]
    choices = [choice for answer in answers for choice in answer["choices"]]
    for i, choice in enumerate(choices):
        choice["index"] = i
    return {**answers[0], "choices": choices, "usage": _sum(answer["usage"] for answer in answers)}


def _sum(usages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for usage in usages:
        for name, value in usage.items():
            if isinstance(value, Mapping):
                total[name] = _sum([total.get(name, {}), value])
            else:
                total[name] = total.get(name, 0) + value
    return total


async def stream_all(llm: Llama, texts: list[Any], params: Mapping[str, Any]) -> Chunks:
    """The chunks of several prompts as they come; each names the choice that it belongs to."""
    streams: list[Any] = []
    try:
        for text in texts:
            streams.append(await llm.acreate_completion(text, stream=True, **params))
    except BaseException:
        for stream in streams:
            await stream.aclose()
        raise
    return streams[0] if len(streams) == 1 else _merged(streams, params.get("n") or 1)


async def _merged(streams: list[Chunks], n: int) -> Chunks:
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def pump(position: int, stream: Chunks) -> None:
        try:
            async for chunk in stream:
                queue.put_nowait((position, chunk))
        finally:
            await stream.aclose()

    async def pump_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for position, stream in enumerate(streams):
                    group.create_task(pump(position, stream))
        finally:
            queue.put_nowait((-1, _END))

    work = asyncio.ensure_future(pump_all())
    usages: list[Mapping[str, Any]] = []
    first: Mapping[str, Any] | None = None
    try:
        while (entry := await queue.get())[1] is not _END:
            position, chunk = entry
            first = first or chunk
            if chunk.get("usage"):
                usages.append(chunk["usage"])
            choices = [{**choice, "index": position * n + choice["index"]} for choice in chunk["choices"]]
            if choices:
                yield {**chunk, "id": first["id"], "choices": choices, "usage": None}
        await work
        if first is not None:
            yield {**first, "choices": [], "usage": _sum(usages)}
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
