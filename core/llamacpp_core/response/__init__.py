"""From the engine's events to answers in OpenAI's shapes: parsers, assemblers, log-probabilities."""

from __future__ import annotations

__all__: list[str] = []
