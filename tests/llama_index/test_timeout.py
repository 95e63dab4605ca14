"""Time limits of calls, in every way to make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_integrations.llama_index import LlamaCpp

MESSAGES = [ChatMessage(content="x")]


class Word(BaseModel):
    word: str


async def _all(stream: Any) -> list[Any]:
    return [piece async for piece in await stream]


WAYS: dict[str, Callable[..., Any]] = {
    "chat": lambda llm, **given: llm.chat(MESSAGES, **given),
    "stream_chat": lambda llm, **given: list(llm.stream_chat(MESSAGES, **given)),
    "achat": lambda llm, **given: asyncio.run(llm.achat(MESSAGES, **given)),
    "astream_chat": lambda llm, **given: asyncio.run(_all(llm.astream_chat(MESSAGES, **given))),
    "complete": lambda llm, **given: llm.complete("x", formatted=True, **given),
    "stream_complete": lambda llm, **given: list(llm.stream_complete("x", formatted=True, **given)),
    "acomplete": lambda llm, **given: asyncio.run(llm.acomplete("x", formatted=True, **given)),
    "astream_complete": lambda llm, **given: asyncio.run(
        _all(llm.astream_complete("x", formatted=True, **given))
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [{}, {"timeout": 0.12}], ids=["of the object", "of the call"])
def test_a_call_ends_with_its_time(way: str, given: dict[str, Any]) -> None:
    llama = ScriptedLlama(Answer("many words in here", delay=0.05))
    llm = LlamaCpp(llama=llama, timeout=None if given else 0.12)
    with pytest.raises(TimeoutError, match="raise timeout") as caught:
        WAYS[way](llm, **given)
    assert isinstance(caught.value, EngineError)
    assert (llama.running, llama.cancelled) == (0, 1)


@pytest.mark.parametrize("way", WAYS)
def test_a_call_within_its_time(way: str) -> None:
    made = WAYS[way](LlamaCpp(llama=ScriptedLlama("many words in here"), timeout=60))
    last = made[-1] if isinstance(made, list) else made
    assert (last.text if "complete" in way else last.message.content) == "many words in here"


def test_predictions_have_it_too() -> None:
    llm = LlamaCpp(llama=ScriptedLlama(Answer('{"word": "many words"}', delay=0.2)), timeout=0.1)
    with pytest.raises(TimeoutError):
        llm.structured_predict(Word, PromptTemplate("x"))


@pytest.mark.parametrize("value", [0, -1, "soon", float("nan")])
def test_it_is_checked(value: Any) -> None:
    llm = LlamaCpp(llama=ScriptedLlama())
    with pytest.raises(InvalidParameterError, match="timeout"):
        LlamaCpp(llama=ScriptedLlama(), timeout=value)
    with pytest.raises(InvalidParameterError, match="timeout"):
        llm.timeout = value
    with pytest.raises(InvalidParameterError, match="timeout"):
        llm.chat(MESSAGES, timeout=value)


def test_a_stream_that_is_left_is_cancelled() -> None:
    llama = ScriptedLlama(Answer("many words in here", delay=0.01))
    stream = LlamaCpp(llama=llama, timeout=60).stream_chat(MESSAGES)
    next(stream)
    stream.close()
    assert (llama.running, llama.cancelled) == (0, 1)
