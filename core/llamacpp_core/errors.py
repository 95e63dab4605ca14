"""The exceptions of llamacpp_core.

Every error this package raises on purpose derives from :class:`LlamaCppError`, so one ``except``
catches them all; each also derives from the built-in exception a Python programmer would expect.

::

    LlamaCppError
    ├── InvalidParameterError (ValueError)      a value that cannot work: names the field and the fix
    │   ├── InvalidMessageError                 a chat message that cannot be used: names its index
    │   ├── GrammarError                        a grammar or JSON schema that cannot be compiled
    │   ├── ContextOverflowError                a prompt longer than the context
    │   └── UnsupportedCapabilityError          the model, or this build, cannot do what was asked
    ├── ModelError
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   ├── ModelLoadError                      a file that is not a usable model
    │   │   └── ModelAllocationError (MemoryError)  the weights or the context do not fit
    │   ├── ModelDownloadError (ConnectionError)
    │   └── ModelIntegrityError                 bytes that do not match their checksum
    ├── EngineError (RuntimeError)
    │   ├── EngineClosedError                   used, or still working, when the engine was closed
    │   ├── ForkedProcessError                  an engine used in a forked child
    │   ├── GenerationError                     llama.cpp failed while it worked on a request
    │   │   ├── IncompleteOutputError (ValueError)  a constrained answer was cut off before it was complete
    │   │   └── MissingToolCallError (ValueError)  a tool call was expected and the answer holds none
    │   └── RequestCancelledError               the request was cancelled by another consumer
    └── MissingDependencyError (ImportError)    an extra of this package is not installed
"""

from __future__ import annotations

__all__ = [
    "ContextOverflowError",
    "EngineClosedError",
    "EngineError",
    "ForkedProcessError",
    "GenerationError",
    "GrammarError",
    "IncompleteOutputError",
    "InvalidMessageError",
    "InvalidParameterError",
    "LlamaCppError",
    "MissingDependencyError",
    "MissingToolCallError",
    "ModelAllocationError",
    "ModelDownloadError",
    "ModelError",
    "ModelIntegrityError",
    "ModelLoadError",
    "ModelNotFoundError",
    "RequestCancelledError",
    "UnsupportedCapabilityError",
]


class LlamaCppError(Exception):
    """Root of all errors of this package."""


class InvalidParameterError(LlamaCppError, ValueError):
    """A parameter has a value that cannot work.

    Attributes:
        parameter: Name of the parameter, with the path inside it where that helps
            (``"tools[1].function.name"``); None when the message concerns several.
    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class InvalidMessageError(InvalidParameterError):
    """A chat message cannot be used.

    Attributes:
        index: Position of the message in the conversation, from 0; None for the list as a whole.
    """

    def __init__(self, message: str, *, parameter: str | None = None, index: int | None = None) -> None:
        super().__init__(message, parameter=parameter)
        self.index = index


class GrammarError(InvalidParameterError):
    """A grammar or a JSON schema cannot be compiled; the message says where and why."""


class ContextOverflowError(InvalidParameterError):
    """A prompt does not fit into the context.

    Attributes:
        n_prompt_tokens: Tokens in the prompt.
        n_ctx: Tokens that the context of one sequence holds.
    """

    def __init__(
        self, message: str, *, n_prompt_tokens: int, n_ctx: int, parameter: str | None = None
    ) -> None:
        super().__init__(message, parameter=parameter)
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx


class UnsupportedCapabilityError(InvalidParameterError):
    """The loaded model, its load options or this build cannot do what was asked."""


class ModelError(LlamaCppError):
    """Something is wrong with a model file or with where it comes from."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No such model: the path, catalog name or Hugging Face file does not exist."""


class ModelLoadError(ModelError):
    """The file is not a model that llama.cpp can load.

    Attributes:
        path: The file, when known.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class ModelAllocationError(ModelLoadError, MemoryError):
    """The weights or the context do not fit into memory."""


class ModelDownloadError(ModelError, ConnectionError):
    """A model could not be fetched."""


class ModelIntegrityError(ModelError):
    """A file does not match its checksum, or is incomplete."""


class EngineError(LlamaCppError, RuntimeError):
    """The engine cannot do this now, or failed while doing it."""


class EngineClosedError(EngineError):
    """The engine is closed, or was closed while this request was running."""


class ForkedProcessError(EngineError):
    """The engine belongs to another process: it was opened before a fork."""


class GenerationError(EngineError):
    """llama.cpp failed while it worked on this request."""


class IncompleteOutputError(GenerationError, ValueError):
    """A forced tool call, or an answer bound to a schema, was cut off before it was complete.

    Attributes:
        partial: The text that had been generated.
    """

    def __init__(self, message: str, *, partial: str) -> None:
        super().__init__(message)
        self.partial = partial


class MissingToolCallError(GenerationError, ValueError):
    """A tool call was expected, and the model answered without one."""


class RequestCancelledError(EngineError):
    """The request was cancelled before it finished."""


class MissingDependencyError(LlamaCppError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""
