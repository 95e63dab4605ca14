"""A model that follows a script, for handlers of chat formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typeddict_check import validate

from llamacpp_core.chat_format import (
    get_chat_completion_handler,
)
from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

HI = [{"role": "user", "content": "Hi"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NOW = {"name": "now", "parameters": {"$ref": "#/$defs/Nothing", "$defs": {"Nothing": {"type": "object"}}}}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": NOW}]
FORCE = {"type": "function", "function": {"name": "get_weather"}}


class Chunks:
    """A stream of the scripted model that knows whether it was closed."""

    def __init__(self, chunks: list[dict[str, Any]]) -> None:
        self._chunks = iter(chunks)
        self.closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._chunks)

    def close(self) -> None:
        self.closed = True


class ScriptedLlama:
    """Answers every prompt with the same pieces of text."""

    def __init__(self, *pieces: str, finish_reason: str = "stop", logprobs: Any = None) -> None:
        self.pieces = pieces
        self.finish_reason = finish_reason
        self.logprobs = logprobs
        self.prompt = ""
        self.add_bos: bool | None = None
        self.asked: dict[str, Any] = {}
        self.chunks = Chunks([])

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        assert special
        self.prompt, self.add_bos = text.decode(), add_bos
        return list(text)

    def create_completion(self, prompt: list[int], stream: bool = False, **asked: Any) -> Any:
        assert bytes(prompt).decode() == self.prompt
        self.asked = asked
        if not stream:
            return self._answer("".join(self.pieces), self.finish_reason) | {"usage": USAGE}
        chunks = [self._answer(piece, None) for piece in self.pieces]
        self.chunks = Chunks([*chunks, self._answer("", self.finish_reason) | {"usage": USAGE}])
        return self.chunks

    def _answer(self, text: str, finish_reason: str | None) -> dict[str, Any]:
        logprobs = self.logprobs if text else None
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish_reason}
        head = {"id": "cmpl-7", "object": "text_completion", "created": 1700000000, "model": "m"}
        return head | {"choices": [choice]}


def ask(llama: ScriptedLlama, name: str = "chatml", **params: Any) -> Any:
    answer: Any = get_chat_completion_handler(name)(llama=llama, messages=HI, **params)
    assert validate(answer, CreateChatCompletionResponse) == []
    return answer


def ask_streamed(llama: ScriptedLlama, name: str = "chatml", **params: Any) -> list[Any]:
    stream: Any = get_chat_completion_handler(name)(llama=llama, messages=HI, stream=True, **params)
    chunks = list(stream)
    for chunk in chunks:
        assert validate(chunk, CreateChatCompletionStreamResponse) == []
    return chunks


def deltas_of(chunks: list[Any]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
