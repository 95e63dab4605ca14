"""An answer shown while it comes: in place in a notebook, as running text in a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Protocol

from llamacpp_core.display.chat import message_parts
from llamacpp_core.display.markup import Html, escape, fragment, terminal_text
from llamacpp_core.display.timings import timings_line
from llamacpp_core.errors import InvalidParameterError

__all__ = ["Streamed", "astream", "jupyter_display", "stream"]

#: Seconds between two updates of a notebook's output.
_REFRESH = 0.05


class Streamed(str):
    """The text of an answer that was shown while it came; a notebook does not show it again.

    Attributes:
        message: The whole message: content, reasoning, tool calls.
        finish_reason: Why it ended; None when it was stopped, or the pieces did not say.
        usage: Tokens used, when the stream said so.
        timings: Times and speeds, when the stream said so.
        chunks: What was streamed, for example for :func:`~llamacpp_core.display.tokens_html`.
    """

    message: dict[str, Any]
    finish_reason: str | None
    usage: dict[str, Any] | None
    timings: dict[str, Any] | None
    chunks: list[Any]

    def _ipython_display_(self) -> None:
        """Nothing: it is shown already."""


class _Answer:
    """What has come so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.timings: dict[str, Any] | None = None
        self.chunks: list[Any] = []

    def add(self, piece: Any) -> tuple[str, str]:
        """Takes in a piece; gives the new text and the new reasoning."""
        self.chunks.append(piece)
        if isinstance(piece, str):
            self.text.append(piece)
            return piece, ""
        if not isinstance(piece, Mapping) or "choices" not in piece:
            raise InvalidParameterError(
                f"stream shows strings and the chunks of create_completion and create_chat_completion, not "
                f"{type(piece).__name__}: for other chunks pass their text, (chunk.content for chunk in ...)",
                parameter="pieces",
            )
        self.usage = piece.get("usage") or self.usage
        self.timings = piece.get("timings") or self.timings
        if not piece["choices"]:
            return "", ""
        choice = piece["choices"][0]
        if choice.get("index") or len(piece["choices"]) > 1:
            raise InvalidParameterError("stream shows one answer: ask for n=1", parameter="pieces")
        if "message" in choice:
            raise InvalidParameterError(
                "this is a whole response: pass stream=True, or use show(response)", parameter="pieces"
            )
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        reasoning = delta.get("reasoning_content") or ""
        self.text.append(text)
        self.reasoning.append(reasoning)
        for call in delta.get("tool_calls") or ():
            self._call(call.get("index", 0), call.get("function") or {}, call.get("id"))
        if delta.get("function_call"):
            self._call(0, delta["function_call"], None)
        return text, reasoning

    def _call(self, index: int, function: Mapping[str, Any], identifier: str | None) -> None:
        new = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self.calls.setdefault(index, new)
        call["id"] = identifier or call["id"]
        for key in ("name", "arguments"):
            call["function"][key] += function.get(key) or ""

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text)}
        if reasoning := "".join(self.reasoning):
            message["reasoning_content"] = reasoning
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return message

    def result(self) -> Streamed:
        out = Streamed("".join(self.text))
        out.message, out.finish_reason = self.message(), self.finish_reason
        out.usage, out.timings, out.chunks = self.usage, self.timings, self.chunks
        return out


class _Screen(Protocol):
    def update(self, answer: _Answer, text: str, reasoning: str) -> None: ...
    def end(self, answer: _Answer, stopped: bool) -> None: ...


class _Notebook:
    """Updates one output of a notebook in place."""

    def __init__(self, display: Any) -> None:
        self._handle = display(_bundle(fragment("", "")), raw=True, display_id=True)
        self._next = 0.0

    def update(self, answer: _Answer, text: str, reasoning: str) -> None:  # noqa: ARG002
        if time.monotonic() >= self._next:
            self._show(_picture(answer, "…"))
            self._next = time.monotonic() + _REFRESH

    def end(self, answer: _Answer, stopped: bool) -> None:
        note = "stopped" if stopped else ""
        if answer.finish_reason == "length":
            note = "cut off: the limit of tokens was reached"
        self._show(_picture(answer, "", note))

    def _show(self, html: Html) -> None:
        self._handle.update(_bundle(html), raw=True)


def _bundle(html: Html) -> dict[str, str]:
    return html._repr_mimebundle_()


def _picture(answer: _Answer, cursor: str, note: str = "") -> Html:
    message = answer.message()
    message["content"] += cursor
    body, text = message_parts(message, note)
    if answer.reasoning and not answer.text:
        body = body.replace("<details>", "<details open>", 1)
    if answer.timings and not cursor:
        line = timings_line(answer.timings)
        body += f'<div class="lcpp-dim">{escape(line)}</div>'
        text += f"\n{line}"
    return fragment(body, text)


class _Terminal:
    """Writes on as text comes."""

    def __init__(self) -> None:
        self._thinking = False

    def update(self, answer: _Answer, text: str, reasoning: str) -> None:  # noqa: ARG002
        if reasoning and not self._thinking:
            self._thinking = True
            self._write("(thinking) ")
        self._write(reasoning)
        if text and self._thinking:
            self._thinking = False
            self._write("\n\n")
        self._write(text)

    def end(self, answer: _Answer, stopped: bool) -> None:
        for call in answer.message().get("tool_calls", ()):
            self._write(f"\ncall {call['function']['name']}({call['function']['arguments']})")
        self._write(" [stopped]\n" if stopped else "\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(terminal_text(text))
        sys.stdout.flush()


def jupyter_display() -> Any:
    """IPython's ``display`` inside a kernel, where HTML is shown; None in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display  # type: ignore[import-not-found, unused-ignore]

    return display


def _screen() -> _Screen:
    display = jupyter_display()
    return _Terminal() if display is None else _Notebook(display)


def _check(pieces: Any, kind: type, otherwise: str) -> None:
    if isinstance(pieces, Mapping):
        raise InvalidParameterError(
            "this is a whole response: pass stream=True, or use show(response)", parameter="pieces"
        )
    if not isinstance(pieces, kind):
        raise InvalidParameterError(
            f"pieces must be what stream=True gives, not {type(pieces).__name__}: {otherwise}",
            parameter="pieces",
        )


def stream(pieces: Iterable[Any]) -> Streamed:
    """Shows an answer while it comes, and returns it.

    In a notebook one output is updated in place; elsewhere the text is written to stdout. The stream is
    closed at the end, also when the cell is interrupted.

    Args:
        pieces: ``create_completion(..., stream=True)``, ``create_chat_completion(..., stream=True)``, or
            strings.

    Raises:
        InvalidParameterError: The pieces are something else, or belong to several answers.
    """
    _check(pieces, Iterable, "for coroutines there is astream")
    screen, answer, whole = _screen(), _Answer(), False
    try:
        for piece in pieces:
            screen.update(answer, *answer.add(piece))
        whole = True
    finally:
        if close := getattr(pieces, "close", None):
            close()
        screen.end(answer, stopped=not whole)
    return answer.result()


async def astream(pieces: AsyncIterable[Any]) -> Streamed:
    """:func:`stream` for coroutines: shows ``await acreate_chat_completion(..., stream=True)``."""
    _check(pieces, AsyncIterable, "await acreate_chat_completion first, or use stream for an iterator")
    screen, answer, whole = _screen(), _Answer(), False
    try:
        async for piece in pieces:
            screen.update(answer, *answer.add(piece))
        whole = True
    finally:
        with contextlib.suppress(AttributeError):
            await pieces.aclose()  # type: ignore[attr-defined]
        screen.end(answer, stopped=not whole)
    return answer.result()
