"""BERT checkpoints: conversion to GGUF, and the WordPiece tokenizer that their vectors depend on."""

from __future__ import annotations

__all__: list[str] = []
