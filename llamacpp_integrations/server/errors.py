"""What went wrong, as a status and in the form of the API that was called."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

from llamacpp_core.errors import (
    ContextOverflowError,
    EngineClosedError,
    GrammarError,
    InvalidMessageError,
    InvalidParameterError,
    LlamaCppError,
    ModelAllocationError,
    UnsupportedCapabilityError,
)

__all__ = ["Problem", "RefusedError", "anthropic_error", "anthropic_status", "openai_error", "problem_of"]

_LOGGER = logging.getLogger(__name__)

_CODES: tuple[tuple[type[InvalidParameterError], str], ...] = (
    (ContextOverflowError, "context_length_exceeded"),
    (GrammarError, "invalid_schema"),
    (UnsupportedCapabilityError, "unsupported"),
    (InvalidMessageError, "invalid_message"),
    (InvalidParameterError, "invalid_parameter"),
)
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Why a request gets no answer.

    Attributes:
        status: The HTTP status.
        message: What is wrong and what to change.
        code: A word for programs.
        parameter: The field of the request that is meant.
        retry_after: Seconds after which the same request may succeed.
    """

    status: int
    message: str
    code: str
    parameter: str | None = None
    retry_after: int | None = None


class RefusedError(Exception):
    """A request that the server itself refuses.

    Attributes:
        problem: Why.
    """

    def __init__(self, status: int, message: str, code: str, **more: Any) -> None:
        super().__init__(message)
        self.problem = Problem(status, message, code, **more)


def problem_of(error: BaseException) -> Problem:
    """What to answer after an exception. What no caller can know about is logged and not told."""
    if isinstance(error, BaseExceptionGroup):
        return problem_of(error.exceptions[0])
    if isinstance(error, RefusedError):
        return error.problem
    if isinstance(error, InvalidParameterError):
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        return Problem(400, str(error), code, error.parameter)
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Problem(504, "the request took longer than this server allows", "timeout")
    if isinstance(error, EngineClosedError | ModelAllocationError):
        return Problem(503, str(error), "model_unavailable", retry_after=5)
    if isinstance(error, LlamaCppError):
        return Problem(500, str(error), "engine_error")
    _LOGGER.error("an answer failed", exc_info=error)
    return Problem(500, "the server failed; its log says why", "internal_error")


def openai_error(problem: Problem) -> dict[str, Any]:
    """A problem as OpenAI's clients read it."""
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    if problem.status == 429:
        kind = "rate_limit_error"
    return {
        "error": {
            "message": problem.message,
            "type": kind,
            "param": problem.parameter,
            "code": problem.code,
        }
    }


def anthropic_status(problem: Problem) -> int:
    """The status of a problem in Anthropic's API, which has one of its own for a server that is full."""
    return 529 if problem.status == 429 else problem.status


def anthropic_error(problem: Problem) -> dict[str, Any]:
    """A problem as Anthropic's clients read it."""
    kind = _ANTHROPIC_TYPES.get(anthropic_status(problem), "api_error")
    if problem.status < 500 and kind == "api_error":
        kind = "invalid_request_error"
    error = {"type": kind, "message": problem.message}
    if problem.parameter is not None:
        error["param"] = problem.parameter
    return {"type": "error", "error": error}
