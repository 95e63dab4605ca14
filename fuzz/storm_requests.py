"""Requests of every kind, each with a check of its answer: a code that the grammar forces and only it has."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["ASYNC_KINDS", "KINDS", "TEXTS", "code_of"]

TEXTS = ["the a", "b", "the cat", "a b the", "that", "hat", "the hat", "be"]
Request = Callable[[Any, str, random.Random], None]
AsyncRequest = Callable[[Any, str, random.Random], Awaitable[None]]


def code_of(number: int) -> str:
    """What only the request with this number says."""
    return f"r{number}-{7919 * number % 9973}"


def _settings(code: str) -> dict[str, Any]:
    return {"grammar": f'root ::= "{code}"', "max_tokens": 40}


def _unchanged(_ids: Any, scores: Any) -> Any:
    return scores


def _prompt(chosen: random.Random) -> str:
    """A few beginnings of several lengths, so that some are shared."""
    return f"{chosen.randrange(3)} " + "the a b " * chosen.choice((1, 3, 10)) + str(chosen.randrange(9))


def _messages(chosen: random.Random) -> list[dict[str, str]]:
    return [{"role": "user", "content": _prompt(chosen) + "<|im_end|>"}]


def _check(answer: dict[str, Any], code: str) -> None:
    for choice in answer["choices"]:
        found = choice["text"] if "text" in choice else choice["message"]["content"]
        assert found == code, f"asked for {code!r}, got {found!r}"
        assert choice["finish_reason"] == "stop", choice
    usage = answer["usage"]
    assert 0 < usage["completion_tokens"] <= 40 * len(answer["choices"]), usage
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage


def _piece(chunk: dict[str, Any]) -> str:
    choice = chunk["choices"][0] if chunk["choices"] else {}
    return str(choice.get("text") or choice.get("delta", {}).get("content") or "")


def _whole(llm: Any, code: str, chosen: random.Random) -> None:
    _check(llm.create_completion(_prompt(chosen), **_settings(code)), code)


def _several(llm: Any, code: str, chosen: random.Random) -> None:
    _check(llm.create_completion(_prompt(chosen), n=2, **_settings(code)), code)


def _streamed(llm: Any, code: str, chosen: random.Random) -> None:
    text = "".join(map(_piece, llm.create_completion(_prompt(chosen), stream=True, **_settings(code))))
    assert text == code, f"asked for {code!r}, got {text!r}"


def _left(llm: Any, code: str, chosen: random.Random) -> None:
    """A stream that is left in the middle, closed or not."""
    stream = llm.create_completion(_prompt(chosen), stream=True, **_settings(code))
    pieces = [_piece(chunk) for _, chunk in zip(range(chosen.randrange(4)), stream, strict=False)]
    assert code.startswith("".join(pieces)), f"asked for {code!r}, got {pieces}"
    if chosen.random() < 0.5:
        stream.close()


def _chat(llm: Any, code: str, chosen: random.Random) -> None:
    _check(llm.create_chat_completion(_messages(chosen), **_settings(code)), code)


def _chat_streamed(llm: Any, code: str, chosen: random.Random) -> None:
    chunks = llm.create_chat_completion(_messages(chosen), stream=True, **_settings(code))
    text = "".join(map(_piece, chunks))
    assert text == code, f"asked for {code!r}, got {text!r}"


def _call(llm: Any, code: str, chosen: random.Random) -> None:
    parameters = {"type": "object", "properties": {"id": {"const": code}}, "required": ["id"]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    answer = llm.create_chat_completion(
        _messages(chosen), tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=200
    )
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"id": code}, call


def _schema(llm: Any, code: str, chosen: random.Random) -> None:
    schema = {"type": "object", "properties": {"id": {"const": code}}, "required": ["id"]}
    answer = llm.create_chat_completion(
        _messages(chosen),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {**schema, "additionalProperties": False}},
        },
        max_tokens=200,
    )
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"id": code}, answer


def _python(llm: Any, code: str, chosen: random.Random) -> None:
    _check(
        llm.create_completion(_prompt(chosen), logits_processor=_unchanged, **_settings(code)),
        code,
    )


def _logprobs(llm: Any, code: str, chosen: random.Random) -> None:
    answer = llm.create_completion(_prompt(chosen), logprobs=2, **_settings(code))
    _check(answer, code)
    assert "".join(answer["choices"][0]["logprobs"]["tokens"]).startswith(code)


def _wrong(llm: Any, code: str, chosen: random.Random) -> None:
    from llamacpp_core import EngineClosedError, ForkedProcessError, LlamaCppError

    bad: dict[str, Any] = chosen.choice(
        (
            {"prompt": "the " * 2000},
            {"prompt": code, "grammar": "root ::= nowhere"},
            {"prompt": code, "temperature": [[code]]},
            {"prompt": code + "\0"},
            {"prompt": code, "stop": [""]},
            {"prompt": code, "max_tokens": code},
            {"prompt": [10**9]},
        )
    )
    try:
        llm.create_completion(**bad)
    except (EngineClosedError, ForkedProcessError):
        raise
    except LlamaCppError:
        return
    raise AssertionError(f"no error for {bad}")


def _tokens(llm: Any, code: str, chosen: random.Random) -> None:
    tokens = llm.tokenize(code.encode(), add_bos=False)
    assert llm.detokenize(tokens) == code.encode(), tokens


def _state(llm: Any, code: str, chosen: random.Random) -> None:
    """Another request may have taken the slot: then it is a typed error."""
    from llamacpp_core import EngineClosedError, LlamaCppError

    try:
        llm.load_state(llm.save_state())
    except EngineClosedError:
        raise
    except LlamaCppError:
        return


async def _awhole(llm: Any, code: str, chosen: random.Random) -> None:
    _check(await llm.acreate_completion(_prompt(chosen), **_settings(code)), code)


async def _achat(llm: Any, code: str, chosen: random.Random) -> None:
    _check(await llm.acreate_chat_completion(_messages(chosen), **_settings(code)), code)


async def _astreamed(llm: Any, code: str, chosen: random.Random) -> None:
    pieces = []
    async for chunk in await llm.acreate_completion(_prompt(chosen), stream=True, **_settings(code)):
        pieces.append(_piece(chunk))
    assert "".join(pieces) == code, f"asked for {code!r}, got {pieces}"


async def _aleft(llm: Any, code: str, chosen: random.Random) -> None:
    stream = await llm.acreate_chat_completion(_messages(chosen), stream=True, **_settings(code))
    steps, pieces = chosen.randrange(4), []
    async for chunk in stream:
        pieces.append(_piece(chunk))
        if len(pieces) > steps:
            break
    await stream.aclose()
    assert code.startswith("".join(pieces)), f"asked for {code!r}, got {pieces}"


async def _acancelled(llm: Any, code: str, chosen: random.Random) -> None:
    task = asyncio.ensure_future(_awhole(llm, code, chosen))
    await asyncio.sleep(chosen.uniform(0, 0.05))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


async def _apython(llm: Any, code: str, chosen: random.Random) -> None:
    answer = await llm.acreate_completion(_prompt(chosen), logits_processor=_unchanged, **_settings(code))
    _check(answer, code)


KINDS: dict[str, Request] = {
    "whole": _whole,
    "several": _several,
    "streamed": _streamed,
    "left": _left,
    "chat": _chat,
    "chat streamed": _chat_streamed,
    "call": _call,
    "schema": _schema,
    "python": _python,
    "logprobs": _logprobs,
    "wrong": _wrong,
    "tokens": _tokens,
    "state": _state,
}
ASYNC_KINDS: dict[str, AsyncRequest] = {
    "awaited": _awhole,
    "awaited chat": _achat,
    "async stream": _astreamed,
    "async stream left": _aleft,
    "cancelled": _acancelled,
    "awaited python": _apython,
}
