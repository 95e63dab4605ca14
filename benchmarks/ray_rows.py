"""Rows a second of one process and of Ray Data: one actor, and two actors on two nodes of this machine.

    .venv/bin/python benchmarks/ray_rows.py

One process answers a list with ``Llama.map``; actors answer the same rows as a dataset. Each side has the
same cores in total. The time runs from the first rows that are ready to the last one, so that starting
processes and loading models, which Ray does for every run, do not count; the whole time is shown beside it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}

import ray
from ray.cluster_utils import Cluster

from llamacpp_core import Llama
from llamacpp_integrations.ray import build_processor

MODELS = {"chat": "smollm2-135m-instruct", "embedding": "all-minilm-l6-v2"}
FIELDS = {"chat": "messages", "embedding": "input"}
WORDS = "the sea bread snow iron glass bees maps salt rain clocks paper rivers wool stars"


def row(number: int, task: str) -> dict[str, Any]:
    """A row that is like no other."""
    words = WORDS.split()
    text = f"{number}. Write about " + " ".join(words[(i * number + i) % len(words)] for i in range(20))
    value: Any = [{"role": "user", "content": text}] if task == "chat" else text
    return {"id": number, FIELDS[task]: value}


def options(task: str, threads: int, max_tokens: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a model, and of its requests."""
    if task == "embedding":
        return {"n_threads": threads, "embedding": True}, {}
    return {"n_threads": threads, "n_ctx": 512, "n_parallel": 8}, {
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
    }


def timed(answers: Iterable[Any], count: int) -> float:
    """Rows a second after the first one."""
    first = 0.0
    for done, _ in enumerate(answers, 1):
        if done == 1:
            first = time.perf_counter()
    assert done == count, done
    return (count - 1) / (time.perf_counter() - first)


def one_process(task: str, count: int, threads: int, max_tokens: int) -> float:
    """A list of rows in this process."""
    loading, asking = options(task, threads, max_tokens)
    rows = [{FIELDS[task]: row(i, task)[FIELDS[task]]} for i in range(count)]
    with Llama(MODELS[task], **loading) as llm:
        return timed(llm.map(rows, task=task, **asking), count)


@contextmanager
def cluster(nodes: int) -> Iterator[None]:
    """A cluster with as many nodes."""
    head = {"num_cpus": 4, "object_store_memory": 200 * 2**20}
    started = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
    for _ in range(nodes - 1):
        started.add_node(**head)
    ray.init(started.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        started.shutdown()


def actors(task: str, count: int, n_actors: int, threads: int, max_tokens: int, batch_size: int) -> float:
    """Rows a second of a dataset, after its first block."""
    loading, asking = options(task, threads, max_tokens)
    processor = build_processor(
        MODELS[task],
        task=task,
        params=asking,
        engine_kwargs=loading,
        concurrency=n_actors,
        batch_size=batch_size,
    )
    dataset = ray.data.from_items([row(i, task) for i in range(count)])
    spans: list[float] = []
    for batch in processor(dataset).iter_batches(batch_size=None, batch_format="pyarrow"):
        spans += [time.perf_counter()] * len(batch)
    assert len(spans) == count
    first = spans.count(spans[0])
    return (count - first) / (spans[-1] - spans[0])


def main() -> None:
    """Prints a line for each side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=MODELS, default="chat")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    common = given.task, given.rows
    found = {f"one process, {given.cores} threads": one_process(*common, given.cores, given.max_tokens)}
    found["one process, 1 thread"] = one_process(*common, 1, given.max_tokens)
    for nodes, name in ((1, "1 actor"), (2, "2 actors on 2 nodes")):
        with cluster(nodes):
            threads = max(1, given.cores // nodes)
            start = time.perf_counter()
            rate = actors(*common, nodes, threads, given.max_tokens, given.batch_size)
            found[f"{name}, {threads} threads each"] = rate
            print(f"{name}: {time.perf_counter() - start:.1f} s with starting it")
    base = next(iter(found.values()))
    for name, rate in found.items():
        print(f"{name:36} {rate:8.2f} rows/s {rate / base:6.2f}")


if __name__ == "__main__":
    main()
