"""``Llama.map`` and ``Llama.amap``: order, laziness, one batch, errors of rows, ends of all kinds."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llamacpp_core import (
    ContextOverflowError,
    EngineClosedError,
    InvalidMessageError,
    InvalidParameterError,
    Llama,
    UnsupportedCapabilityError,
)

SHORT: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "deterministic": True}
ENDLESS: dict[str, Any] = {"prompt": "Once", "max_tokens": 1900, "temperature": 0, "ignore_eos": True}


def chat(text: str, **parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **parameters}


def texts(answers: list[dict[str, Any]]) -> list[str]:
    choices = [answer["choices"][0] for answer in answers]
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in choices]


def test_answers_are_those_of_single_calls_in_order(llm: Llama) -> None:
    rows = [{"prompt": f"{i}, {i + 1},"} for i in range(5)]
    rows[3] = chat("Hello!", max_tokens=2)
    answers = list(llm.map(rows, **SHORT))
    alone = [
        llm.create_chat_completion(**{**SHORT, **row})
        if "messages" in row
        else llm.create_completion(**{**SHORT, **row})
        for row in rows
    ]
    assert texts(answers) == texts(alone)
    assert answers[3]["usage"]["completion_tokens"] == 2  # a row's own parameters come first
    assert answers[4]["usage"]["completion_tokens"] == 3


def test_vectors_and_rankings(embedder: Llama) -> None:
    rows = [{"input": "A cat."}, {"query": "cat", "documents": ["dog", "cat"], "top_n": 1}]
    vectors, ranking = embedder.map(rows)
    assert vectors["data"][0]["embedding"] == pytest.approx(embedder.embed("A cat.").tolist(), abs=1e-5)
    assert [entry["index"] for entry in ranking] == [1]


@pytest.mark.parametrize("task", ["chat", "completion"])
def test_texts_with_a_task(llm: Llama, task: str) -> None:
    (answer,) = llm.map(["Hello"], task=task, **SHORT)
    kind = {"chat": "chat.completion", "completion": "text_completion"}[task]
    assert answer["object"] == kind


def test_texts_to_embed(embedder: Llama) -> None:
    assert [len(answer["data"]) for answer in embedder.map(["a", "b"], task="embedding")] == [1, 1]


def test_rows_share_the_batch(llm: Llama) -> None:
    """With a row at a time there would never be several in the engine."""
    most = 0
    for _ in llm.map([{"prompt": "Once upon", "max_tokens": 8, "ignore_eos": True}] * 6):
        most = max(most, llm.n_active)
    assert most > 1


def test_nothing_is_read_before_the_first_answer_is_taken(llm: Llama) -> None:
    def refuse() -> Iterator[Any]:
        raise AssertionError("read")
        yield

    answers = llm.map(refuse())
    answers.close()


def test_few_are_read_ahead_on_the_thread_that_takes(llm: Llama) -> None:
    read: list[int] = []

    def source() -> Iterator[Any]:
        for i in range(10_000):
            read.append(threading.get_ident())
            yield {"prompt": str(i), "max_tokens": 1}

    answers = llm.map(source())
    next(answers)
    assert len(read) <= 64
    for _ in range(80):
        next(answers)
    assert len(read) <= 64 + 80
    assert set(read) == {threading.get_ident()}
    answers.close()
    assert llm.n_active == 0


def test_answers_do_not_wait_for_a_slow_source(llm: Llama) -> None:
    read = answered = 0

    def handler(**_: Any) -> int:
        nonlocal answered
        answered += 1
        return answered

    def source() -> Iterator[Any]:
        nonlocal read
        for read in range(1, 61):
            if read == 20:  # until then the source was quick; now all before it get their answer
                while answered < 19:
                    time.sleep(0.01)
                time.sleep(1)
            yield chat("a")

    llm.chat_handler = handler
    answers = llm.map(source())
    try:
        next(answers)
        assert read <= 20
        assert len(list(answers)) == 59
    finally:
        answers.close()
        llm.chat_handler = None


BAD_ROWS = [
    (17, InvalidParameterError, "requests", "a dict"),
    ("text", InvalidParameterError, "requests", "task="),
    ({}, InvalidParameterError, None, "none of them"),
    ({"prompt": "a", "messages": []}, InvalidParameterError, "prompt", "several"),
    ({"query": "a"}, InvalidParameterError, "documents", "documents"),
    ({"query": "a", "documents": ["b"], "top": 1}, InvalidParameterError, "top", "unknown parameter"),
    ({"input": "a", "normalise": True}, InvalidParameterError, "normalise", "normalize"),
    ({"input": "a"}, UnsupportedCapabilityError, "embedding", "embeddings are off"),
    ({"prompt": "a", "max_token": 1}, InvalidParameterError, "max_token", "max_tokens"),
    ({"prompt": "a", "stream": True}, InvalidParameterError, "stream", "whole answers"),
    ({"prompt": "a", 1: 2}, InvalidParameterError, "1", "unknown"),
    ({"prompt": "a", "self": 2}, InvalidParameterError, "self", "unknown"),
    ({"messages": [{"role": "nobody", "content": "a"}]}, InvalidMessageError, "messages[0].role", "nobody"),
    ({"prompt": "word " * 3000}, ContextOverflowError, "prompt", "tokens"),
]


@pytest.mark.parametrize(("row", "kind", "field", "part"), BAD_ROWS)
def test_a_bad_row_is_an_error_of_its_own(
    llm: Llama, row: Any, kind: type[Exception], field: str | None, part: str
) -> None:
    good = {"prompt": "One, two,"}
    before, error, after = llm.map([good, row, good], on_error="return", max_tokens=1)
    assert "choices" in before
    assert "choices" in after
    assert type(error) is kind
    assert part in str(error)
    assert error.parameter == field


def test_a_bad_row_is_raised_in_its_turn_with_its_place(llm: Llama) -> None:
    answers = llm.map([{"prompt": "a"}, {"prompt": 1}, dict(ENDLESS)], max_tokens=1)
    next(answers)
    with pytest.raises(InvalidParameterError) as raised:
        next(answers)
    assert "request 1 " in raised.value.__notes__[0]
    assert llm.n_active == 0
    with pytest.raises(StopIteration):
        next(answers)


@pytest.mark.parametrize(
    ("task", "shared", "field"),
    [
        ("chat", {"max_token": 1}, "max_token"),
        ("completion", {"temperature": "hot"}, "temperature"),
        ("completion", {"stream": True}, "stream"),
        ("embedding", {"temperature": 0}, "temperature"),
        ("rerank", {"max_tokens": 1}, "max_tokens"),
        ("translate", {}, "task"),
    ],
)
def test_shared_parameters_are_checked_once_and_at_once(
    llm: Llama, task: str, shared: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParameterError) as raised:
        llm.map([], task=task, on_error="return", **shared)
    assert raised.value.parameter == field


def test_shared_parameters_are_checked_with_the_first_row(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="max_tokens"):
        next(llm.map([{"prompt": "a"}] * 3, on_error="return", max_token=1))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"key": 3}, "key"),
        ({"progress": "yes"}, "progress"),
        ({"requests": {"prompt": "a"}}, "requests"),
        ({"requests": "a"}, "requests"),
        ({"requests": 7}, "requests"),
    ],
)
def test_arguments_are_checked_at_once(llm: Llama, arguments: dict[str, Any], field: str) -> None:
    for method in (llm.map, llm.amap):
        with pytest.raises(InvalidParameterError) as raised:
            method(**{"requests": [], **arguments})
        assert raised.value.parameter == field


def test_a_source_that_fails_fails_after_what_came_before(llm: Llama) -> None:
    def source() -> Iterator[Any]:
        yield {"prompt": "a"}
        yield {"prompt": "b"}
        raise KeyError("no more")

    answers = llm.map(source(), max_tokens=1)
    taken = [next(answers), next(answers)]
    with pytest.raises(KeyError, match="no more"):
        next(answers)

    async def collect() -> None:
        async for _, answer in llm.amap(source(), max_tokens=1):
            taken.append(answer)

    with pytest.raises(KeyError, match="no more"):
        asyncio.run(collect())
    assert len(taken) == 4


def test_closing_and_dropping_frees_the_slots(llm: Llama) -> None:
    for end in ("close", "drop"):
        answers = llm.map([{"prompt": "a", "max_tokens": 1}, *[dict(ENDLESS)] * 20])
        next(answers)
        assert llm.n_active > 0
        if end == "close":
            answers.close()
        else:
            del answers
            gc.collect()
        assert llm.n_active == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "llamacpp-map"]


def test_works_where_an_event_loop_is_running(llm: Llama) -> None:
    async def in_a_notebook() -> int:
        return len(list(llm.map([{"prompt": "a"}] * 3, max_tokens=1)))

    assert asyncio.run(in_a_notebook()) == 3


async def test_as_they_are_ready(llm: Llama) -> None:
    rows = [{"prompt": "Once", "max_tokens": 30, "ignore_eos": True}, *[{"prompt": "a", "max_tokens": 1}] * 5]
    found = [(i, answer) async for i, answer in llm.amap(rows)]
    assert sorted(i for i, _ in found) == list(range(6))
    assert found[-1][0] == 0  # the long one comes last
    assert found[-1][1]["usage"]["completion_tokens"] == 30


async def test_asynchronous_source_and_errors(llm: Llama) -> None:
    async def source() -> AsyncIterator[Any]:
        for i in range(4):
            await asyncio.sleep(0.01)
            yield {"prompt": i if i == 2 else str(i)}

    found = dict([pair async for pair in llm.amap(source(), on_error="return", max_tokens=1)])
    assert isinstance(found.pop(2), InvalidParameterError)
    assert sorted(found) == [0, 1, 3]


async def test_answers_come_while_an_asynchronous_source_waits(llm: Llama) -> None:
    go_on = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        yield {"prompt": "a"}
        await go_on.wait()
        yield {"prompt": "b"}

    answers = llm.amap(source(), max_tokens=1)
    assert (await anext(answers))[0] == 0
    go_on.set()
    assert [i async for i, _ in answers] == [1]


async def test_few_are_read_ahead_by_coroutines(llm: Llama) -> None:
    read = 0

    def source() -> Iterator[Any]:
        nonlocal read
        while True:
            read += 1
            yield {"prompt": "a", "max_tokens": 1}

    answers = llm.amap(source())
    for _ in range(30):
        await anext(answers)
    await asyncio.sleep(0.2)
    assert read <= 30 + 64 + 1
    await answers.aclose()
    assert llm.n_active == 0


@pytest.mark.parametrize("end", ["raise", "cancel", "aclose"])
async def test_every_end_of_amap_frees_the_slots(llm: Llama, end: str) -> None:
    async def work() -> None:
        answers = llm.amap([{"prompt": "a", "max_tokens": 1}, *[dict(ENDLESS)] * 20])
        await anext(answers)
        if end == "aclose":
            await answers.aclose()
            return
        if end == "raise":
            bad = llm.amap([dict(ENDLESS), {"prompt": 7}])
            with pytest.raises(InvalidParameterError):
                await anext(bad)
            await answers.aclose()
            return
        await anext(answers)

    task = asyncio.ensure_future(work())
    if end == "cancel":
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    await asyncio.sleep(0.05)
    assert llm.n_active == 0


def test_a_closed_model_ends_the_list(smollm2_path: Any) -> None:
    llm = Llama(smollm2_path, n_ctx=512)
    answers = llm.map(
        [{"prompt": "a", "max_tokens": 1}, *[{**ENDLESS, "max_tokens": 400}] * 20], on_error="return"
    )
    next(answers)
    llm.close()
    with pytest.raises(EngineClosedError):
        list(answers)


def test_python_in_the_loop_and_schemas(llm: Llama) -> None:
    def only_a(ids: Any, logits: Any) -> Any:
        logits[:] = -1e9
        logits[llm.tokenize("a", add_bos=False)[0]] = 0
        return logits

    city = {"type": "json_object", "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    rows = [{"prompt": "b", "logits_processor": only_a}, chat("One?", response_format=city, max_tokens=30)]
    first, second = llm.map(rows, max_tokens=3, temperature=0)
    assert first["choices"][0]["text"] == "aaa"
    assert second["choices"][0]["message"]["content"].startswith("{")


def test_chat_handlers_answer_rows(llm: Llama) -> None:
    def handler(*, llama: Llama, messages: Any, **_: Any) -> dict[str, Any]:
        if messages[0]["content"] == "bad":
            raise RuntimeError("the handler failed")
        return {"said": messages[0]["content"]}

    llm.chat_handler = handler
    try:
        one, two = llm.map([chat("good"), chat("bad")], on_error="return")
    finally:
        llm.chat_handler = None
    assert one == {"said": "good"}
    assert isinstance(two, RuntimeError)


def test_progress_counts_rows(llm: Llama, capsys: pytest.CaptureFixture[str]) -> None:
    list(llm.map([{"prompt": "a", "max_tokens": 1}] * 3, progress=True))
    assert "3/3" in capsys.readouterr().err
