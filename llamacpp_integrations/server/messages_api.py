"""Anthropic's routes: messages, and counting their tokens."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.answers import Answers, Chunks
from llamacpp_integrations.server.blocks import Block, BlockReader, Step, blocks_of
from llamacpp_integrations.server.body import given, read_object
from llamacpp_integrations.server.errors import Problem, anthropic_error
from llamacpp_integrations.server.messages_request import chat_request
from llamacpp_integrations.server.stream import event

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["Anthropic"]

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_DELTAS = {
    "text": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "call": ("input_json_delta", "partial_json"),
}


class Anthropic:
    """The routes of Anthropic's API.

    Args:
        answers: Runs the requests.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._desk = answers.desk

    async def messages(self, request: Request) -> Response:
        """``POST /v1/messages``."""
        body = await read_object(request)
        name, shown = self._desk.asked(body)
        max_tokens = given(body, "max_tokens", int, "a whole number")
        if max_tokens is None or max_tokens < 1:
            raise InvalidParameterError(
                "max_tokens must be a whole number of at least 1", parameter="max_tokens"
            )
        chat = chat_request(body)
        params = chat.params | {"model": shown, "max_tokens": self._answers.limited(max_tokens)}
        if given(body, "stream", bool, "true or false"):

            async def start(llm: Llama) -> Chunks:
                with chat.renaming():
                    return chat.renamed(
                        await llm.acreate_chat_completion(chat.messages, stream=True, **params)
                    )

            return await self._answers.streamed(
                name, 1, start, lambda chunks: _events(chunks, shown, params), _stream_problem
            )

        async def work(llm: Llama) -> dict[str, Any]:
            with chat.renaming():
                return dict(await llm.acreate_chat_completion(chat.messages, **params))

        answer = await self._answers.whole(name, 1, work)
        choice = answer["choices"][0]
        message = _message(shown)
        message["content"] = [_content(block) for block in blocks_of(choice)]
        message |= _ending(choice["finish_reason"], choice.get("stop_reason"), params)
        message["usage"] = _usage(answer["usage"])
        return JSONResponse(message)

    async def count_tokens(self, request: Request) -> Response:
        """``POST /v1/messages/count_tokens``."""
        body = await read_object(request)
        name, _ = self._desk.asked(body)
        body.pop("lora", None)  # an adapter changes no tokens
        chat = chat_request(body)
        tools = chat.params.get("tools")

        async def work(llm: Llama) -> dict[str, Any]:
            with chat.renaming():
                counted = asyncio.to_thread(llm.count_tokens, messages=chat.messages, tools=tools)
                return {"input_tokens": await counted}

        return JSONResponse(await self._answers.whole(name, 1, work))


def _message(model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _usage(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Tokens as Anthropic counts them: those from the cache are not among the input's."""
    usage = usage or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "input_tokens": usage.get("prompt_tokens", 0) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.get("completion_tokens", 0),
    }


def _content(block: Block) -> dict[str, Any]:
    if block.kind == "text":
        return {"type": "text", "text": block.text}
    if block.kind == "reasoning":
        return {"type": "thinking", "thinking": block.text, "signature": ""}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": _arguments(block.text)}


def _arguments(text: str) -> Any:
    """A call's arguments; those that the limit of tokens cut off are none."""
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}


def _ending(finish_reason: str, word: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Why an answer ended; strings by which a template ends answers are the model's own end."""
    if word is not None and word in (params.get("stop") or ()):
        return {"stop_reason": "stop_sequence", "stop_sequence": word}
    return {"stop_reason": _STOPS[finish_reason], "stop_sequence": None}


async def _events(chunks: Chunks, model: str, params: Mapping[str, Any]) -> AsyncIterator[bytes]:
    reader = BlockReader()
    yield _event("message_start", message=_message(model))
    async for chunk in chunks:
        for step in reader.feed(chunk):
            yield _step(step)
    for step in reader.finish():
        yield _step(step)
    delta = _ending(reader.finish_reason or "stop", reader.stop_reason, params)
    yield _event("message_delta", delta=delta, usage=_usage(reader.usage))
    yield _event("message_stop")


def _step(step: Step) -> bytes:
    index = step.block.index
    if step.what == "begin":
        empty = _content(Block(index, step.block.kind, id=step.block.id, name=step.block.name))
        return _event("content_block_start", index=index, content_block=empty)
    if step.what == "end":
        return _event("content_block_stop", index=index)
    kind, field = _DELTAS[step.block.kind]
    return _event("content_block_delta", index=index, delta={"type": kind, field: step.piece})


def _event(kind: str, **data: Any) -> bytes:
    return event({"type": kind, **data}, kind)


def _stream_problem(problem: Problem) -> bytes:
    return event(anthropic_error(problem), "error")
