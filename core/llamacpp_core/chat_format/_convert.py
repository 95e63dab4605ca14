"""From text completions to chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, cast

from llamacpp_core.chat_format._readers import Delta, Reader, ReaderFactory
from llamacpp_core.types import (
    ChatCompletionLogprobs,
    ChatCompletionLogprobToken,
    ChatCompletionResponseChoice,
    ChatCompletionResponseMessage,
    ChatCompletionStreamResponseChoice,
    CompletionChoice,
    CompletionLogprobs,
    CreateChatCompletionResponse,
    CreateChatCompletionStreamResponse,
    CreateCompletionResponse,
)

__all__ = ["ChatCompletionStream", "completion_to_chat", "logprobs_to_chat"]

_PASSED_ON = ("usage", "system_fingerprint", "timings")


def logprobs_to_chat(logprobs: CompletionLogprobs | None) -> ChatCompletionLogprobs | None:
    """The log probabilities of a text completion in the shape of a chat completion."""
    if logprobs is None:
        return None
    tokens = zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True)
    content: list[ChatCompletionLogprobToken] = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": _utf8(token),
            "top_logprobs": [
                {"token": other, "logprob": value, "bytes": _utf8(other)}
                for other, value in (top or {}).items()
            ],
        }
        for token, logprob, top in tokens
        # Only the first token of an echoed prompt has none, and a chat answer has no prompt in it.
        if logprob is not None
    ]
    return {"content": content, "refusal": None}


def _utf8(token: str) -> list[int] | None:
    # A replacement character stands for bytes that the text no longer has.
    return None if "\N{REPLACEMENT CHARACTER}" in token else list(token.encode("utf-8", "surrogatepass"))


def completion_to_chat(
    completion: CreateCompletionResponse, reader: ReaderFactory, *, legacy: bool = False
) -> CreateChatCompletionResponse:
    """A chat completion made of a text completion.

    Args:
        completion: The text completion.
        reader: Makes the reader of each choice's text.
        legacy: Whether a tool call is given as ``function_call`` as well.
    """
    choices = [_chat_choice(choice, reader(), legacy) for choice in completion["choices"]]
    answer: dict[str, Any] = {
        "id": _chat_id(completion["id"]),
        "object": "chat.completion",
        "created": completion["created"],
        "model": completion["model"],
        "choices": choices,
    }
    answer.update({key: completion[key] for key in _PASSED_ON if key in completion})  # type: ignore[literal-required]
    return cast(CreateChatCompletionResponse, answer)


def _chat_id(completion_id: str) -> str:
    return f"chatcmpl-{completion_id.removeprefix('cmpl-')}"


def _chat_choice(choice: CompletionChoice, reader: Reader, legacy: bool) -> ChatCompletionResponseChoice:
    message = _merged(reader.feed(choice["text"]) + reader.finish())
    if legacy and "tool_calls" in message:
        message["function_call"] = {**message["tool_calls"][0]["function"]}
    return {
        "index": choice["index"],
        "message": message,
        "finish_reason": _finish_reason(choice["finish_reason"], reader, legacy),
        "logprobs": logprobs_to_chat(choice.get("logprobs")),
    }


def _finish_reason(reason: Any, reader: Reader, legacy: bool) -> Any:
    if reason == "stop" and reader.called:
        return "function_call" if legacy else "tool_calls"
    return reason


def _merged(deltas: list[Delta]) -> ChatCompletionResponseMessage:
    content = ""
    calls: dict[int, Any] = {}
    for delta in deltas:
        content += delta.get("content") or ""
        for part in delta.get("tool_calls") or ():
            function = part["function"]
            call = calls.setdefault(
                part["index"],
                {
                    "id": part.get("id"),
                    "type": "function",
                    "function": {"name": function.get("name"), "arguments": ""},
                },
            )
            call["function"]["arguments"] += function.get("arguments", "")
    message: ChatCompletionResponseMessage = {
        "role": "assistant",
        "content": content if content or not calls else None,
    }
    if calls:
        message["tool_calls"] = list(calls.values())
    return message


class ChatCompletionStream(Iterator[CreateChatCompletionStreamResponse]):
    """The chunks of a streamed answer; :meth:`close` ends the generation behind it."""

    def __init__(
        self, chunks: Iterator[CreateCompletionResponse], reader: ReaderFactory, *, legacy: bool = False
    ) -> None:
        self._source = chunks
        self._reader = reader
        self._readers: dict[int, Reader] = {}
        self._legacy = legacy
        self._chunks = self._converted()

    def __iter__(self) -> ChatCompletionStream:
        return self

    def __next__(self) -> CreateChatCompletionStreamResponse:
        chunk: CreateChatCompletionStreamResponse = next(self._chunks)
        return chunk

    def __enter__(self) -> ChatCompletionStream:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stream and the generation behind it; may be called again."""
        self._chunks.close()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _converted(self) -> Any:
        for chunk in self._source:
            made = [part for choice in chunk["choices"] for part in self._parts(choice)]
            extra = {key: chunk[key] for key in _PASSED_ON if key in chunk}  # type: ignore[literal-required]
            for position, part in enumerate(made):
                last = position == len(made) - 1
                yield _chunk(chunk, [part], extra if last else {})
            if not made and extra.get("usage"):
                yield _chunk(chunk, [], extra)

    def _parts(self, choice: CompletionChoice) -> Iterator[ChatCompletionStreamResponseChoice]:
        index = choice["index"]
        if index not in self._readers:
            self._readers[index] = self._reader()
            yield _part(index, {"role": "assistant", "content": ""})
        reader, reason = self._readers[index], choice["finish_reason"]
        deltas = reader.feed(choice["text"])
        if reason is not None:
            deltas += reader.finish()
        if self._legacy:
            deltas = [_with_function_call(delta) for delta in deltas]
        logprobs = logprobs_to_chat(choice.get("logprobs"))
        if logprobs is not None and not deltas:
            deltas = [{}]
        for delta in deltas:
            yield _part(index, delta, logprobs=logprobs)
            logprobs = None
        if reason is not None:
            yield _part(index, {}, finish_reason=_finish_reason(reason, reader, self._legacy))


def _with_function_call(delta: Delta) -> Delta:
    calls = [call for call in delta.get("tool_calls") or () if call["index"] == 0]
    return {**delta, "function_call": {**calls[0]["function"]}} if calls else delta


def _part(
    index: int, delta: Delta, *, finish_reason: Any = None, logprobs: ChatCompletionLogprobs | None = None
) -> ChatCompletionStreamResponseChoice:
    return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}


def _chunk(
    completion: CreateCompletionResponse,
    choices: list[ChatCompletionStreamResponseChoice],
    extra: dict[str, Any],
) -> CreateChatCompletionStreamResponse:
    made: dict[str, Any] = {
        "id": _chat_id(completion["id"]),
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": completion["model"],
        "choices": choices,
        **extra,
    }
    return cast(CreateChatCompletionStreamResponse, made)
