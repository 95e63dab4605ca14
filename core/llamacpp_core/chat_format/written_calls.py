"""Reading tool calls out of what a model wrote, for the named formats with a syntax of their own.

Only the whole text tells a call from text that resembles one, so an answer is kept back until its end. Calls
between ``<tool_call>`` tags are read by ``TaggedCallParser`` instead, piece by piece.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from llamacpp_core.chat_format.named import ToolSyntax
from llamacpp_core.response.tool_calls import whole_call

__all__ = ["ToolText", "WrittenCallParser", "read_tool_text"]


@dataclass
class ToolText:
    """An answer taken apart.

    Attributes:
        content: The text for the user.
        calls: Name and JSON arguments of each call.
    """

    content: str
    calls: list[tuple[str, str]] = field(default_factory=list)


def read_tool_text(text: str, syntax: ToolSyntax, names: Collection[str]) -> ToolText:
    """Takes an answer apart.

    Args:
        text: What the model wrote. Special tokens may be missing from it, as engines leave them out.
        syntax: How its format writes calls.
        names: The functions offered: where a call can only be told by its name, one of these counts.

    Returns:
        The calls and the remaining text; text that only resembles a call stays text.
    """
    return _READERS[syntax](text, names)


class WrittenCallParser:
    """Reads an answer that may hold calls in a format's own syntax.

    Args:
        syntax: How the format writes calls.
        names: The functions offered.
    """

    def __init__(self, syntax: ToolSyntax, names: Collection[str]) -> None:
        self._syntax = syntax
        self._names = names
        self._text = ""

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Nothing yet."""
        self._text += text
        return []

    def finish(self) -> list[dict[str, Any]]:
        """The text that is left, and the calls."""
        found = read_tool_text(self._text, self._syntax, self._names)
        deltas: list[dict[str, Any]] = [{"content": found.content}] if found.content else []
        return deltas + [whole_call(index, *call) for index, call in enumerate(found.calls)]


def _json_at(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at or after white space at ``start``, and where it ends."""
    while start < len(text) and text[start].isspace():
        start += 1
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value, end


def _written(arguments: dict[str, Any]) -> str | None:
    """Arguments as JSON; None if JSON cannot hold them."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which stays an escape
        return json.dumps(arguments)
    except (TypeError, ValueError, RecursionError):
        return None
    return text


def _message_prefix(text: str, names: Collection[str]) -> ToolText:  # noqa: ARG001  (the prefix tells)
    result = ToolText("")
    position = 0
    for match in re.finditer(r"^functions\.([\w.-]+):", text, re.MULTILINE):
        found = _json_at(text, match.end())
        if match.start() < position or found is None or not isinstance(found[0], dict):
            continue
        arguments = _written(found[0])
        if arguments is None:
            continue
        result.content += text[position : match.start()]
        result.calls.append((match[1], arguments))
        position = found[1]
    content = (result.content + text[position:]).removeprefix("message:\n").removeprefix("message:")
    result.content = content.strip() if result.calls else content
    return result


def _functionary(text: str, names: Collection[str]) -> ToolText:
    match = re.match(r"\s*to=(?:functions\.)?([\w.-]+):\s*(.*)\Z", text, re.DOTALL)
    if match and match[1] in names:
        return ToolText("", [(match[1], match[2].strip())])
    return ToolText(re.sub(r"\A\s*:\s*", "", text))


def _functionary_v1(text: str, names: Collection[str]) -> ToolText:
    pattern = r"(?:\A|\n|<\|START_OF_FUNCTION_CALL\|>)\s*([\w.-]+):\n(.*)\Z"
    for match in re.finditer(pattern, text, re.DOTALL):
        if match[1] in names:
            content = text[: match.start()].removesuffix("<|START_OF_FUNCTION_CALL|>")
            return ToolText(content.strip(), [(match[1], match[2].strip())])
    return ToolText(text.removeprefix("\n"))


def _functionary_v2(text: str, names: Collection[str]) -> ToolText:
    result = ToolText("")
    for message in re.split(r"\n?<\|from\|>assistant\n<\|recipient\|>", text):
        header = re.match(r"\s*([\w.-]+)\s*\n(?:<\|content\|>)?", message)
        if header and header[1] in names:
            result.calls.append((header[1], message[header.end() :].strip()))
        elif header and header[1] == "all":
            result.content += message[header.end() :]
        else:
            result.content += message
    return result


def _chatglm3(text: str, names: Collection[str]) -> ToolText:
    match = re.match(r"\s*([\w.-]+)\s*\n\s*```python\n(.*?)\n?```", text, re.DOTALL)
    constants = _keyword_arguments(match[2].strip()) if match else None
    arguments = None if constants is None else _written(constants)
    if match is None or arguments is None or match[1] not in names:
        return ToolText(text.removeprefix("\n").removeprefix(" "))
    return ToolText(text[match.end() :].strip(), [(match[1], arguments)])


def _keyword_arguments(source: str) -> dict[str, Any] | None:
    """The keyword arguments of a written call, None if it is not one or they are not constants."""
    import ast

    quiet = _without_warnings(source)
    if quiet is None:
        return None
    constants = {"true": True, "false": False, "null": None}
    try:
        call = ast.parse(quiet, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        arguments: dict[str, Any] = {}
        for keyword in call.keywords:
            value = keyword.value
            named = isinstance(value, ast.Name) and value.id in constants
            parsed: Any = constants[value.id] if named else ast.literal_eval(value)  # type: ignore[attr-defined]
            arguments.update(parsed if keyword.arg is None else {keyword.arg: parsed})
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return arguments


# A comment, a literal of text, or a number that a word follows: what Python's parser may warn about, on the
# user's terminal; one thread cannot silence it without the others.
_WARNED = re.compile(
    r"""\#[^\n]*
      | (?P<kind>[a-zA-Z]{0,2}) (?P<quote>\'\'\'|"{3}|'|")
        (?P<text>(?:\\.|(?!(?P=quote))[^\\])*) (?:(?P=quote)|\\?\Z)
      | (?<![\w.]) (?P<number>\.?[0-9][\w.]*(?:and|else|for|if|in|is|not|or)) \b""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?P<octal>[4-7][0-7][0-7])|\\(?P<other>.)", re.DOTALL)


def _without_warnings(source: str) -> str | None:
    """The same constants in Python that its parser does not warn about; None if JSON cannot hold them."""
    pieces, position = [], 0
    for match in _WARNED.finditer(source):
        kind = (match["kind"] or "").lower()
        if match["number"] or "b" in kind:
            return None
        if match["quote"] and "r" not in kind:
            pieces += [source[position : match.start("text")], _ESCAPE.sub(_escape, match["text"])]
            position = match.end("text")
    return "".join(pieces) + source[position:]


def _escape(match: re.Match[str]) -> str:
    if match["octal"]:
        return f"\\u{int(match['octal'], 8):04x}"
    return match[0] if match["other"] in "\n\r\\'\"abfnrtv01234567xNuU" else "\\" + match[0]


_READERS: dict[ToolSyntax, Callable[[str, Collection[str]], ToolText]] = {
    "message_prefix": _message_prefix,
    "functionary": _functionary,
    "functionary-v1": _functionary_v1,
    "functionary-v2": _functionary_v2,
    "chatglm3": _chatglm3,
}
