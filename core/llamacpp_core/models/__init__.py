"""Where a model comes from: a path, the Hugging Face Hub, or a name in the catalog.

:func:`resolve_model` turns any of these into files on disk; :func:`read_gguf_header` says what a file is
without loading it; :func:`list_models`, :func:`pull`, :func:`info` and :func:`remove` are the verbs of
``llamacpp models``.
"""

from __future__ import annotations

from llamacpp_core.models.bert.wordpiece import WordPieceTokenizer
from llamacpp_core.models.cache import cache_dir
from llamacpp_core.models.catalog import CatalogEntry, load_catalog
from llamacpp_core.models.cpu import preferred_dtype
from llamacpp_core.models.gguf.header import GGUFArray, GGUFHeader, TensorInfo, read_gguf_header
from llamacpp_core.models.manage import (
    ContextMemory,
    ListedModel,
    ModelFacts,
    info,
    list_models,
    pull,
    remove,
)
from llamacpp_core.models.memory import kv_cache_bytes, kv_is_upper_bound, weights_bytes
from llamacpp_core.models.resolve import ResolvedModel, resolve_hub, resolve_model

__all__ = [
    "CatalogEntry",
    "ContextMemory",
    "GGUFArray",
    "GGUFHeader",
    "ListedModel",
    "ModelFacts",
    "ResolvedModel",
    "TensorInfo",
    "WordPieceTokenizer",
    "cache_dir",
    "info",
    "kv_cache_bytes",
    "kv_is_upper_bound",
    "list_models",
    "load_catalog",
    "preferred_dtype",
    "pull",
    "read_gguf_header",
    "remove",
    "resolve_hub",
    "resolve_model",
    "weights_bytes",
]
