"""Reads JSON that is still being written."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["parse_partial_json"]

_CLOSERS = {"{": "}", "[": "]"}


def parse_partial_json(text: str) -> Any:
    """The value that a prefix of a JSON text holds so far.

    Strings appear as far as they are written; numbers, literals and names appear when they are complete.

    Args:
        text: The beginning of a JSON text.

    Returns:
        The value; None where there is nothing yet, or where the text is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    for candidate in _completions(text):
        try:
            return json.loads(candidate, strict=False)
        except ValueError:
            continue
    return None


def _completions(text: str) -> list[str]:
    """Ways to complete the text, the one that keeps most first."""
    stack: list[str] = []
    safe: list[tuple[int, str]] = []  # where the text can be cut, and what closes it there
    string_at = -1
    escaped = False
    for i, char in enumerate(text):
        if string_at >= 0:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                string_at = -1
                safe.append((i + 1, "".join(reversed(stack))))
        elif char == '"':
            string_at = i
        elif char in _CLOSERS:
            stack.append(_CLOSERS[char])
            safe.append((i + 1, "".join(reversed(stack))))
        elif char in "}]":
            if not stack or stack.pop() != char:
                return []
            safe.append((i + 1, "".join(reversed(stack))))
        elif char == ",":
            safe.append((i, "".join(reversed(stack))))
    closers = "".join(reversed(stack))
    out = []
    if string_at >= 0:
        out += [_whole_escapes(text[string_at:], text[:string_at]) + '"' + closers]
    # A cut behind a name, or inside a number, gives no JSON: then an earlier one is right.
    return out + [text[:at] + closing for at, closing in reversed(safe[-4:])]


def _whole_escapes(string: str, before: str) -> str:
    """The text with an unfinished escape at its end left out."""
    at = 1
    while at < len(string):
        if string[at] != "\\":
            at += 1
            continue
        size = 6 if string[at + 1 : at + 2] == "u" else 2
        if at + size > len(string):
            return before + string[:at]
        at += size
    return before + string
