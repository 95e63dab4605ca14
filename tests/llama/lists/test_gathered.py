"""Texts of many rows are embedded in one request of the engine; but for the time, nobody sees it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from llamacpp_core import ContextOverflowError, EngineError, InvalidParameterError, Llama
from llamacpp_core.engine.engine import Engine
from llamacpp_core.llama.lists.gathered import Gathered

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "looked", "at", "red", "birds"]
ROWS = [" ".join(random.Random(i).choices(WORDS, k=1 + i % 7)) for i in range(300)]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each request of the engine has."""
    found: list[int] = []
    submit = Engine.submit

    def counted(self: Engine, plan: Any, kind: int, params: dict[str, Any]) -> Any:
        found.append(plan.n_prompts)
        return submit(self, plan, kind, params)

    monkeypatch.setattr(Engine, "submit", counted)
    return found


def vectors(answers: Any) -> list[list[float]]:
    return [answer["data"][0]["embedding"] for answer in answers]


async def test_texts_that_come_together_are_one_request(embedder: Llama, sizes: list[int]) -> None:
    gathered = Gathered(embedder)
    found = vectors(await asyncio.gather(*(gathered.answer({"input": text}) for text in ROWS)))
    assert sizes == [len(ROWS)]
    for vector, alone in zip(found, embedder.embed(ROWS), strict=True):
        assert vector == pytest.approx(alone.tolist(), abs=1e-3)  # in another company


def test_vectors_are_in_order(embedder: Llama, sizes: list[int]) -> None:
    found = vectors(embedder.map(ROWS, task="embedding"))
    assert sum(sizes) == len(ROWS)
    assert len(sizes) < len(ROWS)
    for vector, alone in zip(found, embedder.embed(ROWS), strict=True):
        assert vector == pytest.approx(alone.tolist(), abs=1e-3)  # in another company


def test_rows_keep_their_own_parameters(embedder: Llama) -> None:
    some = [{"input": text} for text in ROWS[:20]]
    plain = {"input": "A cat.", "normalize": False, "model": "mine"}
    cut = {"input": "a cat " * 60, "overflow": "truncate", "max_tokens": 8}
    answers = list(embedder.map([*some, plain, *some, cut, {"input": ["a", "b"]}]))
    assert answers[20]["model"] == "mine"
    assert vectors(answers)[20] == pytest.approx(embedder.embed("A cat.", normalize=False).tolist(), abs=1e-4)
    assert answers[41]["usage"]["prompt_tokens"] == 8
    assert len(answers[42]["data"]) == 2
    assert answers[0]["usage"] == embedder.create_embedding(ROWS[0])["usage"]


def test_an_error_is_that_of_its_row(embedder: Llama) -> None:
    rows: list[Any] = [{"input": text} for text in ROWS[:40]]
    rows[7] = {"input": "a cat " * 300}
    rows[21] = {"input": "\ud800"}
    rows[33] = {"input": "a", "overflow": "cut"}
    answers = list(embedder.map(rows, on_error="return"))
    failed = {i: type(answer) for i, answer in enumerate(answers) if isinstance(answer, Exception)}
    assert failed == {7: ContextOverflowError, 21: InvalidParameterError, 33: InvalidParameterError}
    assert "input[0]" in str(answers[7])
    with pytest.raises(ContextOverflowError) as raised:
        list(embedder.map(rows))
    assert raised.value.__notes__ == ["in request 7 of the list (key 7)"]


def test_where_a_request_fails_its_rows_are_tried_alone(
    embedder: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Engine.submit

    def failing(self: Engine, plan: Any, kind: int, params: dict[str, Any]) -> Any:
        if plan.n_prompts > 1:
            raise EngineError("one of them")
        return submit(self, plan, kind, params)

    monkeypatch.setattr(Engine, "submit", failing)
    assert len(vectors(embedder.map(ROWS[:50], task="embedding"))) == 50


async def test_nothing_runs_on_after_the_end(embedder: Llama) -> None:
    answers = embedder.amap((text * 20 for text in ROWS), task="embedding", overflow="truncate")
    async for _ in answers:
        break
    await answers.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert embedder.n_active == 0


def test_closing_the_iterator_ends_the_work(embedder: Llama) -> None:
    answers = embedder.map((text * 20 for text in ROWS), task="embedding", overflow="truncate")
    next(answers)
    answers.close()
    assert embedder.n_active == 0
