"""One of the answers of a request, as it comes in."""

from __future__ import annotations

from typing import Any, Protocol

from llamacpp_core.engine.events import Final
from llamacpp_core.engine.text import add_call_piece

__all__ = ["Choice", "Delta", "OutputParser"]

Delta = dict[str, Any]


class OutputParser(Protocol):
    """Splits the text of an answer into message deltas: content, reasoning, tool calls."""

    def feed(self, text: str) -> list[Delta]:
        """Deltas that a further piece of text completes."""

    def finish(self) -> list[Delta]:
        """What is left when the text has ended."""


class Choice:
    """What has come in for one of the ``n`` answers."""

    def __init__(self, parser: OutputParser | None) -> None:
        self.parser = parser
        self.started = False
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.logprobs: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []  # logprobs of tokens whose text has not come
        self.final: Final | None = None

    def merge(self, delta: Delta) -> None:
        """Adds a delta to the message."""
        if delta.get("content"):
            self.text.append(delta["content"])
        if delta.get("reasoning_content"):
            self.reasoning.append(delta["reasoning_content"])
        for piece in delta.get("tool_calls", ()):
            add_call_piece(self.calls, piece)

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in OpenAI's words."""
        assert self.final is not None
        cut = self.final.stop_type not in ("eos", "word")
        if cut and not getattr(self.parser, "complete", False):
            return "length"
        return "tool_calls" if self.calls else "stop"

    @property
    def ending(self) -> dict[str, Any]:
        """Why the answer ended, for its choice."""
        assert self.final is not None
        word = self.final.stopping_word
        return {"finish_reason": self.finish_reason} | ({"stop_reason": word} if word else {})
