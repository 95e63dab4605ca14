"""llama.cpp in the Python process, as LangChain classes.

:class:`ChatLlamaCpp` is a chat model, :class:`LlamaCppLLM` completes text, :class:`LlamaCppEmbeddings` embeds
and :class:`LlamaCppRerank` sorts documents. Objects with the same model and load options share one engine.
"""

from __future__ import annotations

try:
    import langchain_core as _langchain_core  # noqa: F401
except ImportError as error:
    from llamacpp_core.errors import MissingDependencyError

    raise MissingDependencyError(
        'LangChain is not installed: pip install "llamacpp-integrations[langchain]"'
    ) from error

from llamacpp_integrations.langchain._errors import (
    ContextOverflowError,
    GenerationTimeoutError,
    GrammarError,
    IncompleteOutputError,
    InvalidMessageError,
    InvalidRequestError,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from llamacpp_integrations.langchain._register import register
from llamacpp_integrations.langchain.chat_models import ChatLlamaCpp
from llamacpp_integrations.langchain.embeddings import LlamaCppEmbeddings
from llamacpp_integrations.langchain.llms import LlamaCppLLM
from llamacpp_integrations.langchain.rerank import LlamaCppRerank

__all__ = [
    "ChatLlamaCpp",
    "ContextOverflowError",
    "GenerationTimeoutError",
    "GrammarError",
    "IncompleteOutputError",
    "InvalidMessageError",
    "InvalidRequestError",
    "LlamaCppEmbeddings",
    "LlamaCppLLM",
    "LlamaCppRerank",
    "ModelNotFoundError",
    "UnsupportedCapabilityError",
    "register",
]
