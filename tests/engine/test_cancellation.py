"""Every way to lose interest in an answer frees its slot at once, and the engine goes on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama, RequestCancelledError

Idle = Callable[[], None]
ENDLESS: dict[str, Any] = {"max_tokens": 1900, "temperature": 0, "ignore_eos": True}
LONG_PROMPT = " ".join(f"{i} and" for i in range(400))  # about 2,000 tokens


@pytest.fixture(autouse=True)
def _comes_to_rest(idle: Idle) -> Any:
    yield
    idle()


def n_active(llm: Llama) -> int:
    return llm.n_active


def test_close_of_a_stream(llm: Llama) -> None:
    chunks = llm("Once", **ENDLESS, stream=True)
    next(chunks)
    assert n_active(llm) == 1
    chunks.close()
    assert n_active(llm) == 0
    assert list(chunks) == []
    chunks.close()


def test_close_of_a_stream_before_its_first_chunk(llm: Llama) -> None:
    chunks = llm("Once", **ENDLESS, stream=True)
    chunks.close()
    del chunks
    gc.collect()
    assert n_active(llm) == 0


def test_dropping_a_stream(llm: Llama) -> None:
    chunks = llm("Once", **ENDLESS, stream=True)
    next(chunks)
    del chunks
    gc.collect()
    assert n_active(llm) == 0


def test_dropping_a_stream_that_nobody_began(llm: Llama) -> None:
    chunks = llm("Once", **ENDLESS, stream=True)
    del chunks
    gc.collect()
    assert n_active(llm) == 0


def test_dropping_a_stream_in_another_thread(llm: Llama) -> None:
    box = [llm("Once", **ENDLESS, stream=True)]
    next(box[0])
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert n_active(llm) == 0


def test_exception_in_the_consumer(llm: Llama) -> None:
    def consume() -> None:
        for _ in llm("Once", **ENDLESS, stream=True):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        consume()
    gc.collect()
    assert n_active(llm) == 0


def test_break_out_of_the_loop(llm: Llama) -> None:
    for _ in llm("Once", **ENDLESS, stream=True):
        break
    gc.collect()
    assert n_active(llm) == 0


def test_a_stream_in_a_reference_cycle(llm: Llama) -> None:
    cycle: dict[str, Any] = {"chunks": llm("Once", **ENDLESS, stream=True)}
    cycle["self"] = cycle
    next(cycle["chunks"])
    del cycle
    gc.collect()
    assert n_active(llm) == 0


async def test_aclose(llm: Llama) -> None:
    chunks = await llm.acreate_completion("Once", **ENDLESS, stream=True)
    await anext(chunks)
    await chunks.aclose()
    assert n_active(llm) == 0


async def test_break_out_of_an_async_loop(llm: Llama) -> None:
    chunks = await llm.acreate_completion("Once", **ENDLESS, stream=True)
    async for _ in chunks:
        break
    del chunks
    gc.collect()
    await asyncio.sleep(0.05)
    assert n_active(llm) == 0


@pytest.mark.parametrize("chat", [False, True])
async def test_cancelled_task(llm: Llama, chat: bool) -> None:
    messages = [{"role": "user", "content": "Tell a long story."}]
    work = (
        llm.acreate_chat_completion(messages, **ENDLESS)
        if chat
        else llm.acreate_completion("Once", **ENDLESS)
    )
    task = asyncio.create_task(work)
    while not n_active(llm):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert n_active(llm) == 0


async def test_cancelled_task_inside_a_stream(llm: Llama) -> None:
    async def consume() -> None:
        async for _ in await llm.acreate_completion("Once", **ENDLESS, stream=True):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert n_active(llm) == 0


async def test_timeout(llm: Llama) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await llm.acreate_completion("Once", **ENDLESS)
    assert n_active(llm) == 0


async def test_task_group_cancels_its_siblings(llm: Llama) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.2)
        raise KeyError("one of them")

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(llm.acreate_completion("Once", **ENDLESS))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await together()
    assert n_active(llm) == 0


def test_cancel_from_another_thread_ends_the_waiting_one(llm: Llama) -> None:
    request = llm._engine.submit(
        llm._engine.plan_tokens([llm.tokenize("Once")]), 0, {"n_predict": 1900, "ignore_eos": True}
    )
    threading.Timer(0.2, request.cancel).start()
    with pytest.raises(RequestCancelledError):
        request.next()
    with pytest.raises(RequestCancelledError):
        request.next()


def test_the_slot_is_free_soon_during_the_reading_of_a_long_prompt(smollm2_path: Path) -> None:
    with Llama(smollm2_path, n_ctx=2048, n_parallel=1, n_batch=64) as llama:
        ids = llama.tokenize(LONG_PROMPT)
        assert 1800 < len(ids) < 2048
        start = time.perf_counter()
        chunks = llama(ids, max_tokens=5, stream=True, return_progress=True)
        first = next(
            chunk["prompt_progress"] for chunk in chunks if chunk.get("prompt_progress", {}).get("processed")
        )
        step = time.perf_counter() - start
        assert first["processed"] < len(ids) / 4
        chunks.close()
        assert n_active(llama) == 0
        start = time.perf_counter()
        llama("The capital of France is", max_tokens=1, temperature=0)
        # About 30 steps were left; the step that runs is finished, and the next ones are the other request's.
        assert time.perf_counter() - start < 8 * step + 1


async def test_cancelled_while_it_waits_for_a_slot(llm: Llama) -> None:
    running = [
        await llm.acreate_completion("Once", **ENDLESS, stream=True) for _ in range(llm.info.n_parallel)
    ]
    waiting = asyncio.create_task(llm.acreate_completion("Once", **ENDLESS))
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert n_active(llm) == len(running)
    for chunks in running:
        await chunks.aclose()
    assert n_active(llm) == 0


def test_many_cancellations_at_random_moments(llm: Llama) -> None:
    for i in range(25):
        chunks = llm(f"Story {i}", max_tokens=200, ignore_eos=True, stream=True, n=1 + i % 3)
        for _ in range(i % 4):
            next(chunks)
        chunks.close()
    assert n_active(llm) == 0


async def test_embeddings_cancelled(embedder: Llama) -> None:
    texts = [f"text {i} " * 40 for i in range(300)]
    task = asyncio.create_task(embedder.aembed(texts))
    while not n_active(embedder):
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert n_active(embedder) == 0
    assert embedder.embed(["still works"]).shape == (1, 384)
