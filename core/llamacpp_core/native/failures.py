"""Turns what the native layer reports into exceptions. The only place that does."""

from __future__ import annotations

import json
from typing import Any

from llamacpp_core.errors import (
    ContextOverflowError,
    EngineClosedError,
    GenerationError,
    GrammarError,
    InvalidParameterError,
    LlamaCppError,
    UnsupportedCapabilityError,
)
from llamacpp_core.native import ffi, lib, text

__all__ = ["error_from_report", "last_error", "last_report"]


def last_report() -> dict[str, Any]:
    """The last failure on this thread, as the native layer describes it: at least type and message.

    A failure is reported once.
    """
    pointer = lib.lc_take_error()
    if pointer == ffi.NULL:
        return {"type": "native", "message": "the native layer failed and gave no reason"}
    report: dict[str, Any] = json.loads(text(pointer))
    return report


def last_error() -> LlamaCppError:
    """The exception for the last native failure on this thread."""
    return error_from_report(last_report())


def error_from_report(report: dict[str, Any]) -> LlamaCppError:
    """The exception for one failure report of the native layer."""
    kind, message = report["type"], report["message"]
    if kind == "context_overflow":
        n_prompt, n_ctx = int(report["n_prompt_tokens"]), int(report["n_ctx"])
        return ContextOverflowError(
            f"the prompt has {n_prompt} tokens and the context of one request holds {n_ctx}: "
            "shorten the prompt or load the model with a larger n_ctx",
            n_prompt_tokens=n_prompt,
            n_ctx=n_ctx,
        )
    if kind == "closed":
        return EngineClosedError(message)
    if kind == "invalid_request":
        return InvalidParameterError(message)
    if kind == "invalid_grammar":
        return GrammarError(message, parameter="grammar")
    if kind == "not_supported":
        return UnsupportedCapabilityError(message)
    return GenerationError(message)
