"""From a row of a table to a request, and from its answer to columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._rows import FIELDS, answer_columns, columns_of, error_columns, request_of
from llamacpp_integrations.cli.answers import columns_with, holds_lists
from llamacpp_integrations.cli.tables import Row, Table

__all__ = ["BatchFile", "Request", "RequestTable", "Requests", "layout_of"]

#: Rows that may have to be read to see what the requests are.
_LOOKED_AT = 100
#: Cells of CSV that are text, and no JSON.
_TEXTS = frozenset({"prompt", "input", "query", "suffix", "stop", "grammar"})

_URLS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
}
#: What OpenAI's clients send and what changes no answer here.
_WITHOUT_EFFECT = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"}
)


class _BrokenRow(dict[str, Any]):
    """A row that could not be read; ``what`` says why."""

    what = ""


class RequestTable(Table):
    """A table in which a row that cannot be read is an error of its own, and the next one is read."""

    _on_bad_bytes = "surrogateescape"

    def _bad_row(self, what: str) -> Row:
        row = _BrokenRow()
        row.what = what
        return row


class Request(NamedTuple):
    """A row and what it asks: the arguments of a request, or what is wrong with the row."""

    row: Row
    asked: dict[str, Any] | InvalidParameterError


class Requests:
    """The requests of a table, whose other columns are carried over.

    Args:
        table: The table.
        task: One of :data:`FIELDS`; None where the rows show it.
        column: The column that holds a text; None where rows are requests.
        system: The system message before a text that is a user's message.
        full: The whole response goes into a column ``response``.
    """

    def __init__(
        self, table: Table, task: str | None, column: str | None, system: str | None, *, full: bool = False
    ) -> None:
        self.table = table
        self.task = task or ("chat" if column is not None else None)
        self._column = column
        self._system = system
        self.full = full

    def __iter__(self) -> Iterator[Request]:
        for row in self.table.rows():
            try:
                if isinstance(row, _BrokenRow):
                    raise InvalidParameterError(row.what)
                yield Request(row, self._asked(row))
            except InvalidParameterError as error:
                yield Request(row, error)

    def first_task(self) -> str | None:
        """The kind of the first request that has one."""
        return self.task or next(
            (
                task
                for request in islice(self, _LOOKED_AT)
                if isinstance(request.asked, dict)
                for task, fields in FIELDS.items()
                if fields[0] in request.asked
            ),
            None,
        )

    def columns(self) -> dict[str, Any]:
        """All columns of the output, as :func:`~llamacpp_integrations.cli.answers.columns_with` has them.

        Where a row may have several texts to embed, every row has a list of vectors.
        """
        columns = columns_with(self.table, columns_of(self.task, full=self.full))
        if self._column is None and "embeddings" in columns and holds_lists(columns.get("input", "text")):
            columns["embeddings"] = "vectors"
        return columns

    def _asked(self, row: Row) -> dict[str, Any]:
        if self._column is not None:
            return self._of_text(row)
        given = row
        if self.table.form in ("csv", "tsv"):
            given = {name: _parsed(name, value) for name, value in row.items() if value != ""}
        return request_of(given, self.task)

    def _of_text(self, row: Row) -> dict[str, Any]:
        column, task = str(self._column), self.task or "chat"
        if not isinstance(row.get(column), str):
            raise InvalidParameterError(f"the row has no text in {column!r}", parameter=column)
        if task != "chat":
            return {FIELDS[task][0]: row[column]}
        system = [] if self._system is None else [{"role": "system", "content": self._system}]
        return {"messages": [*system, {"role": "user", "content": row[column]}]}

    def answered(self, request: Request, answer: Any) -> Row:
        """The row with its answer, or with its error."""
        if isinstance(answer, Exception):
            columns: Row = error_columns(answer)
        else:
            columns = answer_columns(answer) | ({"response": answer} if self.full else {})
        return {**request.row, **columns}


class BatchFile(Requests):
    """The requests of a file in the form of OpenAI's batches, with ``custom_id``, ``url`` and ``body``."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, None, None, None)

    def _asked(self, row: Row) -> dict[str, Any]:
        body, url = row.get("body"), row.get("url")
        task = _URLS.get(url) if isinstance(url, str) else None
        if not isinstance(row.get("custom_id"), str):
            raise InvalidParameterError("custom_id must be a string", parameter="custom_id")
        if row.get("method", "POST") != "POST":
            raise InvalidParameterError("method must be POST", parameter="method")
        if task is None:
            raise InvalidParameterError(f"url must be one of {', '.join(_URLS)}", parameter="url")
        if not isinstance(body, dict) or any(field not in body for field in FIELDS[task]):
            wanted = " and ".join(FIELDS[task])
            raise InvalidParameterError(f"body must be an object with {wanted}", parameter="body")
        return _as_ours(body, task)

    def answered(self, request: Request, answer: Any) -> Row:
        """OpenAI's line for an answer, or for an error as its server would have given it."""
        custom_id = request.row.get("custom_id")
        body: Any = {"results": answer} if isinstance(answer, list) else answer
        status = 200
        if isinstance(answer, Exception):
            bad = isinstance(answer, InvalidParameterError)
            message, _, field = error_columns(answer).values()
            kind = "invalid_request_error" if bad else "server_error"
            status = 400 if bad else 500
            body = {"error": {"message": message, "type": kind, "param": field, "code": None}}
        response = {"status_code": status, "request_id": body.get("id"), "body": body}
        return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}


