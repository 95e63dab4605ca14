"""The engine's errors as LangChain knows them.

Each class is both: the exception of :mod:`llamacpp_core.errors` and, where LangChain has a name for the
condition, LangChain's own, so code that catches either one works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core import exceptions as langchain

from llamacpp_core import errors as core
from llamacpp_integrations import _time_limits

__all__ = [
    "ContextOverflowError",
    "GenerationTimeoutError",
    "GrammarError",
    "IncompleteOutputError",
    "InvalidMessageError",
    "InvalidRequestError",
    "ModelNotFoundError",
    "UnsupportedCapabilityError",
    "translated_errors",
]


class InvalidRequestError(core.InvalidParameterError, langchain.ModelInvalidRequestError):
    """A parameter has a value that cannot work; ``.parameter`` names it."""


class InvalidMessageError(core.InvalidMessageError, langchain.ModelInvalidRequestError):
    """A message cannot be used; ``.index`` is its position in the conversation."""


class GrammarError(core.GrammarError, langchain.ModelInvalidRequestError):
    """A grammar or JSON schema cannot be compiled."""


class UnsupportedCapabilityError(core.UnsupportedCapabilityError, langchain.ModelInvalidRequestError):
    """The loaded model, its load options or this build cannot do what was asked."""


class ContextOverflowError(core.ContextOverflowError, langchain.ContextOverflowError):
    """The conversation does not fit; ``.n_prompt_tokens`` and ``.n_ctx`` say by how much."""


class ModelNotFoundError(core.ModelNotFoundError, langchain.ModelNotFoundError):
    """There is no such model file, catalog name or repository."""


class IncompleteOutputError(core.IncompleteOutputError, langchain.ModelError):
    """A forced call or a constrained answer was cut off; ``.partial`` holds its text."""


class GenerationTimeoutError(_time_limits.GenerationTimeoutError, langchain.ModelTimeoutError):
    """The answer was not complete within ``timeout``; the request was cancelled."""


# From the most special to the most general: the first match counts.
_TRANSLATIONS: tuple[tuple[type[core.LlamaCppError], type[core.LlamaCppError]], ...] = (
    (core.InvalidMessageError, InvalidMessageError),
    (core.GrammarError, GrammarError),
    (core.ContextOverflowError, ContextOverflowError),
    (core.UnsupportedCapabilityError, UnsupportedCapabilityError),
    (core.InvalidParameterError, InvalidRequestError),
    (core.ModelNotFoundError, ModelNotFoundError),
    (core.IncompleteOutputError, IncompleteOutputError),
    (_time_limits.GenerationTimeoutError, GenerationTimeoutError),
)


def _translate(error: core.LlamaCppError) -> core.LlamaCppError:
    """The error as an instance of the matching class of this module; itself if there is none."""
    if isinstance(error, langchain.LangChainException):
        return error
    for source, target in _TRANSLATIONS:
        if isinstance(error, source):
            state: dict[str, Any] = error.__dict__
            if issubclass(target, TimeoutError):  # whose memory RuntimeError.__new__ does not know
                return target(*error.args)
            translated = target.__new__(target, *error.args)
            translated.args = error.args
            translated.__dict__.update(state)
            return translated
    return error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises errors of the engine inside the block as the classes of this module."""
    try:
        yield
    except core.LlamaCppError as error:
        translated = _translate(error)
        if translated is error:
            raise
        raise translated.with_traceback(error.__traceback__) from error.__cause__
