"""The command ``llamacpp embed``: formats, prefixes, overflow, going on after an interruption."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli.process import COMMAND, Run, assert_error

from llamacpp_core import Llama
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.cli.pieces import Pieces
from llamacpp_integrations.cli.tables import Table

TEXTS = ["A cat sleeps.", 'Quotes " and, commas', "Zeile\nzwei ü"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n", "utf-8")
    elif path.suffix == ".parquet":
        import pyarrow as pa

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> tuple[list[dict[str, Any]], np.ndarray[Any, Any]]:
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        vectors = [row.pop("embedding") for row in rows]
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        vectors = [row.pop("embedding") for row in rows]
    else:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))
        vectors = [json.loads(row.pop("embedding")) for row in rows]
    return rows, np.array(vectors, dtype=np.float32)


def cosines(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.einsum("ij,ij->i", a, b)


@pytest.mark.parametrize(
    ("given", "made"), [("jsonl", "parquet"), ("parquet", "csv"), ("csv", "tsv"), ("tsv", "jsonl")]
)
def test_formats(given: str, made: str, run: Run, tmp_path: Path, embedder: Llama) -> None:
    rows = [{"id": str(i), "text": text} for i, text in enumerate(TEXTS)]
    write(tmp_path / f"in.{given}", rows)
    done = run("embed", f"in.{given}", "-o", f"out.{made}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["dim"], summary["resumed_after"]) == (3, 384, 0)
    kept, vectors = read(tmp_path / f"out.{made}")
    assert kept == rows
    assert vectors.shape == (3, 384)
    assert cosines(vectors, embedder.embed(TEXTS)).min() > 0.999
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in.{given}", f"out.{made}"])


def test_pipe_strings_and_plain_text(run: Run, tmp_path: Path) -> None:
    typed = '"a cat"\n{"text": "a dog", "n": 1}\n'
    done = run("embed", "-", typed=typed)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(row.pop("embedding")) for row in rows] == [384, 384]
    assert rows == [{"text": "a cat"}, {"text": "a dog", "n": 1}]
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    out = run("embed", "in.txt", "--output-format", "csv").stdout.splitlines()
    assert out[0] == "text,embedding"
    assert len(out) == 3
    given = run("embed", "--text", "one", "--text", "two", "-c", "q", "--embedding-column", "v")
    assert [list(json.loads(line)) for line in given.stdout.splitlines()] == [["q", "v"]] * 2


def test_numbers_are_the_vectors_exactly(run: Run, tmp_path: Path) -> None:
    run("embed", "--text", "one", "-o", "a.jsonl")
    run("embed", "--text", "one", "-o", "a.parquet")
    assert np.array_equal(read(tmp_path / "a.jsonl")[1], read(tmp_path / "a.parquet")[1])


def test_prefix_overflow_and_length(run: Run, embedder: Llama) -> None:
    def vector(*arguments: str) -> np.ndarray[Any, Any]:
        done = run("embed", *arguments)
        assert done.returncode == 0, done.stderr
        return np.array(json.loads(done.stdout)["embedding"], dtype=np.float32)

    assert vector("--text", "cat", "--prefix", "query: ") @ embedder.embed("query: cat") > 0.999
    assert vector("--text", "cat", "--as", "query") @ embedder.embed("cat") > 0.999  # this model has none
    assert np.linalg.norm(vector("--text", "cat", "--no-normalize")) > 1.5
    words = "sea " * 700
    error = run("embed", "-", typed=json.dumps("short") + "\n" + json.dumps(words) + "\n")
    assert_error(error, 1, "row 2", "702 tokens", "--overflow")
    cut, chunked = (vector("--text", words + "cat", "--overflow", how) for how in ("truncate", "chunk"))
    assert cut @ embedder.embed(words + "cat", overflow="truncate") > 0.999
    assert chunked @ embedder.embed(words + "cat", overflow="chunk") > 0.999
    assert_error(run("embed", "--text", "a", "--as", "query", "--prefix", "b"), 2, "--prefix")


@pytest.mark.parametrize(
    ("content", "name", "parts"),
    [
        ('{"txt": "a"}\n', "in.jsonl", ("row 1", "'txt'", "--column")),
        ('{"text": 3}\n', "in.jsonl", ("row 1", "int")),
        ("{nonsense\n", "in.jsonl", ("line 1", "JSON")),
        ("[1]\n", "in.jsonl", ("line 1", "object")),
        ("text,b\nx\n", "in.csv", ("row 1", "header")),
        ("nonsense", "in.parquet", ("in.parquet",)),
        ("a", "in.docx", ("in.docx", "jsonl")),
        ('{"text": "a", "embedding": 1}\n', "in.jsonl", ("--embedding-column",)),
    ],
)
def test_bad_input_is_told_with_its_place(
    content: str, name: str, parts: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    assert_error(run("embed", name), 1, *parts)


def test_files_are_not_overwritten_or_missed(run: Run, tmp_path: Path) -> None:
    assert_error(run("embed", "none.jsonl"), 1, "none.jsonl")
    (tmp_path / "out.jsonl").write_text("precious")
    assert_error(run("embed", "--text", "a", "-o", "out.jsonl"), 1, "--overwrite")
    assert (tmp_path / "out.jsonl").read_text() == "precious"
    assert run("embed", "--text", "a", "-o", "out.jsonl", "--overwrite").returncode == 0
    assert_error(run("embed", "--text", "a", "-o", "no/out.jsonl"), 2, "no/out.jsonl")
    assert_error(run("embed", "--text", "a", "-o", "-", "--output-format", "parquet"), 2, "file")
    without = run("embed", "--text", "a", "-o", "x.parquet", blocked=("pyarrow", "pyarrow.parquet"))
    assert_error(without, 1, "llamacpp-integrations[data]")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_interrupted_work_goes_on(how: signal.Signals, run: Run, tmp_path: Path, embedder: Llama) -> None:
    texts = [f"Sentence {i} about the sea." for i in range(1600)]
    write(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    arguments = ("embed", "in.jsonl", "-o", "out.parquet")
    pieces = tmp_path / "out.parquet.pieces"
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        deadline = time.monotonic() + 60
        while not list(pieces.glob("*.npy")) and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(how)
        out, err = first.communicate()
    assert first.returncode == (130 if how == signal.SIGINT else -how)
    assert out == ""
    if how == signal.SIGINT:
        assert "the same command goes on" in err
    assert not (tmp_path / "out.parquet").exists()
    other = run(*arguments, "--prefix", "x")
    assert_error(other, 1, "prefix", "--restart")
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert 512 <= summary["resumed_after"] < summary["rows"] == 1600
    rows, vectors = read(tmp_path / "out.parquet")
    assert [row["text"] for row in rows] == texts
    sample = [0, 511, 512, 1024, 1599]
    assert cosines(vectors[sample], embedder.embed([texts[i] for i in sample])).min() > 0.999
    assert not pieces.exists()


def test_pieces_are_whole_and_belong_to_one_input(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    pieces = Pieces(output, {"input": "a"})
    pieces.add(0, np.ones((2, 3), dtype=np.float32))
    pieces.add(2, np.zeros((1, 3), dtype=np.float32))
    (pieces.folder / "0000000003.npy.writing").write_bytes(b"half")
    again = Pieces(output, {"input": "a"})
    assert again.count() == 3
    assert [float(vector[0]) for vector in again.vectors()] == [1, 1, 0]
    with pytest.raises(InvalidParameterError, match="another input"):
        Pieces(output, {"input": "b"})
    assert Pieces(output, {"input": "b"}, restart=True).count() == 0
    Pieces(output, {"input": "b"}).remove()
    assert list(tmp_path.iterdir()) == []


def test_tables_count_their_rows(tmp_path: Path) -> None:
    rows = [{"text": text} for text in TEXTS]
    for suffix in ("jsonl", "csv", "tsv", "parquet"):
        path = write(tmp_path / f"in.{suffix}", rows)
        table = Table(str(path), suffix, "text")
        assert (table.count(), list(table.texts())) == (3, TEXTS)
