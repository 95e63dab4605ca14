"""Tables of texts: JSON Lines, CSV, TSV, parquet and plain text, read and written row by row."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llamacpp_core._checks import require
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "READABLE",
    "ROWS_AT_ONCE",
    "WRITABLE",
    "Row",
    "Table",
    "cell",
    "column_taken",
    "delimiter_of",
    "format_of",
    "replacing",
    "write_rows",
]

Row = dict[str, Any]

READABLE = ("jsonl", "csv", "tsv", "parquet", "txt")
WRITABLE = ("jsonl", "csv", "tsv", "parquet")
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "txt",
}
#: Rows of parquet that are held at a time.
ROWS_AT_ONCE = 1024


def format_of(path: str, given: str | None, allowed: Sequence[str], option: str) -> str:
    """The format of a file: what was given, else what its name says, else JSON Lines for a pipe.

    Raises:
        InvalidParameterError: It is unknown, or cannot be used here.
    """
    found = given or ("jsonl" if path == "-" else _SUFFIXES.get(Path(path).suffix.lower()))
    if found is None or found not in allowed:
        what = f"the format {found}" if found else f"the name {Path(path).name!r}"
        raise InvalidParameterError(
            f"{option}: {what} cannot be used here; one of {', '.join(allowed)} can (file name, or {option})",
            parameter=option,
        )
    return found


class Table:
    """A table that is read from its beginning as often as needed.

    Args:
        path: Its file; ``-`` reads stdin, once, into memory.
        form: Its format, one of :data:`READABLE`.
        column: The column that holds the text.
    """

    def __init__(self, path: str, form: str, column: str) -> None:
        self.path = path
        self.form = form
        self.column = column
        self._data = sys.stdin.buffer.read() if path == "-" else None
        if form == "parquet":
            require("pyarrow.parquet", "reading and writing parquet", extra="data")

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "stdin" if self.path == "-" else self.path

    def fingerprint(self) -> str:
        """The SHA-256 of its bytes."""
        import hashlib

        with self._open() as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def rows(self) -> Iterator[Row]:
        """Its rows; rows of plain text are ``{column: line}``.

        Raises:
            InvalidParameterError: It cannot be read as what it is said to be.
        """
        with self._open() as stream:
            if self.form == "parquet":
                yield from self._parquet(stream)
                return
            newline = "" if self.form in ("csv", "tsv") else None
            text = io.TextIOWrapper(stream, "utf-8-sig", self._on_bad_bytes, newline)
            try:
                yield from {"jsonl": self._jsonl, "txt": self._lines}.get(self.form, self._csv)(text)
            except UnicodeDecodeError:
                raise self._bad("it is not UTF-8 text") from None

    def texts(self) -> Iterator[str]:
        """The text of each row.

        Raises:
            InvalidParameterError: A row has none.
        """
        for number, row in enumerate(self.rows(), 1):
            yield self.text_of(row, number)

    def text_of(self, row: Row, number: int) -> str:
        """The text of a row, whose number is for messages, from 1."""
        if self.column not in row:
            raise self._bad(
                f"row {number} has no column {self.column!r}; it has {', '.join(map(repr, row))}: choose one "
                "with --column"
            )
        text = row[self.column]
        if not isinstance(text, str):
            raise self._bad(f"row {number}: {self.column!r} is {type(text).__name__}, not text")
        return text

    def count(self) -> int:
        """How many rows it has."""
        if self.form == "parquet":
            with self._open() as stream:
                return int(
                    require("pyarrow.parquet", "parquet", extra="data").ParquetFile(stream).metadata.num_rows
                )
        return sum(1 for _ in self.rows())

    def parquet_types(self) -> dict[str, Any]:
        """The types of a parquet file's columns."""
        with self._open() as stream:
            schema = require("pyarrow.parquet", "parquet", extra="data").read_schema(stream)
            return dict(zip(schema.names, schema.types, strict=True))

    def _open(self) -> Any:
        return Path(self.path).open("rb") if self._data is None else io.BytesIO(self._data)

    def _bad(self, what: str) -> InvalidParameterError:
        return InvalidParameterError(f"{self.name}: {what}", parameter="input")

    #: What is done about bytes that are no UTF-8; a name of Python's codecs.
    _on_bad_bytes = "strict"

    def _bad_row(self, what: str) -> Row:
        """What stands in a bad row's place; here the table ends with its error."""
        raise self._bad(what)

    def _lines(self, text: TextIO) -> Iterator[Row]:
        for line in text:
            yield {self.column: line.rstrip("\n")}

    def _jsonl(self, text: TextIO) -> Iterator[Row]:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                value = self._bad_row(f"line {number} is not JSON: {error}")
            if isinstance(value, str):
                value = {self.column: value}
            if not isinstance(value, dict):
                value = self._bad_row(f"line {number} is neither a JSON object nor a string")
            yield value

    def _csv(self, text: TextIO) -> Iterator[Row]:
        csv.field_size_limit(2**31 - 1)
        reader = csv.DictReader(text, delimiter=delimiter_of(self.form), strict=True)
        try:
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    yield self._bad_row(f"row {number} has not as many fields as the header")
                else:
                    yield dict(row)
        except csv.Error as error:
            raise self._bad(f"line {reader.line_num}: {error}") from None

    def _parquet(self, stream: Any) -> Iterator[Row]:
        parquet = require("pyarrow.parquet", "parquet", extra="data")
        arrow = require("pyarrow", "parquet", extra="data")
        try:
            for batch in parquet.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE):
                yield from batch.to_pylist()
        except arrow.ArrowInvalid as error:
            raise self._bad(str(error)) from None


