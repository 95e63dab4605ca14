"""A list of requests on its way through the shared batch, for threads and coroutines."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from llamacpp_core._checks import boolean, choice, shown
from llamacpp_core.engine.threads import Thread
from llamacpp_core.errors import (
    EngineClosedError,
    ForkedProcessError,
    InvalidParameterError,
    MissingDependencyError,
)
from llamacpp_core.llama.lists.answered import Answered
from llamacpp_core.llama.lists.asking import Asked, Reader
from llamacpp_core.llama.lists.gathered import Gathered
from llamacpp_core.models.progress import ProgressBar

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["Run", "as_ready", "in_order"]

#: Rows in the engine, of those that it answers at once: the next one is there when a slot becomes free.
_PER_SLOT = 2
_FEWEST_AT_ONCE = 8
#: Rows between the source and the taker, of those in the engine; bounds how far one long answer is overtaken.
_AHEAD = 8

#: Errors that no row is to blame for, and that every further one would meet.
_ENDS_ALL = (EngineClosedError, ForkedProcessError, MissingDependencyError)

_ON_ERROR = choice("raise", "return")


class _Row(NamedTuple):
    """A request on its way."""

    position: int
    key: Any
    asked: Asked | Exception


class Run:
    """One list: how its rows are read and answered. Entered while it is at work.

    Args: as for :meth:`~llamacpp_core.Llama.map`.

    Attributes:
        at_once: Requests in the engine, at most.
        ahead: Requests between the source and the taker of the answers, at most.
        gathered: Answers texts to embed together.
    """

    def __init__(
        self,
        llama: Llama,
        task: str | None,
        on_error: str,
        key: str | Callable[[Any], Any] | None,
        resume: str | os.PathLike[str] | None,
        progress: bool | None,
        shared: Mapping[str, Any],
    ) -> None:
        self._llama = llama
        self._returns = _ON_ERROR("on_error", on_error) == "return"
        if key is not None and not isinstance(key, str) and not callable(key):
            raise InvalidParameterError(
                f"key must be the name of a field, or a function of a request, got {shown(key)}",
                parameter="key",
            )
        self._key = key
        self._resume = resume
        self._answered: Answered | None = None
        self._progress = progress if progress is None else boolean("progress", progress)
        self._reader = Reader(llama, task, shared)
        self.at_once = max(_FEWEST_AT_ONCE, _PER_SLOT * llama.info.n_parallel)
        self.ahead = _AHEAD * self.at_once
        self._slots = asyncio.Semaphore(self.at_once)
        self.gathered = Gathered(llama)

    def __enter__(self) -> Self:
        if self._resume is not None:
            info = self._llama.info
            size = self._llama._resolved.header.file_size
            self._answered = Answered(self._resume, f"{info.name}, {size} bytes")
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._answered is not None:
            self._answered.close()

    def bar(self, requests: Any) -> ProgressBar:
        """The progress of the whole list."""
        total = len(requests) if isinstance(requests, Sized) else None
        return ProgressBar("answering", total, unit="request", progress=self._progress)

    def read(self, position: int, row: Any) -> _Row:
        """The request at a position.

        Raises:
            InvalidParameterError: A shared parameter cannot work.
        """
        key: Any = position
        try:
            if callable(self._key):
                key = self._key(row)
            elif self._key is not None and isinstance(row, Mapping):
                row = dict(row)
                if self._key not in row:
                    raise InvalidParameterError(f"there is no {self._key}: it is the key", parameter="key")
                key = row.pop(self._key)
        except Exception as error:
            return _Row(position, key, error)
        return _Row(position, key, self._reader.read(row))

    async def answer(self, row: _Row) -> Any:
        """The answer to a request, or its error where errors are returned."""
        try:
            if isinstance(row.asked, Exception):
                raise row.asked
            return await self._found_or_asked(row.key, row.asked)
        except _ENDS_ALL:
            raise
        except Exception as error:
            if self._returns:
                return error
            error.add_note(f"in request {row.position} of the list (key {row.key!r})")
            raise

    async def _found_or_asked(self, key: Any, asked: Asked) -> Any:
        if self._answered is None:
            async with self._slots:
                return await self._ask(asked)
        adapters = asked.adapters(self._llama)
        digest = asked.digest(adapters)
        found = self._answered.get(key, digest)
        if found is None:
            async with self._slots:
                found = await self._ask(asked)
            if self._has_still(asked, adapters):
                self._answered.put(key, digest, found)
        return found

    async def _ask(self, asked: Asked) -> Any:
        if asked.task == "embedding" and self.gathered.takes(asked.arguments):
            return await self.gathered.answer(asked.arguments)
        return await asked.answer(self._llama)

    def _has_still(self, asked: Asked, adapters: list[tuple[str, str]]) -> bool:
        """Whether a request's adapters are those of before: else nobody knows which ones answered it."""
        try:
            return asked.adapters(self._llama) == adapters
        except InvalidParameterError:
            return False


