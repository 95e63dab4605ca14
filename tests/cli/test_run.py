"""The command ``llamacpp run``: forms of tables, OpenAI's batches, bad rows, interruptions."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.process import COMMAND, Run, assert_error

from llamacpp_core import Llama

EMBEDDING = ("--model", "all-minilm-l6-v2")
QUICK = ("--max-tokens", "1", "--n-ctx", "512")


def write(path: Path, rows: list[Any]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize(
    ("given", "made"), [("jsonl", "parquet"), ("parquet", "jsonl"), ("csv", "tsv"), ("tsv", "csv")]
)
def test_texts_of_a_column(given: str, made: str, run: Run, tmp_path: Path) -> None:
    rows = [{"id": "1", "note": "Tea is"}, {"id": "2", "note": 'Quotes " and,\ncommas'}]
    write(tmp_path / f"in.{given}", rows)
    done = run("run", f"in.{given}", f"out.{made}", "-c", "note", "--system", "Be short.", *QUICK, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["failed"]) == (2, 0)
    found = read(tmp_path / f"out.{made}")
    assert [{"id": row["id"], "note": row["note"]} for row in found] == rows
    assert [str(row["completion_tokens"]) for row in found] == ["1", "1"]
    assert all(row["generated_text"] and row["finish_reason"] == "length" for row in found)
    assert not any(row.get("error") for row in found)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in.{given}", f"out.{made}"])


def test_requests_of_all_kinds_with_their_own_parameters(run: Run, tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "label": [1, None]},
        {"prompt": "One, two,", "ignore_eos": True},
        {"query": "tea", "documents": ["milk", "tea"], "top_n": 1},
        {"input": "no vectors here"},
        {"prompt": "a", "max_tokens": "many"},
        {"label": "nothing"},
        "{broken",
        "[1]",
        {"prompt": "last"},
    ]
    write(tmp_path / "in.jsonl", rows)
    done = run("run", "in.jsonl", "out.jsonl", "--n-ctx", "512", "--params", '{"seed": 1}')
    assert done.returncode == 1  # top_n takes no seed: what is shared has to fit
    assert "seed" in done.stderr
    done = run("run", "in.jsonl", "out.jsonl", "--n-ctx", "512")
    assert done.returncode == 0, done.stderr
    assert "9 rows, 5 failed" in done.stderr
    chat, completion, ranking, *bad, last = read(tmp_path / "out.jsonl")
    assert (chat["completion_tokens"], chat["label"]) == (2, [1, None])
    assert completion["completion_tokens"] == 16
    assert [entry["index"] for entry in ranking["ranking"]] in ([0], [1])
    assert last["generated_text"]
    assert [row["error_field"] for row in bad] == ["embedding", "max_tokens", None, None, None]
    assert [row["error_type"] for row in bad[:2]] == ["UnsupportedCapabilityError", "InvalidParameterError"]
    assert "line 7 is not JSON" in bad[3]["error"]
    assert "line 8" in bad[4]["error"]


def test_requests_in_cells(run: Run, tmp_path: Path) -> None:
    messages = json.dumps([{"role": "user", "content": "Hi"}])
    rows = [
        {"messages": messages, "max_tokens": "1", "stop": "12", "city": "Rome"},
        {"messages": messages, "max_tokens": "", "stop": "", "city": "Oslo"},
        {"messages": "Hi", "max_tokens": "1", "stop": "", "city": ""},
    ]
    write(tmp_path / "in.csv", rows)
    with (tmp_path / "in.csv").open("a") as stream:
        stream.write("only one cell\n")
    done = run("run", "in.csv", "out.csv", *QUICK, "--full")
    assert done.returncode == 0, done.stderr
    good, default, text, short = read(tmp_path / "out.csv")
    assert json.loads(good["response"])["usage"]["completion_tokens"] == 1
    assert (good["error"], default["city"], default["completion_tokens"]) == ("", "Oslo", "1")
    assert (text["error_field"], text["generated_text"]) == ("messages", "")
    assert "row 4 has not as many fields" in short["error"]


def test_vectors_and_rankings_in_parquet(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "in.parquet", [{"input": "a cat", "n": 1}, {"input": "a dog", "n": None}])
    done = run("run", "in.parquet", "out.parquet", *EMBEDDING)
    assert done.returncode == 0, done.stderr
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert str(schema.field("embeddings").type).startswith("list<")
    assert str(schema.field("n").type) == "int64"
    assert [len(row["embeddings"]) for row in read(tmp_path / "out.parquet")] == [384, 384]
    write(tmp_path / "in.jsonl", [{"query": "cat", "documents": ["a dog", "a cat"]}])
    done = run("run", "in.jsonl", "ranks.parquet", *EMBEDDING)
    assert done.returncode == 0, done.stderr
    (row,) = read(tmp_path / "ranks.parquet")
    assert [entry["index"] for entry in json.loads(row["ranking"])] == [1, 0]


@pytest.mark.parametrize("given", ["jsonl", "parquet"])
def test_several_texts_in_a_row(run: Run, tmp_path: Path, given: str, embedder: Llama) -> None:
    rows: list[dict[str, Any]] = [
        {"input": ["a cat", "a dog"], "tags": ["x", None]},
        {"input": ["a cow"], "tags": []},
        {"input": [], "tags": None},
    ]
    if given == "jsonl":  # where a column may hold both
        rows.append({"input": "a cat", "tags": ["y"]})
    rows.append({"input": None, "tags": None})
    write(tmp_path / f"in.{given}", rows)
    done = run("run", f"in.{given}", "out.parquet", *EMBEDDING)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out.parquet")
    vectors = [row["embeddings"] for row in found]
    texts = [["a cat", "a dog"], ["a cow"], [], ["a cat"]][: len(rows) - 1]
    assert [len(one) for one in vectors[:-1]] == [len(one) for one in texts]
    assert vectors[-1] is None
    assert found[-1]["error_field"] == "input"
    for one, some in zip(vectors, texts, strict=False):
        if some:
            assert np.allclose(np.array(one), embedder.embed(some), atol=1e-2)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert str(schema.field("embeddings").type).count("list<") == 2


def test_lists_of_tokens_and_stops(run: Run, tmp_path: Path) -> None:
    rows = [{"prompt": [1, 2, 3], "stop": ["x"]}, {"prompt": [4, 5], "stop": ["y", "z"]}]
    for given in ("parquet", "jsonl"):
        write(tmp_path / f"in.{given}", rows)
        done = run("run", f"in.{given}", "out.parquet", "--overwrite", *QUICK)
        assert done.returncode == 0, done.stderr
        found = read(tmp_path / "out.parquet")
        assert [row["prompt_tokens"] for row in found] == [3, 2]
        kept = [row["prompt"] if given == "parquet" else json.loads(row["prompt"]) for row in found]
        assert kept == [row["prompt"] for row in rows]


def test_wide_integers_in_parquet(run: Run, tmp_path: Path) -> None:
    ids = [2**60 + 1, 5, None]
    mixed = [0.5, *ids[:2]]
    rows = [{"prompt": "a", "id": ids[i], "mixed": mixed[i], "huge": 2**70} for i in range(3)]
    write(tmp_path / "in.jsonl", rows)
    done = run("run", "in.jsonl", "out.parquet", *QUICK)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out.parquet")
    assert [row["id"] for row in found] == ids
    assert [json.loads(row["mixed"]) for row in found] == mixed
    assert [json.loads(row["huge"]) for row in found] == [2**70] * 3


def batch_row(custom_id: Any, url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "ours", **body}}


def test_openais_batch_file(run: Run, tmp_path: Path) -> None:
    hello = [{"role": "user", "content": "Hi"}]
    rows = [
        batch_row("a", "/v1/chat/completions", messages=hello, max_completion_tokens=2, user="u", store=True),
        batch_row("b", "/v1/completions", prompt="One,", max_tokens=1),
        batch_row("c", "/v1/chat/completions", messages=hello, temperature="hot"),
        batch_row("d", "/v1/images", prompt="a cat"),
        batch_row(5, "/v1/completions", prompt="One,"),
        batch_row("e", "/v1/chat/completions", prompt="One,"),
        batch_row("f", "/v1/chat/completions", messages=hello, max_tokens=1, max_completion_tokens=2),
        "no json",
    ]
    write(tmp_path / "in.jsonl", rows)
    done = run("run", "in.jsonl", "out.jsonl", "--n-ctx", "512")
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "out.jsonl")
    assert [row["custom_id"] for row in found] == ["a", "b", "c", "d", 5, "e", "f", None]
    assert [row["response"]["status_code"] for row in found] == [200, 200] + [400] * 6
    chat, completion, *bad = (row["response"]["body"] for row in found)
    assert (chat["object"], chat["model"]) == ("chat.completion", "ours")
    assert chat["usage"]["completion_tokens"] == 2
    assert completion["object"] == "text_completion"
    fields = ["temperature", "url", "custom_id", "body", "max_completion_tokens", None]
    assert [body["error"]["param"] for body in bad] == fields
    assert {body["error"]["type"] for body in bad} == {"invalid_request_error"}
    assert set(found[0]) == {"id", "custom_id", "response", "error"}


def test_batch_of_embeddings(run: Run, tmp_path: Path) -> None:
    rows = [
        batch_row("a", "/v1/embeddings", input=["x", "y"], encoding_format="float"),
        batch_row("b", "/v1/rerank", query="cat", documents=["a dog", "a cat"]),
        batch_row("c", "/v1/embeddings", input="x", encoding_format="base64"),
    ]
    write(tmp_path / "in.jsonl", rows)
    done = run("run", "in.jsonl", "out.jsonl", *EMBEDDING)
    assert done.returncode == 0, done.stderr
    vectors, ranks, bad = (row["response"]["body"] for row in read(tmp_path / "out.jsonl"))
    assert [len(entry["embedding"]) for entry in vectors["data"]] == [384, 384]
    assert ranks["results"][0]["index"] == 1
    assert bad["error"]["param"] == "encoding_format"


def test_pipes(run: Run) -> None:
    done = run("run", "-", "-", "--task", "completion", *QUICK, typed='{"text": "One,"}\n"Two,"\n')
    assert done.returncode == 0, done.stderr
    assert [len(json.loads(line)) for line in done.stdout.splitlines()] == [5, 5]


def test_a_schema_holds_in_every_row(run: Run, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    write(tmp_path / "in.jsonl", [{"text": "One?"}, {"text": "Two?"}])
    done = run("run", "in.jsonl", "out.jsonl", "--json-schema", "schema.json", "--n-ctx", "512")
    assert done.returncode == 0, done.stderr
    assert {json.loads(row["generated_text"])["n"] for row in read(tmp_path / "out.jsonl")} <= {1, 2}


def test_bytes_that_are_no_text_are_errors_of_their_row(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"good\n\xff\xfe\ngood\n")
    done = run("run", "in.txt", "out.jsonl", *QUICK)
    assert done.returncode == 0, done.stderr
    first, bad, last = (row.get("error") for row in read(tmp_path / "out.jsonl"))
    assert (first, last) == (None, None)
    assert "surrogate" in bad


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("nothing.jsonl", "out.jsonl"), 1, "no file nothing.jsonl"),
        (("in.jsonl", "out.xls"), 1, "out.xls"),
        (("in.jsonl", "there.jsonl"), 1, "--overwrite"),
        (("in.jsonl", "no/out.jsonl"), 2, "no such folder"),
        (("in.jsonl", "out.jsonl", "--task", "translate"), 2, "--task"),
        (("in.jsonl", "out.jsonl", "--task", "rerank", "-c", "text"), 1, "documents"),
        (("in.jsonl", "out.jsonl", "--params", "{"), 2, "--params"),
        (("in.jsonl", "out.jsonl", "--params", "[]"), 2, "object"),
        (("in.jsonl", "out.jsonl", "--params", '{"seed": 1}', "--seed", "1"), 2, "twice"),
        (("in.jsonl", "out.jsonl", "--json-schema", "in.jsonl"), 2, "not JSON"),
        (("in.jsonl", "-", "--json"), 2, "--json"),
        (("in.jsonl", "-", "--output-format", "parquet"), 2, "parquet"),
        (("taken.jsonl", "out.jsonl"), 1, "generated_text"),
        (("batch.jsonl", "out.csv"), 2, "JSON Lines"),
        (("batch.jsonl", "out.jsonl", "--full"), 1, "--full"),
        (("prompts.jsonl", "out.jsonl", "--system", "Hi"), 1, "--system"),
    ],
)
def test_what_cannot_work_is_refused_before_a_model_is_loaded(
    arguments: tuple[str, ...], status: int, part: str, run: Run, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}])
    write(tmp_path / "taken.jsonl", [{"text": "a", "generated_text": "b"}])
    write(tmp_path / "batch.jsonl", [batch_row("a", "/v1/completions", prompt="a")])
    write(tmp_path / "prompts.jsonl", [{"prompt": "a"}])
    (tmp_path / "there.jsonl").touch()
    assert_error(run("run", *arguments, "--model", "no-such-model"), status, part)


def test_goes_on_after_an_interruption(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [{"prompt": f"{i},"} for i in range(160)])
    command = [*COMMAND, "run", "in.jsonl", "out.jsonl", "--max-tokens", "1", "--n-ctx", "512"]
    for end in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        part, begun = tmp_path / "out.jsonl.part-wal", 0
        size = part.stat().st_size if part.exists() else 0
        deadline = time.monotonic() + 100
        while begun < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
            begun += part.exists() and part.stat().st_size > size
        process.send_signal(end)
        _, said = process.communicate(timeout=100)
        if end == signal.SIGINT:
            assert process.returncode == 130
            assert "interrupted after" in said
        assert not (tmp_path / "out.jsonl").exists()
    done = run(*command[len(COMMAND) :], "--json")
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "out.jsonl")
    assert [row["prompt"] for row in rows] == [f"{i}," for i in range(160)]
    assert all(row["completion_tokens"] == 1 for row in rows)
    left = {path.name for path in tmp_path.iterdir()} - {".out.jsonl.writing"}
    assert left == {"in.jsonl", "out.jsonl"}


def test_another_model_needs_a_new_beginning(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [{"prompt": "a"}])
    (tmp_path / "out.jsonl.part").write_text("This is no database. " * 50)
    done = run("run", "in.jsonl", "out.jsonl", *QUICK)
    assert_error(done, 1, "--restart")
    done = run("run", "in.jsonl", "out.jsonl", *QUICK, "--restart")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out.jsonl.part").exists()
