"""From a row of a list to a call of the method that answers it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llamacpp_core._checks import choice, shown, unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.llama.adapters import adapter_contents
from llamacpp_core.llama.chat import acreate_chat_completion, chat_settings
from llamacpp_core.llama.completion import acreate_completion
from llamacpp_core.llama.ranking import arerank
from llamacpp_core.llama.running import with_own_defaults
from llamacpp_core.llama.vectors import acreate_embedding
from llamacpp_core.request.completion import read_completion_settings
from llamacpp_core.request.constraints import grammar_text

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["TASKS", "Asked", "Reader"]


class _Task(NamedTuple):
    """A kind of request.

    Attributes:
        method: What answers it, as a coroutine.
        fields: The fields that it has to have; the first one tells it from the others.
        names: Its parameters, where they are few; None where the method knows them.
    """

    method: Callable[..., Any]
    fields: tuple[str, ...]
    names: frozenset[str] | None = None


_TASKS = {
    "chat": _Task(acreate_chat_completion, ("messages",)),
    "completion": _Task(acreate_completion, ("prompt",)),
    "embedding": _Task(
        acreate_embedding, ("input",), frozenset({"model", "normalize", "overflow", "max_tokens"})
    ),
    "rerank": _Task(arerank, ("query", "documents"), frozenset({"top_n", "return_documents"})),
}

#: The kinds of requests that a list can hold.
TASKS = tuple(_TASKS)

_TASK = choice(*TASKS)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A request of a list, to be answered.

    Attributes:
        task: One of :data:`TASKS`.
        arguments: The arguments of the method that answers it.
    """

    task: str
    arguments: Mapping[str, Any]

    async def answer(self, llama: Llama) -> Any:
        """What the method returns."""
        return await _TASKS[self.task].method(llama, **self.arguments)

    def adapters(self, llama: Llama) -> list[tuple[str, str]]:
        """The LoRA adapters that answer it, by their content.

        Raises:
            InvalidParameterError: One of them is not loaded.
        """
        return adapter_contents(llama._adapters, self.arguments.get("lora"))

    def digest(self, adapters: list[tuple[str, str]]) -> bytes:
        """Tells this request from every other one.

        Args:
            adapters: From :meth:`adapters`. Their names do not count.

        Raises:
            InvalidParameterError: An argument is a Python object whose content cannot be compared.
        """
        asked = [self.task, {name: value for name, value in self.arguments.items() if name != "lora"}]
        text = json.dumps([*asked, adapters] if adapters else asked, sort_keys=True, default=_plain)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _plain(value: Any) -> Any:
    """What a value that JSON does not know is compared by."""
    from llamacpp_core.grammar import LlamaGrammar

    if isinstance(value, LlamaGrammar):
        return grammar_text(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    raise InvalidParameterError(
        f"resume compares a request with the one that was answered before, and cannot compare {shown(value)}",
        parameter="resume",
    )


class Reader:
    """Makes requests of rows.

    Args:
        llama: What will answer them.
        task: One of :data:`TASKS`; None where each row shows it by its fields.
        shared: Parameters of all rows; a row's own come before them.

    Raises:
        InvalidParameterError: There is no such task, or a shared parameter cannot work.
    """

    def __init__(self, llama: Llama, task: str | None, shared: Mapping[str, Any]) -> None:
        self._llama = llama
        self._task = None if task is None else str(_TASK("task", task))
        self._shared = dict(shared)
        self._known: set[str] = set()
        _refuse_stream(self._shared)
        if self._task is not None:
            self._check_shared(self._task)

    def read(self, row: Any) -> Asked | Exception:
        """The request that a row is, or what is wrong with the row.

        Raises:
            InvalidParameterError: A shared parameter cannot work for this kind of request.
        """
        if isinstance(row, Exception):
            return row
        try:
            given = self._as_mapping(row)
            task = self._task or _task_of(given)
            _refuse_stream(given)
            for field in _TASKS[task].fields:
                if field not in given:
                    raise InvalidParameterError(f"a request for {task} needs {field}", parameter=field)
            _check_names(task, given)
        except InvalidParameterError as error:
            return error
        self._check_shared(task)
        return Asked(task, {**self._shared, **given})

    def _as_mapping(self, row: Any) -> dict[str, Any]:
        if isinstance(row, str) and self._task in ("chat", "completion", "embedding"):
            value: Any = [{"role": "user", "content": row}] if self._task == "chat" else row
            return {_TASKS[self._task].fields[0]: value}
        if not isinstance(row, Mapping):
            hint = " (a text needs task=)" if isinstance(row, str) else ""
            raise InvalidParameterError(
                f"a request must be a dict of arguments, got {shown(row)}{hint}", parameter="requests"
            )
        for name in row:
            if not isinstance(name, str) or name == "self":
                raise unknown_name(str(name), (), "parameter")
        return dict(row)

    def _check_shared(self, task: str) -> None:
        """Finds what is wrong with the shared parameters once, and not in every row."""
        if task in self._known or not self._shared:
            return
        llama = self._llama
        _check_names(task, self._shared)
        if task == "chat" and llama.chat_handler is None:
            chat_settings(llama, self._shared)
        elif task == "completion":
            read_completion_settings(
                with_own_defaults(llama, self._shared),
                n_vocab=llama.info.n_vocab,
                lora=llama._adapters.numbers,
            )
        self._known.add(task)


def _task_of(row: Mapping[str, Any]) -> str:
    found = [name for name, task in _TASKS.items() if task.fields[0] in row]
    if len(found) == 1:
        return found[0]
    fields = " or ".join(_TASKS[name].fields[0] for name in found or TASKS)
    what = "has several of them" if found else "has none of them"
    raise InvalidParameterError(
        f"a request is told by one of the fields {fields}, and this one {what}",
        parameter=_TASKS[found[-1]].fields[0] if found else None,
    )


def _check_names(task: str, given: Mapping[str, Any]) -> None:
    known = _TASKS[task].names
    for name in given if known is not None else ():
        if name not in known and name not in _TASKS[task].fields:  # type: ignore[operator]
            raise unknown_name(name, known or (), f"parameter of {task}")


def _refuse_stream(given: Mapping[str, Any]) -> None:
    if given.get("stream") not in (None, False):
        raise InvalidParameterError("stream: a list has whole answers", parameter="stream")
