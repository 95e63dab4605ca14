"""Answers that follow a script, to prompts that a formatter wrote for the real model."""

from __future__ import annotations

from typing import Any

from typeddict_check import validate

from llamacpp_core import Llama
from llamacpp_core.chat_format import ChatFormatter, NamedChatFormatter
from llamacpp_core.engine.events import Final, Piece
from llamacpp_core.engine.python_loop.loop import _Clock
from llamacpp_core.llama.chat import chat_settings, prepare_chat
from llamacpp_core.request.runner import Prepared
from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NOW = {"name": "now", "parameters": {"$ref": "#/$defs/Nothing", "$defs": {"Nothing": {"type": "object"}}}}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": NOW}]
FORCE = {"type": "function", "function": {"name": "get_weather"}}


def prepare(llm: Llama, formatter: str | ChatFormatter | None = "chatml", **params: Any) -> Prepared:
    """The request that a formatter's handler makes; None for the model's own template."""
    if isinstance(formatter, str):
        formatter = NamedChatFormatter(formatter)
    return prepare_chat(llm, params.pop("messages", HI), params, formatter)


def prompt(llm: Llama, formatter: str | ChatFormatter = "chatml", **params: Any) -> str:
    if isinstance(formatter, str):
        formatter = NamedChatFormatter(formatter)
    messages = params.pop("messages", HI)
    return llm._chat.prompt(messages, chat_settings(llm, params), formatter).text


def _events(pieces: tuple[str, ...], stop_type: str) -> list[Piece | Final]:
    timings = _Clock().timings(5, 0, 2)
    end = Final(0, stop_type, n_prompt=5, n_cached=0, n_decoded=2, timings=timings)
    return [*(Piece(0, piece) for piece in pieces), end]


def answer(prepared: Prepared, *pieces: str, stop_type: str = "eos") -> Any:
    """The one choice of the answer that the model's text becomes."""
    for event in _events(pieces, stop_type):
        prepared.assembler.add(event)
    response = prepared.assembler.response()
    assert validate(response, CreateChatCompletionResponse) == []
    (choice,) = response["choices"]
    return choice


def answer_streamed(prepared: Prepared, *pieces: str, stop_type: str = "eos") -> list[Any]:
    chunks = [chunk for event in _events(pieces, stop_type) for chunk in prepared.assembler.chunks(event)]
    for chunk in chunks:
        assert validate(chunk, CreateChatCompletionStreamResponse) == []
    return chunks


def deltas_of(chunks: list[Any]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
