"""llama.cpp in this process for LlamaIndex.

:class:`LlamaCpp` is an LLM with tools and structured output, :class:`LlamaCppEmbedding` an embedding model,
:class:`LlamaCppRerank` a node postprocessor; :func:`configure_settings` makes the first two the defaults of
the framework.
"""

from __future__ import annotations

from llamacpp_core.errors import MissingDependencyError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        "LlamaIndex is not installed: pip install 'llamacpp-integrations[llama-index]'"
    ) from error

from llamacpp_integrations.llama_index._register import register
from llamacpp_integrations.llama_index.embedding import LlamaCppEmbedding
from llamacpp_integrations.llama_index.llm import LlamaCpp
from llamacpp_integrations.llama_index.rerank import LlamaCppRerank
from llamacpp_integrations.llama_index.settings import configure_settings
from llamacpp_integrations.llama_index.tokenizer import LlamaCppTokenizer

__all__ = [
    "LlamaCpp",
    "LlamaCppEmbedding",
    "LlamaCppRerank",
    "LlamaCppTokenizer",
    "configure_settings",
    "register",
]
