"""Closing with work in flight, twice, and use afterwards."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import EngineClosedError, Llama

ENDLESS: dict[str, Any] = {"max_tokens": 4000, "temperature": 0, "ignore_eos": True}
Open = Callable[..., Llama]


@pytest.fixture
def open_llama(smollm2_path: Path) -> Iterator[Open]:
    opened: list[Llama] = []

    def load(**options: Any) -> Llama:
        opened.append(Llama(smollm2_path, **{"n_ctx": 4096, "n_parallel": 2, "warmup": False, **options}))
        return opened[-1]

    yield load
    for llama in opened:
        llama.close()


def wait_for_work(llama: Llama, n: int = 1) -> None:
    deadline = time.monotonic() + 10
    while llama.n_active < n:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_waiting_thread_gets_the_error(open_llama: Open) -> None:
    llama = open_llama()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(llama, "Once", **ENDLESS) for _ in range(4)]
        wait_for_work(llama, 4)
        llama.close()
        for future in futures:
            with pytest.raises(EngineClosedError):
                future.result(10)


def test_a_stream_gets_the_error(open_llama: Open) -> None:
    llama = open_llama()
    chunks = llama("Once", **ENDLESS, stream=True)
    next(chunks)
    llama.close()
    with pytest.raises(EngineClosedError):
        list(chunks)
    chunks.close()


async def test_coroutines_get_the_error(open_llama: Open) -> None:
    llama = open_llama()
    tasks = [asyncio.create_task(llama.acreate_completion("Once", **ENDLESS)) for _ in range(5)]
    chunks = await llama.acreate_completion("Once", **ENDLESS, stream=True)
    await anext(chunks)
    await asyncio.sleep(0.1)
    await asyncio.to_thread(llama.close)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in found] == [EngineClosedError] * 5
    with pytest.raises(EngineClosedError):
        async for _ in chunks:
            pass


async def test_close_inside_the_loop_that_waits(open_llama: Open) -> None:
    llama = open_llama()
    task = asyncio.create_task(llama.acreate_completion("Once", **ENDLESS))
    await asyncio.sleep(0.2)
    llama.close()
    with pytest.raises(EngineClosedError):
        await task


def test_embeddings_get_the_error(minilm_path: Path) -> None:
    with Llama(minilm_path) as encoder, ThreadPoolExecutor(1) as pool:
        future = pool.submit(encoder.embed, [f"text {i} " * 60 for i in range(400)])
        wait_for_work(encoder)
        encoder.close()
        with pytest.raises(EngineClosedError):
            future.result(10)


def test_close_while_a_prompt_is_read(open_llama: Open) -> None:
    llama = open_llama(n_batch=64)
    ids = llama.tokenize("word " * 3000)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(llama, ids, max_tokens=1)
        wait_for_work(llama)
        time.sleep(0.05)
        llama.close()
        with pytest.raises(EngineClosedError):
            future.result(10)


def test_close_is_quick(open_llama: Open) -> None:
    idle, busy = open_llama(), open_llama()
    start = time.perf_counter()
    idle.close()
    assert time.perf_counter() - start < 1
    chunks = busy("Once", **ENDLESS, stream=True)
    next(chunks)
    start = time.perf_counter()
    busy.close()
    assert time.perf_counter() - start < 2


def test_close_twice_and_from_many_threads(open_llama: Open) -> None:
    llama = open_llama()
    chunks = llama("Once", **ENDLESS, stream=True)
    threads = [threading.Thread(target=llama.close) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    llama.close()
    with pytest.raises(EngineClosedError):
        list(chunks)


def test_close_while_others_submit(open_llama: Open) -> None:
    llama = open_llama()
    outcomes: list[str] = []

    def work() -> None:
        while True:
            try:
                llama("Hi", max_tokens=1)
            except EngineClosedError:
                outcomes.append("closed")
                return

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    llama.close()
    for thread in threads:
        thread.join(10)
    assert outcomes == ["closed"] * 6


USES: dict[str, Callable[[Llama], Any]] = {
    "completion": lambda llama: llama("Hi", max_tokens=1),
    "completion stream": lambda llama: list(llama("Hi", max_tokens=1, stream=True)),
    "chat": lambda llama: llama.create_chat_completion([{"role": "user", "content": "Hi"}]),
    "embed": lambda llama: llama.embed(["Hi"]),
    "create_embedding": lambda llama: llama.create_embedding("Hi"),
    "rerank": lambda llama: llama.rerank("q", ["a", "b"]),
    "tokenize": lambda llama: llama.tokenize("Hi"),
    "detokenize": lambda llama: llama.detokenize([1, 2]),
    "count_tokens": lambda llama: llama.count_tokens("Hi"),
    "template": lambda llama: llama.apply_chat_template([{"role": "user", "content": "Hi"}]),
    "with": lambda llama: llama.__enter__()("Hi", max_tokens=1),
    "acompletion": lambda llama: asyncio.run(llama.acreate_completion("Hi")),
    "achat": lambda llama: asyncio.run(llama.acreate_chat_completion([{"role": "user", "content": "Hi"}])),
    "aembed": lambda llama: asyncio.run(llama.aembed(["Hi"])),
    "arerank": lambda llama: asyncio.run(llama.arerank("q", ["a"])),
}


@pytest.fixture(scope="module")
def closed(smollm2_path: Path) -> Llama:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, embedding=True, warmup=False) as llama:
        pass
    return llama


@pytest.mark.parametrize("use", USES, ids=str)
def test_use_after_close(closed: Llama, use: str) -> None:
    with pytest.raises(EngineClosedError, match="closed"):
        USES[use](closed)


def test_facts_outlive_the_engine(closed: Llama) -> None:
    assert closed.info.n_vocab == closed.n_vocab() == 49152
    assert "closed" in repr(closed)
    assert closed.token_eos() == 2


def test_the_with_block_closes_also_on_an_error(open_llama: Open) -> None:
    llama = open_llama()
    with pytest.raises(KeyError, match="mine"), llama:
        raise KeyError("mine")
    with pytest.raises(EngineClosedError):
        llama("Hi")


def test_a_forgotten_object_warns_and_frees(smollm2_path: Path) -> None:
    box = [Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False)]
    core = weakref.ref(box[0]._engine._core)
    thread = box[0]._engine._core.thread
    with pytest.warns(ResourceWarning, match="not closed"):
        box.clear()
    gc.collect()
    assert core() is None
    assert not thread.is_alive()


def test_a_forgotten_object_in_a_cycle_and_another_thread(smollm2_path: Path) -> None:
    def work() -> None:
        llama = Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False)
        llama.cycle = [llama]  # type: ignore[attr-defined]
        alive.append(weakref.ref(llama))

    alive: list[weakref.ref[Llama]] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert alive[0]() is None
    assert any(issubclass(warning.category, ResourceWarning) for warning in caught)


def test_a_running_stream_keeps_its_engine(smollm2_path: Path) -> None:
    llama = Llama(smollm2_path, n_ctx=256, n_parallel=1, warmup=False)
    chunks = llama("1, 2, 3, 4,", max_tokens=6, temperature=0, stream=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del llama
        gc.collect()
        try:
            pieces = [chunk["choices"][0]["text"] for chunk in chunks]
            assert "".join(pieces).startswith(" 5, 6")
        except EngineClosedError:
            pass  # the object closes what it opened: the error is clear, and the process lives


def test_no_pickles_and_no_copies(llm: Llama) -> None:
    import copy
    import pickle

    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="native memory"):
            attempt(llm)
