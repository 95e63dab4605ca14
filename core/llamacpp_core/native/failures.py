"""Turns what the native layer reports into exceptions. The only place that does."""

from __future__ import annotations

import json
from typing import Any

from llamacpp_core.errors import (
    ContextOverflowError,
    EngineClosedError,
    GenerationError,
    GrammarError,
    InvalidMessageError,
    InvalidParameterError,
    LlamaCppError,
    UnsupportedCapabilityError,
)
from llamacpp_core.native import ffi, lib, text

__all__ = ["error_from_report", "last_error", "last_report"]

#: How llama.cpp's messages about pictures and sounds begin, which it decodes when a request's turn comes.
_UNREADABLE = "Failed to format input: "
#: Its message for a picture whose tokens see one another, but do not fit into one step.
_SMALL_STEP = "non-causal attention requires n_ubatch"


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
    if kind == "invalid_message":
        where, _, _ = message.partition(": ")
        index = int(where.removeprefix("messages[").partition("]")[0])
        return InvalidMessageError(message, parameter=where, index=index)
    if kind == "closed":
        return EngineClosedError(message)
    if kind == "invalid_request":
        if message.startswith(_UNREADABLE):
            return InvalidMessageError(
                "messages: a picture or a sound in them cannot be read: it is damaged, or the projector "
                f"does not belong to this model ({message.removeprefix(_UNREADABLE)})",
                parameter="messages",
            )
        return InvalidParameterError(message)
    if kind == "invalid_grammar":
        return GrammarError(message, parameter="grammar")
    if kind == "not_supported":
        return UnsupportedCapabilityError(message)
    if _SMALL_STEP in message:
        return GenerationError(
            "this projector's pictures are read in one step, and have more tokens than a step may: load the "
            "model with a larger n_ubatch"
        )
    return GenerationError(message)
