"""What requests and answers share."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

__all__ = [
    "ChatCompletionFinishReason",
    "JsonType",
]

JsonType: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
"""Any value that JSON can hold."""

ChatCompletionFinishReason: TypeAlias = Literal[
    "stop", "length", "tool_calls", "function_call", "content_filter"
]
"""Why an answer ended: a stop, ``max_tokens`` or the context, a tool call, a legacy function call."""
