"""Text that comes piece by piece."""

from __future__ import annotations

__all__ = ["partial_suffix"]


def partial_suffix(text: str, *tags: str) -> int:
    """How many characters at the end of a text may begin one of the tags."""
    longest = 0
    for tag in tags:
        for size in range(min(len(tag) - 1, len(text)), longest, -1):
            if text.endswith(tag[:size]):
                longest = size
                break
    return longest
