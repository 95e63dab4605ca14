"""Reads the header of a GGUF file: metadata and tensors, without loading the weights."""

from __future__ import annotations

__all__: list[str] = []