def layout_of(
    table: Table,
    task: str | None,
    column: str | None,
    system: str | None,
    *,
    full: bool = False,
    one_task: bool = False,
) -> Requests:
    """How the rows of a table are requests, as its first row shows.

    Args:
        table: The table.
        task: As for :class:`Requests`.
        column: As for :class:`Requests`.
        system: As for :class:`Requests`.
        full: As for :class:`Requests`.
        one_task: All rows are of the first one's kind, since the output has the same columns for all.

    Raises:
        InvalidParameterError: The options do not go with such a table.
    """
    first = next((row for row in table.rows() if not isinstance(row, _BrokenRow)), {})
    if column is None and {"custom_id", "body"} <= first.keys():
        if task is not None or system is not None or full:
            raise InvalidParameterError(
                "--task, --system and --full are for tables: in a batch file each row says all of it"
            )
        return BatchFile(table)
    shown = [name for name, fields in FIELDS.items() if fields[0] in first]
    if column is None and table.column in first and not shown:
        column = table.column
    if column is None and system is not None:
        raise InvalidParameterError("--system goes before the texts of --column", parameter="system")
    if task == "rerank" and column is not None:
        raise InvalidParameterError("a row to rerank has query and documents, not --column", parameter="task")
    if one_task and task is None and shown:
        task = shown[0]
    requests = Requests(table, task, column, system, full=full)
    for name in columns_of(requests.task, full=full):
        if name in first:
            raise InvalidParameterError(
                f"the input has a column {name!r}, which the answer needs: rename it", parameter="input"
            )
    return requests


def _parsed(name: str, value: str) -> Any:
    """A cell of CSV: JSON where it is some, else text."""
    if name in _TEXTS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _as_ours(body: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The body of a request of OpenAI's as arguments of the method that answers it."""
    ours = {name: value for name, value in body.items() if name not in _WITHOUT_EFFECT and value is not None}
    limit = ours.pop("max_completion_tokens", None)
    if limit is not None and ours.setdefault("max_tokens", limit) != limit:
        raise InvalidParameterError(
            "max_tokens and max_completion_tokens mean the same: give one", parameter="max_completion_tokens"
        )
    if task == "rerank":
        ours.pop("model", None)
    if task == "embedding" and ours.pop("encoding_format", "float") != "float":
        raise InvalidParameterError("encoding_format must be float", parameter="encoding_format")
    return ours
