"""llama.cpp in the Python process: completion, chat, tool calling, embeddings and reranking.

>>> from llamacpp_core import Llama
>>> with Llama("smollm2-135m-instruct") as llm:  # doctest: +SKIP
...     print(llm("The capital of France is", max_tokens=4)["choices"][0]["text"])
"""

from __future__ import annotations

import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from llamacpp_core.errors import (
    ContextOverflowError,
    EngineClosedError,
    EngineError,
    ForkedProcessError,
    GenerationError,
    GrammarError,
    IncompleteOutputError,
    InvalidMessageError,
    InvalidParameterError,
    LlamaCppError,
    MissingDependencyError,
    MissingToolCallError,
    ModelAllocationError,
    ModelDownloadError,
    ModelError,
    ModelIntegrityError,
    ModelLoadError,
    ModelNotFoundError,
    RequestCancelledError,
    UnsupportedCapabilityError,
)

if _TYPE_CHECKING:
    from llamacpp_core.engine.adapters import LoraInfo
    from llamacpp_core.engine.info import Capabilities, ModelInfo, PromptCache
    from llamacpp_core.engine.load.options import LoadOptions
    from llamacpp_core.engine.python_loop.callbacks import (
        LogitsProcessorList,
        MinTokensLogitsProcessor,
        StoppingCriteriaList,
    )
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.llama.compat import (
        LlamaCache,
        LlamaDiskCache,
        LlamaPromptLookupDecoding,
        LlamaRAMCache,
    )
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.llama.pool import ModelPool, PooledModel
    from llamacpp_core.llama.saved_state import LlamaState

__all__ = [
    "Capabilities",
    "ContextOverflowError",
    "EngineClosedError",
    "EngineError",
    "ForkedProcessError",
    "GenerationError",
    "GrammarError",
    "IncompleteOutputError",
    "InvalidMessageError",
    "InvalidParameterError",
    "Llama",
    "LlamaCache",
    "LlamaCppError",
    "LlamaDiskCache",
    "LlamaGrammar",
    "LlamaPromptLookupDecoding",
    "LlamaRAMCache",
    "LlamaState",
    "LoadOptions",
    "LogitsProcessorList",
    "LoraInfo",
    "MinTokensLogitsProcessor",
    "MissingDependencyError",
    "MissingToolCallError",
    "ModelAllocationError",
    "ModelDownloadError",
    "ModelError",
    "ModelInfo",
    "ModelIntegrityError",
    "ModelLoadError",
    "ModelNotFoundError",
    "ModelPool",
    "PooledModel",
    "PromptCache",
    "RequestCancelledError",
    "StoppingCriteriaList",
    "UnsupportedCapabilityError",
    "__version__",
]

__version__ = "0.1.0"

# Quiet unless the application configures logging.
_logging.getLogger("llamacpp_core").addHandler(_logging.NullHandler())


# Loaded when first used: the package itself needs no native module, so grammars, model files and errors are
# there without one.
_LATER = {
    "Capabilities": "engine.info",
    "Llama": "llama.llama",
    "LlamaCache": "llama.compat",
    "LlamaDiskCache": "llama.compat",
    "LlamaGrammar": "grammar",
    "LlamaPromptLookupDecoding": "llama.compat",
    "LlamaRAMCache": "llama.compat",
    "LlamaState": "llama.saved_state",
    "LoadOptions": "engine.load.options",
    "LoraInfo": "engine.adapters",
    "LogitsProcessorList": "engine.python_loop.callbacks",
    "MinTokensLogitsProcessor": "engine.python_loop.callbacks",
    "ModelInfo": "engine.info",
    "ModelPool": "llama.pool",
    "PooledModel": "llama.pool",
    "PromptCache": "engine.info",
    "StoppingCriteriaList": "engine.python_loop.callbacks",
}


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
