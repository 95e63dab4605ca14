"""Parsers of generated text: reasoning, content and calls, piece by piece.

Each has ``feed(text)``, which returns the message deltas that a further piece completes, and ``finish()``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from llamacpp_core.engine.plan import Plan
from llamacpp_core.engine.text import partial_suffix
from llamacpp_core.errors import LlamaCppError
from llamacpp_core.native import ffi, lib
from llamacpp_core.native.failures import last_error
from llamacpp_core.response.choice import OutputParser

__all__ = [
    "CallsAfterTrigger",
    "CallsAtStart",
    "NativeParser",
    "ReasoningSplitter",
    "Tags",
    "Then",
    "WholeJson",
    "splits_like_native",
]

Deltas = list[dict[str, Any]]

#: A text is read again when this part of its length is new.
_REREAD = 64


class Tags(NamedTuple):
    """How a template marks reasoning.

    Attributes:
        start: The text that opens it.
        ends: The texts that close it.
        is_open: The prompt has opened it already.
        calls: Texts that begin a call, and end reasoning that the model has not closed.
    """

    start: str
    ends: tuple[str, ...]
    is_open: bool
    calls: tuple[str, ...] = ()


class ReasoningSplitter:
    """Splits text into reasoning and content, in time linear in the text.

    Space around the tags belongs to neither.
    """

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._held = ""
        self._inside = tags.is_open
        self._at_start = True  # of the reasoning, or of the content
        self.seen_content = False

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        self._held += text
        deltas: Deltas = []
        while True:
            if self._at_start:
                self._held = self._held.lstrip()
                if not self._held:
                    return deltas
            more = self._reasoning(deltas) if self._inside else self._content(deltas)
            if not more:
                return deltas

    def _reasoning(self, deltas: Deltas) -> bool:
        ends = (*self._tags.ends, *self._tags.calls)
        found = min(((at, end) for end in ends if (at := self._held.find(end)) >= 0), default=None)
        if found is not None:
            at, end = found
            self._emit(deltas, "reasoning_content", self._held[:at].rstrip())
            self._held = self._held[at + (len(end) if end in self._tags.ends else 0) :]
            self._inside, self._at_start = False, True
            return True
        keep = partial_suffix(self._held, *ends)
        ready = self._held[: len(self._held) - keep]
        piece = ready.rstrip()
        self._emit(deltas, "reasoning_content", piece)
        self._held = self._held[len(piece) :]
        return False

    def _content(self, deltas: Deltas) -> bool:
        start = self._tags.start
        if self._at_start and start and not self.seen_content:
            if self._held.startswith(start):
                self._held = self._held[len(start) :]
                self._inside = True
                return True
            if start.startswith(self._held):
                return False
        self.seen_content = True
        self._emit(deltas, "content", self._held)
        self._held = ""
        return False

    def _emit(self, deltas: Deltas, key: str, text: str) -> None:
        if text:
            self._at_start = False
            deltas.append({key: text})

    def finish(self) -> Deltas:
        """Text that was held back."""
        held, self._held = self._held, ""
        if self._inside:
            held = held.rstrip()
        key = "reasoning_content" if self._inside else "content"
        return [{key: held}] if held else []


class Then:
    """A parser whose content another parser reads."""

    def __init__(self, first: OutputParser, second: OutputParser | None) -> None:
        self._first = first
        self._second = second

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        return bool(getattr(self._second, "complete", False))

    def _pass(self, deltas: Deltas) -> Deltas:
        if self._second is None:
            return deltas
        out: Deltas = []
        for delta in deltas:
            out += self._second.feed(delta["content"]) if "content" in delta else [delta]
        return out

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        return self._pass(self._first.feed(text))

    def finish(self) -> Deltas:
        """Text that was held back."""
        out = self._pass(self._first.finish())
        return out + self._second.finish() if self._second is not None else out


class WholeJson:
    """Passes an answer on that is one JSON value, and knows whether it has ended."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        text = "".join(self._pieces).rstrip()
        if not text.endswith(("}", "]", '"')):
            return False  # digits could go on
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        self._pieces.append(text)
        return [{"content": text}] if text else []

    def finish(self) -> Deltas:
        """Nothing is held back."""
        return []


class NativeParser:
    """llama.cpp's own parser of a template's format.

    It reads the whole text again each time, so it is used from the point where it is needed, and the longer
    the text, the more of it has to be new before it is read again.
    Text that does not have the form the template promises is still the model's answer: it becomes content.

    Args:
        plan: The planned request.
        primer: What the prompt holds beyond the point where the template's answers begin.
    """

    def __init__(self, plan: Plan, primer: str = "") -> None:
        self._plan = plan  # owns what the parser is made from
        self._primer = primer
        self._native: Any = None  # made when text comes: with many tools that takes a while
        self._failed = False
        self._waiting = ""
        self._read = 0

    def _open(self) -> None:
        self._native = ffi.gc(lib.lc_parser_new(self._plan._native), lib.lc_parser_free)
        if self._native == ffi.NULL:
            raise last_error()
        if self._primer:
            self._feed(self._primer, partial=True)

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        self._waiting += text
        if len(self._waiting) * _REREAD < self._read:
            return []
        waiting, self._waiting = self._waiting, ""
        return self._feed(waiting, partial=True)

    def finish(self) -> Deltas:
        """What is left when the text has ended."""
        waiting, self._waiting = self._waiting, ""
        deltas = self._feed(waiting, partial=True) if waiting else []
        return deltas if self._failed else deltas + self._feed("", partial=False)

    def _feed(self, text: str, *, partial: bool) -> Deltas:
        if self._failed:
            return [{"content": text}] if text else []
        if self._native is None:
            self._open()
        data = text.encode()
        self._read += len(text)
        out = lib.lc_parser_feed(self._native, data, len(data), partial)
        if out == ffi.NULL:
            self._failed = True
            return [{"content": text}] if text else []
        deltas: Deltas = json.loads(ffi.string(out))
        return deltas


