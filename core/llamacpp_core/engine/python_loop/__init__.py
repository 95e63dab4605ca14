"""Generating with Python in every token: contexts, samplers and callbacks beside the engine's own loop."""

from __future__ import annotations

__all__: list[str] = []
