"""Answering the rows of a Ray dataset, in the shape of Ray's own processors of ``ray.data.llm``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import choice, integer, number, shown
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._rows import FIELDS, error_columns
from llamacpp_integrations.ray.actor import LlamaActor, Row

if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy, Dataset

__all__ = ["Processor", "build_processor"]

#: Batches of a block that run at once: what Ray does where the environment says nothing else.
_BATCHES_AT_ONCE = 4
#: Blocks that an actor works on at once: the next one is there when the first one's last rows run.
_BLOCKS_AT_ONCE = 2
_BLOCKS_AHEAD = 2 * _BLOCKS_AT_ONCE

_TASK = choice(*FIELDS)
_AT_LEAST_ONE = integer(1)


@dataclasses.dataclass(frozen=True)
class Processor:
    """Takes a dataset and gives one with answers; made by :func:`build_processor`.

    Attributes:
        actor_kwargs: The arguments of each :class:`LlamaActor`.
        compute: How many actors there are.
        batch_size: Rows of a batch.
        remote_args: What an actor asks Ray for.
        postprocess: Makes the row to keep of a row with its answer.
        postprocess_map_kwargs: Arguments of the ``Dataset.map`` that runs it.
    """

    actor_kwargs: Mapping[str, Any]
    compute: ActorPoolStrategy
    batch_size: int
    remote_args: Mapping[str, Any]
    postprocess: Callable[[Row], Row] | None
    postprocess_map_kwargs: Mapping[str, Any]

    def __call__(self, dataset: Dataset) -> Dataset:
        """The dataset with the answers, computed when it is read."""
        # What is lost with a node, and what one actor takes alone, is a block.
        blocks = dataset.repartition(target_num_rows_per_block=_BATCHES_AT_ONCE * self.batch_size)
        answered = blocks.map_batches(
            LlamaActor,
            fn_constructor_kwargs=dict(self.actor_kwargs),
            compute=self.compute,
            batch_size=self.batch_size,
            batch_format="pyarrow",
            **self.remote_args,
        )
        if self.postprocess is None:
            return answered
        return answered.map(_Post(self.postprocess), **self.postprocess_map_kwargs)


class _Post:
    """A postprocess that rows with errors pass by, and whose own errors are those of its row."""

    def __init__(self, function: Callable[[Row], Row]) -> None:
        self._function = function

    def __call__(self, row: Row) -> Row:
        if row["error"] is not None:
            return row
        try:
            return self._function(row)
        except Exception as error:
            return row | error_columns(error)


def build_processor(
    model: Any,
    *,
    task: str = "chat",
    preprocess: Callable[[Row], Any] | None = None,
    postprocess: Callable[[Row], Row] | None = None,
    params: Mapping[str, Any] | None = None,
    engine_kwargs: Mapping[str, Any] | None = None,
    num_cpus: float = 1,
    num_gpus: float | None = None,
    concurrency: int | tuple[int, int] | tuple[int, int, int] = 1,
    batch_size: int = 32,
    ray_remote_args: Mapping[str, Any] | None = None,
    postprocess_map_kwargs: Mapping[str, Any] | None = None,
) -> Processor:
    """What answers the rows of a dataset, with one engine in each actor.

    Each row keeps its columns and gets those of its answer: ``generated_text``, ``finish_reason``,
    ``tool_calls`` (as JSON), ``prompt_tokens`` and ``completion_tokens``; or ``embeddings``; or ``ranking``
    (as JSON). A row that cannot be answered has ``error``, ``error_type`` and ``error_field`` instead. Those
    of an actor or a node that dies are answered by another.

    Args:
        model: The model, as for :class:`~llamacpp_core.Llama`; a path is one on each node. It is fetched once
            for each node.
        task: "chat", "completion", "embedding" or "rerank".
        preprocess: Makes a request of a row, within the actor, so that it need not be what Arrow can hold:
            ``messages``; ``prompt``; ``input``, one text; or ``query`` and ``documents``; with
            parameters beside them or in ``sampling_params``, or a text alone. What it raises becomes the
            error of the row. None: the row's columns are the request.
        postprocess: Makes the row to keep of a row with its answer. Rows with errors pass it by.
        params: Parameters of all rows, such as ``max_tokens`` and ``response_format``; a row's own come
            before them.
        engine_kwargs: Further arguments of :class:`~llamacpp_core.Llama`, such as ``n_ctx``.
        num_cpus: CPUs of an actor, which sets ``n_threads``. One actor for each node, with nearly all of its
            CPUs, is best: what reads and writes the dataset needs one, too.
        num_gpus: GPUs of an actor.
        concurrency: Actors: their number, or the least and the most, or these and how many there are first.
        batch_size: Rows of a batch. Some batches run at once, and what is lost with an actor is eight of them
            at most.
        ray_remote_args: What else an actor asks Ray for, such as ``resources`` and ``runtime_env``.
        postprocess_map_kwargs: Arguments of the ``Dataset.map`` that runs the postprocess.

    Raises:
        InvalidParameterError: An argument cannot work.

    Example:
        >>> ask = build_processor("smollm2-135m-instruct", params={"max_tokens": 8})  # doctest: +SKIP
        >>> rows = [{"messages": [{"role": "user", "content": "Hi!"}]}]
        >>> ask(ray.data.from_items(rows)).take_all()  # doctest: +SKIP
    """
    task = _TASK("task", task)
    cpus = number(0, above=True)("num_cpus", num_cpus)
    for name, value in (("preprocess", preprocess), ("postprocess", postprocess)):
        if value is not None and not callable(value):
            raise InvalidParameterError(f"{name} must be a function, got {shown(value)}", parameter=name)
    remote_args = dict(_mapping("ray_remote_args", ray_remote_args), num_cpus=num_cpus)
    if num_gpus is not None:
        remote_args["num_gpus"] = number(0)("num_gpus", num_gpus)
    actor_kwargs = {
        "task": task,
        "model": model,
        "preprocess": preprocess,
        "params": _mapping("params", params),
        "engine_kwargs": {"n_threads": max(1, int(cpus))} | _mapping("engine_kwargs", engine_kwargs),
    }
    return Processor(
        actor_kwargs=actor_kwargs,
        compute=_pool(concurrency),
        batch_size=_AT_LEAST_ONE("batch_size", batch_size),
        remote_args=remote_args,
        postprocess=postprocess,
        postprocess_map_kwargs=_mapping("postprocess_map_kwargs", postprocess_map_kwargs),
    )


def _mapping(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise InvalidParameterError(f"{name} must be a dict, got {shown(value)}", parameter=name)
    return dict(value or {})


def _pool(concurrency: Any) -> ActorPoolStrategy:
    """How many actors there are, and what each works on at once."""
    from ray.data import ActorPoolStrategy

    sizes = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    if not 2 <= len(sizes) <= 3:
        raise InvalidParameterError(
            "concurrency must be a number of actors, or (least, most), or (least, most, first), got "
            f"{shown(sizes)}",
            parameter="concurrency",
        )
    least, most, *first = (_AT_LEAST_ONE("concurrency", size) for size in sizes)
    if not least <= (first or [least])[0] <= most:
        raise InvalidParameterError(
            f"concurrency: {shown(sizes)} is not in order of size", parameter="concurrency"
        )
    return ActorPoolStrategy(
        min_size=least,
        max_size=most,
        initial_size=first[0] if first else None,
        max_tasks_in_flight_per_actor=_BLOCKS_AHEAD,
        max_concurrent_calls_per_actor=_BLOCKS_AT_ONCE,
    )
