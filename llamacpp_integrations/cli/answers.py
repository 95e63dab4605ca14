"""Rows with their answers, written as they come: JSON Lines, CSV, TSV and parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from llamacpp_core._checks import require
from llamacpp_integrations._rows import arrow_type, plain
from llamacpp_integrations.cli.tables import ROWS_AT_ONCE, Row, Table, cell, delimiter_of

__all__ = ["columns_with", "holds_lists", "write_answers"]


class _Wide:
    """Stands for an integer that is no float, and no more than 64 bits wide."""


#: What columns hold by the types of their values in Python.
_KINDS = {
    frozenset({str}): "text",
    frozenset({int}): "int",
    frozenset({_Wide}): "int",
    frozenset({int, _Wide}): "int",
    frozenset({bool}): "bool",
}


def columns_with(table: Table, more: Mapping[str, str]) -> dict[str, Any]:
    """All columns of a table and what they hold, followed by those of the answers.

    Reads the table once where its form says nothing about its columns.

    Args:
        table: The table.
        more: The answers' columns, by name: "text", "int", "float", "bool", "vector", "vectors" or "json".

    Returns:
        By name one of these, or for a parquet file's columns its own types.
    """
    if table.form == "parquet":
        return {**dict(table.parquet_types()), **more}
    found: dict[str, set[type]] = {}
    for row in table.rows():
        for name, value in row.items():
            found.setdefault(name, set()).add(_type_of(value))
    return {name: _kind(types) for name, types in found.items()} | dict(more)


def holds_lists(what: Any) -> bool:
    """Whether a column may hold lists, by what :func:`columns_with` says of it."""
    if isinstance(what, str):
        return what == "json"
    import pyarrow as arrow

    return bool(arrow.types.is_nested(what))


def _type_of(value: Any) -> type:
    if type(value) is int and abs(value) > 2**53:
        return _Wide if -(2**63) <= value < 2**63 else object
    return type(value)


def _kind(types: set[type]) -> str:
    types = types - {type(None)}
    if types and types <= {int, float} and float in types:
        return "float"
    return _KINDS.get(frozenset(types), "json" if types else "text")


def write_answers(target: Any, form: str, rows: Iterable[Row], columns: Mapping[str, Any]) -> None:
    """Writes rows into a binary stream.

    Args:
        target: The stream.
        form: "jsonl", "csv", "tsv" or "parquet".
        rows: The rows.
        columns: All their columns, from :func:`columns_with`; not read for JSON Lines.
    """
    if form == "jsonl":
        for row in rows:
            target.write(_json(row).encode("utf-8", "replace") + b"\n")
    elif form == "parquet":
        _write_parquet(target, rows, columns)
    else:
        _write_csv(target, rows, columns, delimiter_of(form))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _write_csv(target: Any, rows: Iterable[Row], columns: Mapping[str, Any], delimiter: str) -> None:
    text = io.TextIOWrapper(target, "utf-8", newline="", write_through=True, errors="replace")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    try:
        writer.writerow(columns)
        for row in rows:
            writer.writerow([cell(row.get(name)) for name in columns])
    finally:
        text.detach()


def _write_parquet(target: Any, rows: Iterable[Row], columns: Mapping[str, Any]) -> None:
    arrow: Any = require("pyarrow", "writing parquet", extra="data")
    parquet: Any = require("pyarrow.parquet", "writing parquet", extra="data")
    schema = arrow.schema([(name, arrow_type(what)) for name, what in columns.items()])
    with parquet.ParquetWriter(target, schema) as writer:
        for batch in _batches(rows):
            ready = [{name: plain(row.get(name), what) for name, what in columns.items()} for row in batch]
            writer.write_table(arrow.Table.from_pylist(ready, schema=schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, ROWS_AT_ONCE)):
        yield batch
