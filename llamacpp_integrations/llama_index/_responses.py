"""OpenAI-shaped answers and chunks as LlamaIndex's responses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llamacpp_core.response.cut_off import MessageSoFar, check_complete

__all__ = [
    "ChatStream",
    "CompletionStream",
    "as_completion",
    "chat_response",
    "completion_response",
]


def chat_response(data: Mapping[str, Any], params: Mapping[str, Any]) -> ChatResponse:
    """A chat completion; its usage and timings stay in ``raw``.

    Raises:
        IncompleteOutputError: The answer was cut off where only a whole one is of use.
    """
    choice = data["choices"][0]
    message = choice["message"]
    check_complete(message, choice["finish_reason"], params)
    return ChatResponse(
        message=_message(
            message.get("content") or "",
            message.get("reasoning_content") or "",
            message.get("tool_calls") or (),
            _reasoning_tokens(data),
        ),
        raw=dict(data),
        logprobs=_chat_logprobs(choice.get("logprobs")),
        additional_kwargs=_usage(data),
    )


def completion_response(data: Mapping[str, Any]) -> CompletionResponse:
    """A text completion."""
    choice = data["choices"][0]
    return CompletionResponse(
        text=choice["text"],
        raw=dict(data),
        logprobs=_text_logprobs(choice.get("logprobs")),
        additional_kwargs=_usage(data),
    )


def as_completion(response: ChatResponse) -> CompletionResponse:
    """A chat response as what ``complete`` returns."""
    thinking = "".join(b.content or "" for b in response.message.blocks if isinstance(b, ThinkingBlock))
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        logprobs=response.logprobs,
        additional_kwargs=response.additional_kwargs | ({"thinking": thinking} if thinking else {}),
    )


class ChatStream:
    """Makes responses from chunks: each with the message so far and what is new in it.

    Every response has a message of its own, so a consumer may keep or change any of them.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.so_far = MessageSoFar()
        self.logprobs: list[list[LogProb]] = []

    def add(self, chunk: Mapping[str, Any]) -> ChatResponse | None:
        """The response that a chunk makes; None for a chunk that adds nothing.

        Raises:
            IncompleteOutputError: The answer was cut off where only a whole one is of use.
        """
        choice = chunk["choices"][0] if chunk["choices"] else {"delta": {}}
        delta = choice["delta"]
        self.so_far.add(delta)
        check_complete(self.so_far.message, choice.get("finish_reason"), self.params)
        logprobs = _chat_logprobs(choice.get("logprobs")) or []
        self.logprobs += logprobs
        last = bool(choice.get("finish_reason")) or "usage" in chunk
        if not (
            last or logprobs or "prompt_progress" in chunk or any(delta.get(k) for k in delta if k != "role")
        ):
            return None
        extra = _usage(chunk)
        if delta.get("reasoning_content"):
            extra["thinking_delta"] = delta["reasoning_content"]
        so_far = self.so_far
        calls = [so_far.calls[i] for i in sorted(so_far.calls)]
        return ChatResponse(
            message=_message(so_far.text, so_far.reasoning, calls, _reasoning_tokens(chunk)),
            delta=delta.get("content") or "",
            raw=dict(chunk),
            logprobs=(self.logprobs if last else logprobs) or None,
            additional_kwargs=extra,
        )


class CompletionStream:
    """Makes responses from the chunks of a text completion."""

    def __init__(self) -> None:
        self.text = ""
        self.logprobs: list[list[LogProb]] = []

    def add(self, chunk: Mapping[str, Any]) -> CompletionResponse | None:
        """The response that a chunk makes; None for a chunk that adds nothing."""
        choice: dict[str, Any] = chunk["choices"][0] if chunk["choices"] else {"text": ""}
        self.text += choice["text"]
        logprobs = _text_logprobs(choice.get("logprobs")) or []
        self.logprobs += logprobs
        last = bool(choice.get("finish_reason")) or "usage" in chunk
        if not (last or choice["text"] or logprobs):
            return None
        return CompletionResponse(
            text=self.text,
            delta=choice["text"],
            raw=dict(chunk),
            logprobs=(self.logprobs if last else logprobs) or None,
            additional_kwargs=_usage(chunk),
        )


def _message(
    text: str, reasoning: str, calls: Sequence[Mapping[str, Any]], n_reasoning: int | None
) -> ChatMessage:
    blocks: list[Any] = []
    if reasoning:
        blocks.append(ThinkingBlock(content=reasoning, num_tokens=n_reasoning))
    if text or not calls:
        blocks.append(TextBlock(text=text))
    for call in calls:
        function = call["function"]
        blocks.append(
            ToolCallBlock(
                tool_call_id=call["id"],
                tool_name=function["name"],
                tool_kwargs=_arguments(function["arguments"]),
            )
        )
    # Parts of the framework look for calls here and not among the blocks.
    extra = {"tool_calls": [dict(call) for call in calls]} if calls else {}
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=extra)


def _arguments(text: str) -> dict[str, Any] | str:
    """The arguments once they are complete; before, their text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _usage(data: Mapping[str, Any]) -> dict[str, Any]:
    usage = data.get("usage") or {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: usage[name] for name in names if name in usage}


def _reasoning_tokens(data: Mapping[str, Any]) -> int | None:
    details = (data.get("usage") or {}).get("completion_tokens_details") or {}
    tokens = details.get("reasoning_tokens")
    return None if tokens is None else int(tokens)


def _chat_logprobs(logprobs: Mapping[str, Any] | None) -> list[list[LogProb]] | None:
    """Per token: the token itself, then its alternatives, likeliest first."""
    if not logprobs or not logprobs.get("content"):
        return None
    return [
        [_logprob(entry), *(_logprob(top) for top in entry["top_logprobs"] if top["token"] != entry["token"])]
        for entry in logprobs["content"]
    ]


def _logprob(entry: Mapping[str, Any]) -> LogProb:
    return LogProb(token=entry["token"], logprob=entry["logprob"], bytes=entry.get("bytes") or [])


def _text_logprobs(logprobs: Mapping[str, Any] | None) -> list[list[LogProb]] | None:
    if not logprobs or not logprobs.get("tokens"):
        return None
    out = []
    for token, logprob, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        others = [
            LogProb(token=t, logprob=p, bytes=list(t.encode())) for t, p in (top or {}).items() if t != token
        ]
        out.append([LogProb(token=token, logprob=logprob, bytes=list(token.encode())), *others])
    return out