def in_order(run: Run, requests: Iterable[Any]) -> Generator[Any, None, None]:
    """The answers in the order of the requests, which are read on this thread."""
    pid = os.getpid()
    waiting: deque[Future[Any]] = deque()
    failure: Exception | None = None
    rows: Iterator[tuple[int, Any]] = enumerate(requests)
    with run, run.bar(requests) as bar, _LoopThread() as loop:
        while True:
            while failure is None and len(waiting) < run.ahead:
                if len(waiting) >= run.at_once and waiting[0].done():
                    break  # nobody waits for a slow source while there is an answer
                try:
                    row = run.read(*next(rows))
                except StopIteration:
                    break
                except Exception as error:  # the source has failed: first what came before
                    failure = error
                    break
                waiting.append(asyncio.run_coroutine_threadsafe(run.answer(row), loop))
            if not waiting:
                break
            if pid != os.getpid():
                raise ForkedProcessError("this list was begun before a fork: its answers go to the parent")
            answer = waiting.popleft().result()
            bar.advance()
            yield answer
    if failure is not None:
        raise failure


class _LoopThread:
    """An event loop on a thread of its own; when it is left, its tasks are cancelled."""

    def __enter__(self) -> asyncio.AbstractEventLoop:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._serve, name="llamacpp-map", daemon=True)
        self._thread.start()
        return self._loop

    def __exit__(self, *exc_info: object) -> None:
        if self._pid == os.getpid():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cancel(asyncio.all_tasks(self._loop)))
        finally:
            self._loop.close()

    async def _cancel(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def as_ready(
    run: Run, requests: Iterable[Any] | AsyncIterable[Any]
) -> AsyncGenerator[tuple[int, Any], None]:
    """The answers as they are ready, each with the position of its request."""
    ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    open_tasks: set[asyncio.Task[Any]] = set()
    room = asyncio.Semaphore(run.ahead)

    def start(work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        open_tasks.add(task)
        task.add_done_callback(ended.put_nowait)
        return task

    async def one(row: _Row) -> tuple[int, Any]:
        return row.position, await run.answer(row)

    async def feed() -> None:
        position = 0
        async for row in _each(requests, room):
            start(one(run.read(position, row)))
            position += 1

    with run, run.bar(requests) as bar:
        feeder = start(feed())
        try:
            while open_tasks:
                task = await ended.get()
                open_tasks.discard(task)
                if task is not feeder:
                    answer = task.result()
                    room.release()
                    bar.advance()
                    yield answer
            feeder.result()  # a failure of the source comes after what came before it
        finally:
            for task in open_tasks:
                task.cancel()
            try:
                await asyncio.gather(feeder, *open_tasks, return_exceptions=True)
            finally:
                await run.gathered.close()


async def _each(requests: Iterable[Any] | AsyncIterable[Any], room: asyncio.Semaphore) -> AsyncIterator[Any]:
    """The requests one after another, each when there is room for it."""
    await room.acquire()
    if isinstance(requests, AsyncIterable):
        async for row in requests:
            yield row
            await room.acquire()
    else:
        for row in requests:
            yield row
            await room.acquire()
