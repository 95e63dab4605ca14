"""Rows of tables as requests, and answers as columns: what the command line and Ray have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamacpp_core.types import ChatCompletionParameters, CompletionParameters

__all__ = ["FIELDS", "answer_columns", "arrow_type", "columns_of", "error_columns", "plain", "request_of"]

#: The fields of each kind of request; the first one tells it from the others.
FIELDS = {
    "chat": ("messages",),
    "completion": ("prompt",),
    "embedding": ("input",),
    "rerank": ("query", "documents"),
}
#: The parameters that a column can hold; a column "model" is about something else.
_PARAMETERS = {
    "chat": frozenset(ChatCompletionParameters.__annotations__) - {"model"},
    "completion": frozenset(CompletionParameters.__annotations__) - {"model"},
    "embedding": frozenset({"max_tokens", "normalize", "overflow"}),
    "rerank": frozenset({"top_n", "return_documents"}),
}
_TEXT_COLUMNS = {
    "generated_text": "text",
    "finish_reason": "text",
    "tool_calls": "json",
    "prompt_tokens": "int",
    "completion_tokens": "int",
}
_COLUMNS: dict[str, dict[str, str]] = {
    "chat": _TEXT_COLUMNS,
    "completion": _TEXT_COLUMNS,
    "embedding": {"embeddings": "vector"},
    "rerank": {"ranking": "json"},
}
_ERROR_COLUMNS = {"error": "text", "error_type": "text", "error_field": "text"}


def columns_of(task: str | None, *, full: bool = False) -> dict[str, str]:
    """The columns that answers of a kind have, and what they hold: "text", "int", "vector" or "json"."""
    tasks = _COLUMNS if task is None else [task]
    columns = {name: what for task in tasks for name, what in _COLUMNS[task].items()}
    return columns | ({"response": "json"} if full else {}) | _ERROR_COLUMNS


def request_of(row: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """The arguments of the request that a row is; its other columns are data.

    Args:
        row: The row; what is None was not given.
        task: One of :data:`FIELDS`; None where the row shows it.
    """
    given = {name: value for name, value in row.items() if value is not None}
    task = task or next((task for task, fields in FIELDS.items() if fields[0] in given), None)
    if task is None:
        return given  # whose error the list knows
    return {name: value for name, value in given.items() if name in _PARAMETERS[task] | {*FIELDS[task]}}


def answer_columns(answer: Any) -> dict[str, Any]:
    """What an answer puts into its columns."""
    if isinstance(answer, list):
        return {"ranking": answer}
    if "data" in answer:
        vectors = [entry["embedding"] for entry in answer["data"]]
        return {"embeddings": vectors[0] if len(vectors) == 1 else vectors}
    choice, usage = answer["choices"][0], answer["usage"]
    message = choice.get("message", {})
    columns = {
        "generated_text": message.get("content") if message else choice["text"],
        "finish_reason": choice["finish_reason"],
        "tool_calls": message.get("tool_calls"),
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
    }
    return {name: value for name, value in columns.items() if name != "tool_calls" or value}


def error_columns(error: Exception) -> dict[str, str | None]:
    """What an error puts into its columns: its message, its kind, and the field that is wrong."""
    message = str(error) or type(error).__name__
    field = getattr(error, "parameter", None)
    return dict(zip(_ERROR_COLUMNS, (message, type(error).__name__, field), strict=True))


def arrow_type(what: Any) -> Any:
    """The type of an Arrow column by what it holds; a type of Arrow's own stays itself."""
    import pyarrow as arrow

    types = {
        "text": arrow.string(),
        "json": arrow.string(),
        "int": arrow.int64(),
        "float": arrow.float64(),
        "bool": arrow.bool_(),
        "vector": arrow.list_(arrow.float32()),
        "vectors": arrow.list_(arrow.list_(arrow.float32())),
    }
    return types[what] if isinstance(what, str) else what


def plain(value: Any, what: Any) -> Any:
    """A value as an Arrow column holds it: JSON as text, surrogates replaced, a vector in a list."""
    if value and what == "vectors" and not isinstance(value[0], list):
        return [value]
    if value is not None and what == "json":
        value = json.dumps(value, ensure_ascii=False, default=str)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
