"""Many consumers of one engine: threads, coroutines, streams that change hands."""

from __future__ import annotations

import asyncio
import gc
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llamacpp_core import EngineError, Llama

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Japan": "Tokyo", "Russia": "Moscow", "Greece": "Athens", "Egypt": "Cairo",
}  # fmt: skip
GREEDY: dict[str, Any] = {"max_tokens": 3, "temperature": 0}


def prompt(country: str) -> str:
    return f"The capital of China is Beijing. The capital of {country} is"


def text(response: dict[str, Any]) -> str:
    return str(response["choices"][0]["text"])


@pytest.fixture(scope="module")
def alone(llm: Llama) -> dict[str, str]:
    """What each prompt gives when nothing else runs."""
    answers = {country: text(llm(prompt(country), **GREEDY)) for country in CAPITALS}
    for country, capital in CAPITALS.items():
        assert answers[country].startswith(f" {capital}"), answers
    return answers


def test_eight_threads(llm: Llama, alone: dict[str, str]) -> None:
    barrier = threading.Barrier(8)

    def work(country: str) -> list[str]:
        barrier.wait()
        return [text(llm(prompt(country), **GREEDY)) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(CAPITALS, pool.map(work, CAPITALS), strict=True))
    assert found == {country: [answer] * 3 for country, answer in alone.items()}


async def test_thirty_two_coroutines(llm: Llama, alone: dict[str, str]) -> None:
    countries = [*CAPITALS] * 4
    found = await asyncio.gather(*(llm.acreate_completion(prompt(c), **GREEDY) for c in countries))
    assert [text(response) for response in found] == [alone[c] for c in countries]


async def test_threads_and_coroutines_and_streams_at_once(llm: Llama, alone: dict[str, str]) -> None:
    async def streamed(country: str) -> str:
        chunks = await llm.acreate_completion(prompt(country), **GREEDY, stream=True)
        return "".join([text(chunk) async for chunk in chunks])

    countries = [*CAPITALS]
    blocking = [asyncio.to_thread(llm, prompt(c), **GREEDY) for c in countries]
    whole = [llm.acreate_completion(prompt(c), **GREEDY) for c in countries]
    pieces = [streamed(c) for c in countries]
    found = await asyncio.gather(*blocking, *whole, *pieces)
    answers = [value if isinstance(value, str) else text(value) for value in found]
    assert answers == [alone[c] for c in countries] * 3


def test_two_event_loops_at_once(llm: Llama, alone: dict[str, str]) -> None:
    def loop(country: str) -> list[str]:
        async def work() -> list[str]:
            found = await asyncio.gather(
                *(llm.acreate_completion(prompt(country), **GREEDY) for _ in range(4))
            )
            return [text(response) for response in found]

        return asyncio.run(work())

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(loop, ["France", "Japan"])] == [[alone["France"]] * 4, [alone["Japan"]] * 4]


def test_stream_consumed_in_another_thread(llm: Llama, alone: dict[str, str]) -> None:
    chunks = llm(prompt("Italy"), **GREEDY, stream=True)
    first = next(chunks)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(lambda: [text(chunk) for chunk in chunks]).result()
    assert text(first) + "".join(rest) == alone["Italy"]


def test_async_stream_continued_in_another_loop(llm: Llama, alone: dict[str, str]) -> None:
    async def begin() -> tuple[Any, str]:
        chunks = await llm.acreate_completion(prompt("Spain"), **GREEDY, stream=True)
        return chunks, text(await anext(chunks))

    async def go_on(chunks: Any) -> str:
        return "".join([text(chunk) async for chunk in chunks])

    # Not asyncio.run(): it closes the generators that it leaves behind.
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    try:
        chunks, first = loops[0].run_until_complete(begin())
        rest = loops[1].run_until_complete(go_on(chunks))
    finally:
        for loop in loops:
            loop.close()
    assert first + rest == alone["Spain"]


def test_a_loop_closed_under_its_request_harms_nobody(llm: Llama, idle: Callable[[], None]) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(llm.acreate_completion("Once", max_tokens=500, temperature=0, ignore_eos=True))
    loop.run_until_complete(asyncio.sleep(0.1))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    idle()


async def test_a_task_that_nobody_keeps_runs_to_its_end(llm: Llama, alone: dict[str, str]) -> None:
    answers = []

    async def ask() -> None:
        answers.append(await llm.acreate_completion(prompt("France"), **GREEDY | {"max_tokens": 40}))

    asyncio.create_task(ask())  # noqa: RUF006 - an event loop keeps its tasks weakly: this is what is tested
    async with asyncio.timeout(60):
        while not llm.n_active:
            await asyncio.sleep(0)
        while not answers:
            gc.collect()
            await asyncio.sleep(0.005)
    assert text(answers[0]).startswith(alone["France"])


def test_two_consumers_of_one_stream_are_refused_or_served(llm: Llama) -> None:
    """A stream is a generator: two threads inside it at once is an error, never a wrong text."""
    chunks = llm("Count: 1, 2, 3,", max_tokens=30, temperature=0, stream=True)
    errors: queue.Queue[Exception] = queue.Queue()
    pieces: queue.Queue[str] = queue.Queue()

    def consume() -> None:
        try:
            for chunk in chunks:
                pieces.put(text(chunk))
        except (ValueError, EngineError) as error:
            errors.put(error)

    threads = [threading.Thread(target=consume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert pieces.qsize() + errors.qsize() > 0


def test_more_requests_than_slots_all_finish(llm: Llama) -> None:
    with ThreadPoolExecutor(24) as pool:
        prompts = [f"Number {i} and then number" for i in range(24)]
        found = [*pool.map(lambda p: llm(p, max_tokens=2, temperature=0), prompts)]
    assert all(response["usage"]["completion_tokens"] == 2 for response in found)


def test_a_failed_request_leaves_others_alone(llm: Llama, alone: dict[str, str]) -> None:
    """One request breaks inside the engine, at submission and while it runs, beside others that go on."""

    def broken(_: int) -> str:
        plan = llm._engine.plan_tokens([[1] * 3000])  # the public methods would refuse it: longer than n_ctx
        request = llm._engine.submit(plan, 0, {"n_predict": 1})
        try:
            request.next()
        except EngineError:
            return "engine"
        except ValueError as error:
            return type(error).__name__
        return "no error"

    def good(country: str) -> str:
        return text(llm(prompt(country), **GREEDY))

    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(broken, i) for i in range(4)]
        well = [pool.submit(good, country) for country in CAPITALS]
        assert {future.result() for future in bad} == {"ContextOverflowError"}
        assert [future.result() for future in well] == [*alone.values()]


def test_tokenizing_and_planning_from_many_threads(llm: Llama) -> None:
    expected = llm.tokenize("Some text to tokenize, again and again.")
    messages = [{"role": "user", "content": "Hi"}]
    prompt_text = llm.apply_chat_template(messages)

    def work(_: int) -> bool:
        return (
            llm.tokenize("Some text to tokenize, again and again.") == expected
            and llm.apply_chat_template(messages) == prompt_text
            and llm.detokenize(expected)
            == llm.detokenize(llm.tokenize("Some text to tokenize, again and again."))
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
