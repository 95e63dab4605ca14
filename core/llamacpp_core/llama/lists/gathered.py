"""Texts to embed, of many rows in one request of the engine, which costs less than one for each row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import EngineClosedError, ForkedProcessError
from llamacpp_core.llama.vectors import EmbeddingCall, acreate_embedding
from llamacpp_core.request.runner import aoff_loop

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["Gathered"]

#: Longer texts gain nothing.
_MOST_CHARACTERS = 2_000
#: Requests of the engine at a time: one that is computed, and one that follows it.
_AT_ONCE = 2


class _Row:
    """A row that waits for its answer."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.call: EmbeddingCall | None = None

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Gathered:
    """Answers texts to embed like :meth:`~llamacpp_core.Llama.acreate_embedding`, many at once.

    Those that come while others are computed go together. Belongs to one event loop.
    """

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._rows: list[_Row] = []
        self._running = 0
        self._begins = False  # one that has not taken its rows yet
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def takes(arguments: Mapping[str, Any]) -> bool:
        """Whether a request is one short text."""
        text = arguments["input"]
        return isinstance(text, str) and len(text) <= _MOST_CHARACTERS

    async def answer(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request that is one short text."""
        row = _Row(arguments)
        self._rows.append(row)
        self._start_some()
        return await row.answer

    async def close(self) -> None:
        """Ends what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_some(self) -> None:
        """Starts the rows that are there, unless enough are under way."""
        if self._rows and self._running < _AT_ONCE and not self._begins:
            self._running += 1
            self._begins = True
            task = asyncio.ensure_future(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # more of this turn of the loop go along
            self._begins = False
            rows, self._rows = self._rows, []
            for row in rows:
                await self._prepare(row)
            for unit in (True, False):
                alike = [row for row in rows if row.call is not None and row.call.unit == unit]
                if alike:
                    await self._compute(alike)
        except asyncio.CancelledError:
            self._rows.clear()  # the loop ends, and those who wait with it
            raise
        finally:
            self._running -= 1
            self._start_some()

    async def _prepare(self, row: _Row) -> None:
        if row.answer.done():
            return  # nobody waits for it any more
        try:
            call = partial(EmbeddingCall, self._llama, **row.arguments)
            row.call = await aoff_loop(call, len(row.arguments["input"]))
        except Exception as error:
            row.fail(error)

    async def _compute(self, rows: Sequence[_Row]) -> None:
        llama = self._llama
        try:
            joined = llama._vectors.joined([row.call.part for row in rows if row.call is not None])
            request = llama._engine.submit(joined.plan, joined.kind, joined.params)
            try:
                left = len(rows)
                while left:
                    done = joined.add(await request.anext())
                    if done is not None:
                        left -= 1
                        _give(rows[done])
            finally:
                request.cancel()
        except (EngineClosedError, ForkedProcessError) as error:
            for row in rows:
                row.fail(error)
        except Exception:
            await self._one_by_one(rows)

    async def _one_by_one(self, rows: Sequence[_Row]) -> None:
        """The error of one text is not that of the others."""
        for row in rows:
            if not row.answer.done():
                try:
                    answer = await acreate_embedding(self._llama, **row.arguments)
                    if not row.answer.done():
                        row.answer.set_result(answer)
                except Exception as error:
                    row.fail(error)


def _give(row: _Row) -> None:
    if row.call is not None and not row.answer.done():
        row.answer.set_result(row.call.response())
