"""Text that comes piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["add_call_piece", "partial_suffix"]


def add_call_piece(calls: dict[int, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Adds a streamed piece of a tool call to the calls that have come so far, by their index."""
    function = piece.get("function") or {}
    new = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(piece.get("index", 0), new)
    call["id"] = piece.get("id") or call["id"]
    for key in ("name", "arguments"):
        call["function"][key] += function.get(key) or ""
    if piece.get("error"):
        call["error"] = piece["error"]


def partial_suffix(text: str, *tags: str) -> int:
    """How many characters at the end of a text may begin one of the tags."""
    longest = 0
    for tag in tags:
        for size in range(min(len(tag) - 1, len(text)), longest, -1):
            if text.endswith(tag[:size]):
                longest = size
                break
    return longest
