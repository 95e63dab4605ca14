"""``llamacpp embed``: the embeddings of the texts in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_core.errors import ContextOverflowError, InvalidParameterError
from llamacpp_integrations.cli.pieces import Pieces
from llamacpp_integrations.cli.shared import (
    EMBEDDING_MODEL,
    GpuLayers,
    Json,
    ModelOption,
    Threads,
    one_of,
    print_json,
    writable,
)
from llamacpp_integrations.cli.tables import READABLE, WRITABLE, Table, column_taken, format_of, write_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core import Llama
    from llamacpp_core.models import ResolvedModel

__all__ = ["register"]

_PIECE = 512
_OVERFLOW = ("error", "truncate", "chunk")
_KINDS = ("query", "document")
_HELP = """Compute the embeddings of the texts in a file.

Reads JSON Lines (objects, or plain strings), CSV, TSV, parquet or plain text (a text per line), and writes
every row with its embedding in one more column. Vectors are kept in OUTPUT.pieces until all are there: after
an interruption the same command goes on where it stopped. Parquet needs the extra 'data'."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("embed", help=_HELP)(embed_command)


def embed_command(
    input: Annotated[
        str | None, typer.Argument(help="The file with the texts; - reads stdin.", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write; - for stdout.")] = "-",
    model: ModelOption = EMBEDDING_MODEL,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Embed this text instead of a file; can be repeated.")
    ] = None,
    column: Annotated[str, typer.Option("--column", "-c", help="The column that holds the text.")] = "text",
    embedding_column: Annotated[str, typer.Option(help="The column for the embedding.")] = "embedding",
    input_format: Annotated[
        str | None, typer.Option(help=", ".join(READABLE) + ".", show_default="by the file's name")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help=", ".join(WRITABLE) + ".", show_default="by the file's name")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", help="query or document: put the model's own prefix for it in front of each text."
        ),
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Put this in front of each text.")] = None,
    overflow: Annotated[
        str, typer.Option(help="A text that is too long: error, truncate, or chunk and average.")
    ] = "error",
    max_tokens: Annotated[int | None, typer.Option(help="A limit below the model's own, in tokens.")] = None,
    normalize: Annotated[bool, typer.Option(help="Scale the vectors to length 1.")] = True,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
    progress: Annotated[
        bool | None, typer.Option(help="Show progress on stderr.", show_default="on a terminal")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away interrupted work.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Compute embeddings."""
    table = _table(input, text, input_format, column)
    form = format_of(output, output_format, WRITABLE, "--output-format")
    if form == "parquet" and output == "-":
        raise typer.BadParameter("parquet needs a file", param_hint="--output")
    if as_json and output == "-":
        raise typer.BadParameter("needs --output FILE: the embeddings are on stdout", param_hint="--json")
    if output != "-" and writable(Path(output), "--output").exists() and not overwrite:
        raise InvalidParameterError(f"{output} is there already: --overwrite replaces it", parameter="output")
    one_of("--overflow", overflow, _OVERFLOW)
    _check(table, embedding_column)
    options = {"overflow": overflow, "max_tokens": max_tokens, "normalize": normalize}
    from llamacpp_core import Llama
    from llamacpp_core.models import resolve_model

    resolved = resolve_model(model, progress=progress)
    front = _prefix(kind, prefix, resolved)
    start = time.monotonic()
    with Llama(model, embedding=True, n_gpu_layers=n_gpu_layers, n_threads=threads, progress=progress) as llm:
        work = _Work(llm, table, front, options, progress)
        if output == "-":
            write_rows(None, form, zip(table.rows(), work.vectors(0), strict=True), embedding_column)
            return
        settings = {
            "input": table.fingerprint(),
            "model": _identity(resolved),
            "column": column,
            "prefix": front,
        }
        summary = work.into(Path(output), form, embedding_column, settings | options, restart)
    summary |= {"output": output, "seconds": round(time.monotonic() - start, 2)}
    if as_json:
        print_json(summary)
    else:
        print("{rows} rows, {dim} dimensions, in {seconds} s: {output}".format(**summary), file=sys.stderr)


def _table(path: str | None, texts: list[str] | None, form: str | None, column: str) -> Table:
    if (path is None) == (not texts):
        raise typer.BadParameter("give a file (- for stdin) or --text", param_hint="INPUT")
    if texts:
        return _Texts(texts, column)
    assert path is not None
    if path != "-" and not Path(path).is_file():
        raise InvalidParameterError(f"there is no file {path}", parameter="input")
    return Table(path, format_of(path, form, READABLE, "--input-format"), column)


def _check(table: Table, embedding_column: str) -> None:
    """Finds out before a model is loaded whether the table can be used; its later rows may still fail."""
    for row in islice(table.rows(), 1):
        table.text_of(row, 1)
        if embedding_column in row:
            raise column_taken(embedding_column)


class _Texts(Table):
    """The texts of the command line."""

    def __init__(self, texts: list[str], column: str) -> None:
        self._texts = texts
        self.path, self.form, self.column = "--text", "txt", column

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from ({self.column: text} for text in self._texts)

    def fingerprint(self) -> str:
        import hashlib

        return hashlib.sha256("\0".join(self._texts).encode("utf-8", "replace")).hexdigest()


def _prefix(kind: str | None, prefix: str | None, resolved: ResolvedModel) -> str:
    if kind is None:
        return prefix or ""
    if prefix is not None:
        raise typer.BadParameter("give --as or --prefix, not both", param_hint="--prefix")
    return resolved.query_prefix if one_of("--as", kind, _KINDS) == "query" else resolved.document_prefix


def _identity(resolved: ResolvedModel) -> str:
    """What tells a model's file from another, without reading all of it."""
    return f"{resolved.path.name}, {resolved.header.file_size} bytes"


class _Work:
    """The texts of a table on their way through a model."""

    def __init__(
        self, llm: Llama, table: Table, prefix: str, options: dict[str, Any], progress: bool | None
    ) -> None:
        self._llm = llm
        self._table = table
        self._prefix = prefix
        self._options = options
        self._progress = sys.stderr.isatty() if progress is None else progress

    def into(
        self, output: Path, form: str, column: str, settings: dict[str, Any], restart: bool
    ) -> dict[str, Any]:
        """Writes the output, by way of pieces; says what was done."""
        pieces = Pieces(output, settings, restart=restart)
        done = pieces.count()
        if done:
            print(f"going on after {done} rows that were done before", file=sys.stderr)
        at = done
        try:
            for vectors in self._batches(done):
                pieces.add(at, vectors)
                at += len(vectors)
        except KeyboardInterrupt:
            print(f"interrupted after {at} rows; the same command goes on from there", file=sys.stderr)
            raise
        write_rows(output, form, zip(self._table.rows(), pieces.vectors(), strict=True), column)
        pieces.remove()
        return {"rows": at, "resumed_after": done, "dim": self._llm.info.n_embd}

    def vectors(self, skip: int) -> Iterator[NDArray[np.float32]]:
        """The vectors one by one."""
        for batch in self._batches(skip):
            yield from batch

    def _batches(self, skip: int) -> Iterator[NDArray[np.float32]]:
        texts = islice(self._table.texts(), skip, None)
        with self._bar(skip) as bar:
            at = skip
            while batch := [self._prefix + text for text in islice(texts, _PIECE)]:
                try:
                    yield self._llm.embed(batch, **self._options)
                except ContextOverflowError as error:
                    raise self._too_long(error, at) from None
                at += len(batch)
                bar.update(len(batch))

    def _bar(self, done: int) -> Any:
        from tqdm.auto import tqdm

        off = not self._progress
        total = None if off else self._table.count()
        return tqdm(total=total, initial=done, desc="embedding", unit="text", file=sys.stderr, disable=off)

    def _too_long(self, error: ContextOverflowError, at: int) -> InvalidParameterError:
        index = int((error.parameter or "[0]").partition("[")[2].rstrip("]"))
        return InvalidParameterError(
            f"{self._table.name}: row {at + index + 1} has {error.n_prompt_tokens} tokens, the model takes "
            f"{error.n_ctx}: shorten it, or use --overflow truncate or --overflow chunk",
            parameter="overflow",
        )
