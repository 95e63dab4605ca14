"""How the text of a tool call is read.

A forced call is written in a form of our own, the same for every template: a JSON object
``{"name": ..., "arguments": {...}}``, or an array of them where several are allowed. A grammar admits
nothing else, so the call is valid whatever the model would have liked to say.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

__all__ = ["CALL_CLOSE", "CALL_OPEN", "ForcedCallParser", "TaggedCallParser"]

CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"


def new_call_id() -> str:
    """An id for a call, unique in this process and beyond."""
    return "call_" + uuid.uuid4().hex[:24]


class _CallReader:
    """Reads one ``{"name": ..., "arguments": {...}}`` piece by piece."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.head = ""
        self.in_arguments = False
        self.depth = 0
        self.in_string = False
        self.escaped = False
        self.ended = False

    def feed(self, text: str) -> tuple[list[dict[str, Any]], str]:
        """Deltas, and the text after the call's arguments."""
        deltas = []
        if not self.in_arguments:
            self.head += text
            found = _call_head(self.head)
            if found is None:
                return [], ""
            name, start = found
            deltas.append(
                {
                    "tool_calls": [
                        {
                            "index": self.index,
                            "id": new_call_id(),
                            "type": "function",
                            "function": {"name": name, "arguments": ""},
                        }
                    ]
                }
            )
            text, self.in_arguments = self.head[start:], True
        end = self._scan(text)
        piece, rest = text[:end], text[end:]
        if piece:
            deltas.append({"tool_calls": [{"index": self.index, "function": {"arguments": piece}}]})
        return deltas, rest

    def _scan(self, text: str) -> int:
        """Where the arguments end in this piece, or its length."""
        for i, char in enumerate(text):
            if self.in_string:
                if self.escaped:
                    self.escaped = False
                elif char == "\\":
                    self.escaped = True
                elif char == '"':
                    self.in_string = False
            elif char == '"':
                self.in_string = True
            elif char in "{[":
                self.depth += 1
            elif char in "}]":
                self.depth -= 1
                if self.depth == 0:
                    self.ended = True
                    return i + 1
        return len(text)


def _call_head(head: str) -> tuple[str, int] | None:
    """The name and where the arguments begin, or None if the text has not come that far."""
    try:
        name_at = head.index('"', head.index('"name"') + len('"name"'))
        name, name_end = json.JSONDecoder().raw_decode(head, name_at)
        return name, head.index("{", head.index('"arguments"', name_end))
    except ValueError:
        return None


class ForcedCallParser:
    """Reads an answer that is one call, or an array of calls, and nothing else.

    Attributes:
        count: Calls so far.
        complete: Whether the text may end here.
    """

    def __init__(self) -> None:
        self.count = 0
        self.complete = False
        self._in_array = False
        self._reader: _CallReader | None = None
        self._in_call = False  # after the arguments, the call's own brace is missing

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Deltas that a further piece of text completes."""
        deltas: list[dict[str, Any]] = []
        while text:
            if self._reader is None:
                text = self._between(text)
                if self._reader is None:
                    break
            new, text = self._reader.feed(text)
            deltas += new
            if not self._reader.ended:
                break
            self._reader, self._in_call = None, True
        return deltas

    def _between(self, text: str) -> str:
        """Reads what is between calls; returns the text from the next one on."""
        for i, char in enumerate(text):
            if char == "{":
                self._reader = _CallReader(self.count)
                self.count += 1
                self.complete = False
                return text[i:]
            if char == "[":
                self._in_array, self.complete = True, False
            elif char == "}" and self._in_call:
                self._in_call = False
                self.complete = not self._in_array
            elif char == "]":
                self._in_array, self.complete = False, True
        return ""

    def finish(self) -> list[dict[str, Any]]:
        """Nothing is held back that a complete call needs."""
        return []


class TaggedCallParser:
    """Reads text in which calls are between ``<tool_call>`` and ``</tool_call>``.

    Space around calls belongs to neither them nor the content.
    """

    def __init__(self) -> None:
        self._held = ""
        self._space = ""  # content that a call may follow, or that follows one
        self._inside = False
        self._calls = ForcedCallParser()

    @property
    def complete(self) -> bool:
        """Whether the text may end here, after a call."""
        return self._calls.count > 0 and not self._inside and self._calls.complete

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Deltas that a further piece of text completes."""
        self._held += text
        deltas: list[dict[str, Any]] = []
        while True:
            tag = CALL_CLOSE if self._inside else CALL_OPEN
            at = self._held.find(tag)
            if at >= 0:
                piece, self._held = self._held[:at], self._held[at + len(tag) :]
            else:
                keep = _partial_tag(self._held, tag)
                piece, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
            if self._inside:
                deltas += self._calls.feed(piece)
            else:
                deltas += self._content(piece)
            if at < 0:
                return deltas
            self._space = ""
            self._inside = not self._inside

    def _content(self, piece: str) -> list[dict[str, Any]]:
        text = self._space + piece
        ready = text.rstrip()
        self._space = text[len(ready) :]
        return [{"content": ready}] if ready else []

    def finish(self) -> list[dict[str, Any]]:
        """Text that was held back because a tag could have begun in it."""
        held, self._held = self._space + self._held, ""
        if self._inside or (self._calls.count and not held.strip()):
            return []
        return [{"content": held}] if held else []


def _partial_tag(text: str, tag: str) -> int:
    """How many characters at the end of the text may begin the tag."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0
