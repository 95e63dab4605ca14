"""``resume=``: what was answered is not computed again, whatever ended the work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, LlamaGrammar
from llamacpp_core.llama.lists.answered import Answered

ROWS = [{"prompt": f"{i}, ", "seed": i} for i in range(6)]


def count(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (found,) = db.execute("select count(*) from answers").fetchone()
    db.close()
    return int(found)


def ids(answers: list[dict[str, Any]]) -> list[str]:
    return [answer["id"] for answer in answers]


def test_nothing_is_computed_twice(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "answers"
    first = list(llm.map(ROWS, max_tokens=1, resume=file))
    assert list(llm.map(ROWS, max_tokens=1, resume=file)) == first  # ids and times included

    async def again() -> list[Any]:
        found = [pair async for pair in llm.amap(ROWS, max_tokens=1, resume=file)]
        return [answer for _, answer in sorted(found)]

    assert asyncio.run(again()) == first


def test_the_rest_is_computed(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "answers"
    answers = llm.map(ROWS, max_tokens=1, resume=file)
    begun = [next(answers), next(answers)]
    answers.close()
    done = list(llm.map(ROWS, max_tokens=1, resume=file))
    assert done[:2] == begun
    assert count(file) == len(ROWS)


def test_a_changed_request_is_computed_anew(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "answers"
    first = list(llm.map(ROWS, max_tokens=1, resume=file))
    changed = [*ROWS[:2], {"prompt": "other", "seed": 2}, *ROWS[3:]]
    second = list(llm.map(changed, max_tokens=1, resume=file))
    same = [a == b for a, b in zip(ids(first), ids(second), strict=True)]
    assert same == [True, True, False, True, True, True]
    third = list(llm.map(changed, max_tokens=2, resume=file))
    assert not set(ids(second)) & set(ids(third))


@pytest.mark.parametrize("key", ["name", lambda row: row["seed"]])
def test_a_key_finds_rows_that_moved(llm: Llama, tmp_path: Path, key: Any) -> None:
    file = tmp_path / "answers"
    rows = [{**row, "name": f"n{i}"} for i, row in enumerate(ROWS)]
    if callable(key):
        rows = ROWS
    first = list(llm.map(rows, max_tokens=1, resume=file, key=key))
    turned = list(llm.map(rows[::-1], max_tokens=1, resume=file, key=key))
    assert ids(turned) == ids(first)[::-1]


def test_a_row_without_the_key_is_a_bad_row(llm: Llama) -> None:
    good, bad = llm.map([{"prompt": "a", "n": 1}, {"prompt": "b"}], key="n", on_error="return", max_tokens=1)
    assert "choices" in good
    assert (type(bad), bad.parameter) == (InvalidParameterError, "key")


def test_errors_are_asked_again(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "answers"
    rows = [{"prompt": "a"}, {"prompt": 5}]
    for _ in range(2):
        _, error = llm.map(rows, max_tokens=1, on_error="return", resume=file)
        assert isinstance(error, InvalidParameterError)
    assert count(file) == 1


def test_grammars_are_compared_by_their_text_and_functions_refused(llm: Llama, tmp_path: Path) -> None:
    file = tmp_path / "answers"

    def ask(text: str) -> dict[str, Any]:
        grammar = LlamaGrammar.from_string(f'root ::= "{text}"')
        (answer,) = llm.map([{"prompt": "a", "grammar": grammar}], max_tokens=1, resume=file)
        return answer  # type: ignore[no-any-return]

    assert ask("x") == ask("x") != ask("y")
    (error,) = llm.map(
        [{"prompt": "a", "logits_processor": lambda ids, logits: logits}], resume=file, on_error="return"
    )
    assert (type(error), error.parameter) == (InvalidParameterError, "resume")


def test_files_that_cannot_be_used(llm: Llama, embedder: Llama, tmp_path: Path) -> None:
    def refused(model: Llama, file: Path) -> str:
        with pytest.raises(InvalidParameterError) as raised:
            list(model.map(["a"], task="completion", resume=file))
        assert raised.value.parameter == "resume"
        return str(raised.value)

    text = tmp_path / "text"
    text.write_text("This is no database, and it stays as it is. " * 50)
    assert "not a database" in refused(llm, text)
    assert text.read_text().startswith("This is no database")

    others = tmp_path / "others"
    db = sqlite3.connect(others)
    db.execute("create table bread (butter)")
    db.close()
    assert "another program's" in refused(llm, others)

    assert "unable to open" in refused(llm, tmp_path / "no" / "folder")

    file = tmp_path / "answers"
    answers = llm.map(["a", "b"], task="completion", max_tokens=1, resume=file)
    next(answers)
    assert "at work" in refused(llm, file)
    answers.close()
    assert llm.info.name in refused(embedder, file)


KILLED = """
import sys
from llamacpp_core import Llama
with Llama(sys.argv[1], n_ctx=512, n_threads=1) as llm:
    rows = ({"prompt": f"{i}, ", "max_tokens": 1} for i in range(100_000))
    for answer in llm.map(rows, resume=sys.argv[2]):
        print(answer["id"], flush=True)
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_given_out(smollm2_path: Path, tmp_path: Path) -> None:
    file, given = tmp_path / "answers", []
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(smollm2_path), str(file)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        found = [process.stdout.readline().strip() for _ in range(len(given) + 15)]
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        found += process.stdout.read().split()
        process.stdout.close()
        process.wait()
        assert found[: len(given)] == given  # read from the file, not computed
        given = found
    with contextlib.closing(Answered(file, _model_of(file))) as answered:
        assert len(answered) >= len(given)
        rows = answered._db.execute("select answer from answers").fetchall()
    assert {json.loads(row)["id"] for (row,) in rows} >= set(given)


def _model_of(file: Path) -> str:
    db = sqlite3.connect(file)
    (model,) = db.execute("select model from about").fetchone()
    db.close()
    return str(model)