class CallsAfterTrigger:
    """Content until the first sign of a call, then llama.cpp's parser for the rest.

    Args:
        plan: The planned request.
        tags: The template's reasoning tags.
        triggers: The texts that begin a call.
        primer: What llama.cpp's parser has to read before the content, because the prompt holds it.
    """

    def __init__(self, plan: Plan, tags: Tags | None, triggers: tuple[str, ...], primer: str = "") -> None:
        self._plan = plan
        self._triggers = triggers
        self._primer = primer
        self._splitter = ReasoningSplitter(tags) if tags is not None else None
        self._held = ""
        self._native: NativeParser | None = None

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        if self._native is not None:
            return self._native.feed(text)
        deltas: Deltas = []
        for delta in self._splitter.feed(text) if self._splitter else [{"content": text}]:
            if "content" in delta:
                deltas += self._content(delta["content"])
            else:
                deltas.append(delta)
        return deltas

    def _content(self, text: str) -> Deltas:
        if self._native is not None:
            return self._native.feed(text)
        self._held += text
        at = min((i for t in self._triggers if (i := self._held.find(t)) >= 0), default=-1)
        if at < 0:
            keep = partial_suffix(self._held, *self._triggers)
            piece, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
            return [{"content": piece}] if piece else []
        piece, rest = self._held[:at], self._held[at:]
        self._held = ""
        self._native = NativeParser(self._plan, self._primer)
        piece = piece.rstrip()
        return ([{"content": piece}] if piece else []) + self._native.feed(rest)

    def finish(self) -> Deltas:
        """Text that was held back."""
        if self._native is not None:
            return self._native.finish()
        deltas: Deltas = []
        for delta in self._splitter.finish() if self._splitter else []:
            deltas += self._content(delta["content"]) if "content" in delta else [delta]
        if self._native is not None:
            return deltas + self._native.finish()
        held, self._held = self._held, ""
        return [*deltas, {"content": held}] if held else deltas


def _merged(parser: OutputParser, text: str) -> dict[str, str]:
    out = {"content": "", "reasoning_content": ""}
    for delta in [*parser.feed(text), *parser.finish()]:
        for key in out:
            out[key] += delta.get(key) or ""
    return out


class CallsAtStart:
    """Content, unless the answer begins like a call: then llama.cpp's parser reads it.

    Args:
        plan: The planned request.
        start: How a call begins.
        primer: What llama.cpp's parser has to read before the content, because the prompt holds it.
    """

    def __init__(self, plan: Plan, start: str, primer: str = "") -> None:
        self._plan = plan
        self._start = start
        self._primer = primer
        self._held = ""
        self._inner: NativeParser | None = None
        self._decided = False

    def feed(self, text: str) -> Deltas:
        """Deltas that a further piece of text completes."""
        if not self._decided:
            self._held += text
            if not self._held.strip():
                return []
            text, self._held = self._held, ""
            self._decided = True
            if text.lstrip().startswith(self._start):
                self._inner = NativeParser(self._plan, self._primer)
        if self._inner is not None:
            return self._inner.feed(text)
        return [{"content": text}] if text else []

    def finish(self) -> Deltas:
        """Text that was held back."""
        if self._inner is not None:
            return self._inner.finish()
        held, self._held = self._held, ""
        return [{"content": held}] if held else []


def splits_like_native(plan: Plan, tags: Tags | None, *shown: str) -> bool:
    """Whether the linear splitter reads this format as llama.cpp's parser does.

    Args:
        plan: The planned request.
        tags: How the template marks reasoning.
        shown: Answers in the template's form, to compare on beside plain ones.
    """
    samples = ["Hello, *world*.\n\nA second line.  "]
    if tags is not None:
        opening = "" if tags.is_open else tags.start
        samples = [f"{opening}\nFirst.\n\nThen {end}\n\nHello, *world*.\nMore. " for end in tags.ends]
        samples += [] if tags.is_open else ["Hello, *world*.\n\nA second line. "]
    try:
        for sample in (*samples, *shown):
            linear = (
                _merged(ReasoningSplitter(tags), sample)
                if tags
                else {"content": sample, "reasoning_content": ""}
            )
            native = _merged(NativeParser(plan), sample)
            if {k: v.strip() for k, v in linear.items()} != {k: v.strip() for k, v in native.items()}:
                return False
    except LlamaCppError:
        return False
    return True
