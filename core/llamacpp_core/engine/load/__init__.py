"""From load options and a model's files to a running engine and the facts about it."""

from __future__ import annotations

__all__: list[str] = []
