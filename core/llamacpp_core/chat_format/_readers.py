"""Turning generated text into the deltas of a chat answer, piece by piece."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from llamacpp_core.chat_format._tool_text import TOOL_CALL_TAG, ToolText, read_tool_text
from llamacpp_core.chat_format.named import ToolSyntax
from llamacpp_core.types import ChatCompletionStreamResponseDelta

__all__ = ["ChoiceReader", "ForcedReader", "Reader", "TextReader", "ToolTextReader"]

Delta = ChatCompletionStreamResponseDelta


class Reader(ABC):
    """Takes the pieces of one answer; a new one for each choice.

    Attributes:
        called: Whether a tool call has been read.
    """

    called = False

    @abstractmethod
    def feed(self, text: str) -> list[Delta]:
        """The deltas that a piece of text makes known."""

    def finish(self) -> list[Delta]:
        """The deltas that only the end makes known."""
        return []

    def _opened(self, index: int, name: str, arguments: str = "") -> Delta:
        self.called = True
        call_id = f"call_{os.urandom(12).hex()}"
        function = {"name": name, "arguments": arguments}
        return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}  # type: ignore[typeddict-item]

    def _taken_apart(self, parsed: ToolText) -> list[Delta]:
        deltas: list[Delta] = [{"content": parsed.content}] if parsed.content else []
        return deltas + [self._opened(index, *call) for index, call in enumerate(parsed.calls)]


class TextReader(Reader):
    """Text is the answer."""

    def feed(self, text: str) -> list[Delta]:
        """The text as content."""
        return [{"content": text}] if text else []


class ForcedReader(Reader):
    """Text is the arguments of a call of ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def feed(self, text: str) -> list[Delta]:
        """The text as arguments, after the head of the call."""
        head = [] if self.called else [self._opened(0, self._name)]
        if text:
            head.append({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
        return head


class ChoiceReader(Reader):
    """Text is a JSON object with the ``name`` and ``arguments`` of a call."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, text: str) -> list[Delta]:
        """Nothing yet: the name has to be complete."""
        self._text += text
        return []

    def finish(self) -> list[Delta]:
        """The call, or the text as it is when generation was cut off inside it."""
        try:
            call = json.loads(self._text)
            name, arguments = call["name"], call["arguments"]
        except (ValueError, KeyError, TypeError):
            return [{"content": self._text}]
        return [self._opened(0, name, json.dumps(arguments, ensure_ascii=False))]


class ToolTextReader(Reader):
    """Text may hold calls in a format's own syntax.

    Where a tag opens a call, the text before it is passed on at once; in the other syntaxes only the whole
    text tells, and it is kept back until the end.
    """

    def __init__(self, syntax: ToolSyntax, names: Collection[str]) -> None:
        self._syntax = syntax
        self._names = names
        self._kept = ""

    def feed(self, text: str) -> list[Delta]:
        """The text up to what may be the beginning of a call."""
        self._kept += text
        if self._syntax != "tool_call_tags":
            return []
        sure = self._kept.find(TOOL_CALL_TAG)
        if sure < 0:
            sure = len(self._kept) - _overlap(self._kept, TOOL_CALL_TAG)
        # White space may only lead to a call, and is taken off there.
        sure = len(self._kept[:sure].rstrip())
        if sure == 0:
            return []
        passed, self._kept = self._kept[:sure], self._kept[sure:]
        return [{"content": passed}]

    def finish(self) -> list[Delta]:
        """The calls, and what text is left."""
        return self._taken_apart(read_tool_text(self._kept, self._syntax, self._names))


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of ``text`` that begins ``tag``."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)


ReaderFactory = Callable[[], Reader]
