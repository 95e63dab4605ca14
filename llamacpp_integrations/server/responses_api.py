"""OpenAI's responses route."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llamacpp_integrations.server.answers import Answers, Chunks
from llamacpp_integrations.server.blocks import Block, BlockReader, Step, blocks_of
from llamacpp_integrations.server.body import given, read_object
from llamacpp_integrations.server.errors import Problem
from llamacpp_integrations.server.responses_request import chat_request
from llamacpp_integrations.server.stream import event

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["Responses"]

_PREFIXES = {"text": "msg_", "reasoning": "rs_", "call": "fc_"}
_DELTAS = {
    "text": "response.output_text",
    "reasoning": "response.reasoning_text",
    "call": "response.function_call_arguments",
}


class Responses:
    """The responses route. It keeps no answers: every request brings its whole conversation.

    Args:
        answers: Runs the requests.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._desk = answers.desk

    async def create(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        body = await read_object(request)
        name, shown = self._desk.asked(body)
        chat = chat_request(body)
        most = self._answers.limited(body.get("max_output_tokens"))
        params = {
            k: v for k, v in (chat.params | {"model": shown, "max_tokens": most}).items() if v is not None
        }
        if given(body, "stream", bool, "true or false"):

            async def start(llm: Llama) -> Chunks:
                with chat.renaming():
                    return chat.renamed(
                        await llm.acreate_chat_completion(chat.messages, stream=True, **params)
                    )

            events = _Events(_response(body, shown))
            return await self._answers.streamed(name, 1, start, events.encode, events.problem)

        async def work(llm: Llama) -> dict[str, Any]:
            with chat.renaming():
                return dict(await llm.acreate_chat_completion(chat.messages, **params))

        answer = await self._answers.whole(name, 1, work)
        choice, response = answer["choices"][0], _response(body, shown)
        ids = _Ids()
        response["output"] = [_item(block, ids[block], "completed") for block in blocks_of(choice)]
        _finish(response, choice["finish_reason"], answer["usage"])
        return JSONResponse(response)


class _Ids(dict[int, str]):
    """An id for each block."""

    def __getitem__(self, block: Block) -> str:  # type: ignore[override]
        if block.index not in self:
            super().__setitem__(block.index, _PREFIXES[block.kind] + uuid.uuid4().hex)
        return super().__getitem__(block.index)


def _response(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A response that has just begun."""
    parallel = body.get("parallel_tool_calls")
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": False,
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }


def _finish(response: dict[str, Any], finish_reason: str | None, usage: Mapping[str, Any] | None) -> None:
    cut = finish_reason == "length"
    response["status"] = "incomplete" if cut else "completed"
    response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
    if cut and response["output"]:
        response["output"][-1]["status"] = "incomplete"
    if usage:
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
        response["usage"] = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": usage["total_tokens"],
        }


def _part(block: Block) -> dict[str, Any]:
    if block.kind == "reasoning":
        return {"type": "reasoning_text", "text": block.text}
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": block.logprobs}


def _item(block: Block, item_id: str, status: str) -> dict[str, Any]:
    begun = bool(block.text)
    if block.kind == "call":
        call = {"call_id": block.id, "name": block.name, "arguments": block.text}
        return {"type": "function_call", "id": item_id, "status": status, **call}
    content = [_part(block)] if begun else []
    if block.kind == "reasoning":
        return {"type": "reasoning", "id": item_id, "status": status, "summary": [], "content": content}
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": content}


class _Events:
    """The events of one streamed response, numbered from 0."""

    def __init__(self, response: dict[str, Any]) -> None:
        self._response = response
        self._number = -1
        self._ids = _Ids()

    async def encode(self, chunks: Chunks) -> AsyncIterator[bytes]:
        """The events of a stream of chunks."""
        reader = BlockReader()
        yield self._event("response.created", response=self._response)
        yield self._event("response.in_progress", response=self._response)
        async for chunk in chunks:
            for step in reader.feed(chunk):
                for data in self._step(step):
                    yield data
        for step in reader.finish():
            for data in self._step(step):
                yield data
        _finish(self._response, reader.finish_reason, reader.usage)
        yield self._event(f"response.{self._response['status']}", response=self._response)

    def problem(self, problem: Problem) -> bytes:
        """The event that tells of a problem."""
        self._response |= {"status": "failed", "error": {"code": problem.code, "message": problem.message}}
        return self._event("response.failed", response=self._response)

    def _step(self, step: Step) -> list[bytes]:
        block = step.block
        place = {"item_id": self._ids[block], "output_index": block.index}
        if block.kind != "call":
            place["content_index"] = 0
        kind = _DELTAS[block.kind]
        if step.what == "piece":
            more = {"logprobs": step.logprobs} if block.kind == "text" else {}
            return [self._event(f"{kind}.delta", **place, delta=step.piece, **more)]
        if step.what == "begin":
            return self._begin(block, place)
        return self._end(block, place, kind)

    def _begin(self, block: Block, place: dict[str, Any]) -> list[bytes]:
        item = _item(block, self._ids[block], "in_progress")
        added = self._event("response.output_item.added", output_index=block.index, item=item)
        if block.kind == "call":
            return [added]
        return [added, self._event("response.content_part.added", **place, part=_part(block))]

    def _end(self, block: Block, place: dict[str, Any], kind: str) -> list[bytes]:
        item = _item(block, self._ids[block], "completed")
        self._response["output"].append(item)
        if block.kind == "call":
            done = [self._event(f"{kind}.done", **place, name=block.name, arguments=block.text)]
        else:
            more = {"logprobs": block.logprobs} if block.kind == "text" else {}
            done = [
                self._event(f"{kind}.done", **place, text=block.text, **more),
                self._event("response.content_part.done", **place, part=_part(block)),
            ]
        return [*done, self._event("response.output_item.done", output_index=block.index, item=item)]

    def _event(self, kind: str, **data: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number, **data}, kind)
