"""What runs in each actor of Ray Data: one engine, which answers the rows of several batches at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._rows import (
    answer_columns,
    arrow_type,
    columns_of,
    error_columns,
    plain,
    request_of,
)

if TYPE_CHECKING:
    import pyarrow

__all__ = ["LlamaActor"]

Row = dict[str, Any]
_SAMPLING = "sampling_params"


class LlamaActor:
    """A model that answers batches of rows, for ``Dataset.map_batches`` with ``batch_format="pyarrow"``.

    Batches that it is given at the same time share its engine, so that the last rows of one batch run beside
    the first of the next. The rows of a batch keep their order, which is what lets Ray repeat a batch of
    an actor that died without losing a row or having one twice.

    Args:
        model: The model, as for :class:`~llamacpp_core.Llama`. It is loaded from the cache of the node and
            fetched where it is not there yet, once for all actors of the node.
        task: "chat", "completion", "embedding" or "rerank".
        preprocess: Makes a request of a row: the arguments of a call, and ``sampling_params`` if wanted.
            None: the row's columns are the request.
        params: Parameters of all rows; a row's own come before them.
        engine_kwargs: Further arguments of :class:`~llamacpp_core.Llama`.
    """

    def __init__(
        self,
        model: Any,
        *,
        task: str = "chat",
        preprocess: Callable[[Row], Any] | None = None,
        params: Mapping[str, Any] | None = None,
        engine_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        from llamacpp_core import Llama

        options = dict(engine_kwargs or {})
        if task == "embedding":
            options.setdefault("embedding", True)
        self._task = task
        self._preprocess = preprocess
        self._params = dict(params or {})
        self._columns = columns_of(task)
        self._running: set[asyncio.Task[Any]] = set()
        self._llama = Llama(model, **options)

    async def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """The batch with its answers, or their errors, in further columns.

        Raises:
            InvalidParameterError: The batch has a column that the answer needs, or a parameter of all rows
                cannot work.
        """
        for name in self._columns:
            if name in batch.column_names:
                raise InvalidParameterError(
                    f"the dataset has a column {name!r}, which the answer needs: rename or drop it",
                    parameter=name,
                )
        import pyarrow as arrow

        self._hold()
        rows = batch.to_pylist()
        answers: list[Row] = [{} for _ in rows]
        asked = map(self._asked, rows)
        async for i, answer in self._llama.amap(asked, task=self._task, on_error="return", **self._params):
            answers[i] = error_columns(answer) if isinstance(answer, Exception) else answer_columns(answer)
        for name, what in self._columns.items():
            values = [plain(answer.get(name), what) for answer in answers]
            batch = batch.append_column(name, arrow.array(values, type=arrow_type(what)))
        return batch

    def _hold(self) -> None:
        """Keeps the running batch alive.

        Nothing else does: an event loop knows its waiting tasks weakly, Ray lets go of the one that waits for
        the batches of a block, and the engine lets go of requests that nobody waits for. The garbage
        collector would take them all as one cycle.
        """
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _asked(self, row: Row) -> Any:
        """The request that a row is, or what is wrong with it."""
        try:
            made = row if self._preprocess is None else self._preprocess(row)
            if not isinstance(made, Mapping):
                return made  # a text, or what the list has an error for
            own = made.get(_SAMPLING)
            if own is not None and not isinstance(own, Mapping):
                raise InvalidParameterError(
                    f"{_SAMPLING} must be a dict of parameters, got {type(own).__name__}", parameter=_SAMPLING
                )
            given = {name: value for name, value in (own or {}).items() if value is not None}
            request = request_of(made, self._task) | given
            if self._task == "embedding" and not isinstance(request.get("input", ""), str):
                raise InvalidParameterError("input must be one text: a row has one vector", parameter="input")
            return request
        except Exception as error:
            return error
