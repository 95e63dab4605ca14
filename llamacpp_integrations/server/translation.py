"""From another API's request to a chat completion, and back from its errors to that API's fields."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.answers import Chunks
from llamacpp_integrations.server.errors import RefusedError, problem_of

__all__ = ["ChatRequest", "bad", "read", "taken"]


@dataclasses.dataclass(slots=True)
class ChatRequest:
    """A chat completion that stands for a request of another API.

    Attributes:
        messages: The conversation.
        origins: Where in the request each message comes from.
        params: The other arguments of the chat completion.
        names: The request's names of fields that are called otherwise there.
    """

    messages: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    origins: list[str] = dataclasses.field(default_factory=list)
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    names: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, origin: str, message: dict[str, Any]) -> None:
        """Adds a message."""
        self.messages.append(message)
        self.origins.append(origin)

    def add_call(self, origin: str, call_id: Any, name: Any, arguments: Any) -> None:
        """Adds a tool call to the last message, or to a new one where that is not the assistant's."""
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.add(origin, {"role": "assistant", "content": None})
        calls = self.messages[-1].setdefault("tool_calls", [])
        function = {"name": name, "arguments": arguments}
        calls.append({"id": call_id, "type": "function", "function": function})

    @contextmanager
    def renaming(self) -> Generator[None, None, None]:
        """Errors of the chat completion in the block name the fields of the request.

        Raises:
            RefusedError: In place of them.
        """
        try:
            yield
        except InvalidParameterError as error:
            problem = problem_of(error)
            old = problem.parameter or ""
            new = self._name(old)
            message = problem.message.replace(old, new) if old else problem.message
            raise RefusedError(400, message, problem.code, parameter=new or None) from error

    def _name(self, parameter: str) -> str:
        for i, origin in reversed(list(enumerate(self.origins))):
            if parameter.startswith(f"messages[{i}]"):
                return f"{origin}.role" if parameter.endswith("].role") else origin
        for ours, theirs in self.names.items():
            if parameter == ours or parameter.startswith((f"{ours}.", f"{ours}[")):
                return theirs + parameter[len(ours) :]
        return parameter.replace(
            "].function.parameters", f"].{self.names.get('parameters', 'parameters')}"
        ).replace("].function.", "].")

    async def renamed(self, chunks: Chunks) -> AsyncGenerator[Mapping[str, Any], None]:
        """The chunks, with the errors on the way under the request's names."""
        with self.renaming():
            async for chunk in chunks:
                yield chunk


def bad(path: str, wanted: str) -> InvalidParameterError:
    """The error for a field that has to be something else."""
    return InvalidParameterError(f"{path} {wanted}", parameter=path)


def read(value: Mapping[str, Any], key: str, path: str, kind: type, wanted: str) -> Any:
    """A required entry of an object in the request.

    Raises:
        InvalidParameterError: It is missing, or of another type.
    """
    found = value.get(key)
    if not isinstance(found, kind):
        raise bad(f"{path}.{key}" if path else key, f"must be {wanted}")
    return found


def taken(body: Mapping[str, Any], handled: frozenset[str], ignored: frozenset[str]) -> dict[str, Any]:
    """What of a request goes to the engine under its own name: llama.cpp's sampling, say.

    Raises:
        InvalidParameterError: It is a field of chat completions that has another name here.
    """
    not_here = {"messages", "self", "n", "stream_options", "response_format", "max_completion_tokens"}
    left = {
        name: value
        for name, value in body.items()
        if value is not None and name not in handled and name not in ignored
    }
    for name in left.keys() & not_here:
        raise bad(name, "is not a field of this route")
    return left