def delimiter_of(form: str) -> str:
    """What separates the cells of a form of CSV."""
    return "\t" if form == "tsv" else ","


Rows = Iterable[tuple[Row, "NDArray[np.float32]"]]


def write_rows(path: Path | None, form: str, rows: Rows, column: str) -> None:
    """Writes rows with their embeddings in another column.

    JSON Lines hold a list of numbers, CSV the same list as JSON text, parquet a list of float32. A file is
    there as a whole or not at all.

    Args:
        path: The file; None for stdout.
        form: One of :data:`WRITABLE`.
        rows: Rows and vectors.
        column: Name of the column for the vectors.

    Raises:
        InvalidParameterError: A row has such a column already, or the rows do not make a table.
    """
    with replacing(path) as target:
        writer: Callable[..., None] = {"jsonl": _write_jsonl, "parquet": _write_parquet}.get(form, _write_csv)
        writer(target, _unused(rows, column), column, delimiter_of(form))


@contextmanager
def replacing(path: Path | None) -> Iterator[Any]:
    """A binary stream that takes the place of a file as a whole, at the end; with None it is stdout."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def column_taken(column: str) -> InvalidParameterError:
    """The error for an input that has the output's column already."""
    return InvalidParameterError(
        f"the input has a column {column!r} already: choose another name with --embedding-column",
        parameter="embedding_column",
    )


def _unused(rows: Rows, column: str) -> Rows:
    for row, vector in rows:
        if column in row:
            raise column_taken(column)
        yield row, vector


def _numbers(vector: NDArray[np.float32]) -> str:
    """A JSON list; nine digits give each float32 back exactly."""
    return "[" + ", ".join(map("{:.9g}".format, vector.tolist())) + "]"


def _write_jsonl(target: Any, rows: Rows, column: str, _: str) -> None:
    for row, vector in rows:
        head = json.dumps(row, ensure_ascii=False, default=str)[:-1]
        comma = ", " if row else ""
        line = f"{head}{comma}{json.dumps(column)}: {_numbers(vector)}}}\n"
        target.write(line.encode("utf-8", "replace"))


def _write_csv(target: Any, rows: Rows, column: str, delimiter: str) -> None:
    text = io.TextIOWrapper(target, "utf-8", newline="", write_through=True, errors="replace")
    writer, names = csv.writer(text, delimiter=delimiter, lineterminator="\n"), None
    try:
        for row, vector in rows:
            if names is None:
                names = list(row)
                writer.writerow([*names, column])
            if list(row) != names and set(row) != set(names):
                raise InvalidParameterError(
                    f"rows with different columns make no CSV table ({', '.join(names)} and "
                    f"{', '.join(row)}): write JSON Lines",
                    parameter="output",
                )
            writer.writerow([*(cell(row[name]) for name in names), _numbers(vector)])
    finally:
        text.detach()


def cell(value: Any) -> Any:
    """A value as CSV holds it: what is neither text nor a number, as JSON text."""
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _write_parquet(target: Any, rows: Rows, column: str, _: str) -> None:
    import numpy as np

    arrow: Any = require("pyarrow", "writing parquet", extra="data")
    parquet: Any = require("pyarrow.parquet", "writing parquet", extra="data")
    writer, schema = None, None
    try:
        for batch in _batches(rows):
            vectors = np.stack([vector for _, vector in batch])
            flat = arrow.array(vectors.reshape(-1), type=arrow.float32())
            try:
                table = arrow.Table.from_pylist([row for row, _ in batch], schema=schema)
            except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
                raise InvalidParameterError(
                    f"the rows make no parquet table: {error}", parameter="output"
                ) from None
            schema = table.schema
            table = table.append_column(column, arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
            writer = writer or parquet.ParquetWriter(target, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise InvalidParameterError("the input has no rows: there is no table to write", parameter="input")


def _batches(rows: Rows) -> Iterator[list[tuple[Row, NDArray[np.float32]]]]:
    batch: list[tuple[Row, NDArray[np.float32]]] = []
    for item in rows:
        batch.append(item)
        if len(batch) == ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
