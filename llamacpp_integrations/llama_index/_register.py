"""Our classes in the lists by which LlamaIndex makes objects from what was saved."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_integrations.llama_index.embedding import LlamaCppEmbedding
from llamacpp_integrations.llama_index.llm import LlamaCpp

__all__ = ["register"]

_LISTS: dict[tuple[str, str], Any] = {
    ("llama_index.core.llms.loading", "RECOGNIZED_LLMS"): LlamaCpp,
    ("llama_index.core.embeddings.loading", "RECOGNIZED_EMBEDDINGS"): LlamaCppEmbedding,
}


def register() -> None:
    """Lets LlamaIndex's ``load_llm`` and ``load_embed_model`` make our classes from their ``to_dict()``.

    Extractors with such a model can then be read back with ``from_dict``, too. It holds for this process, and
    can be repeated. A text such as ``"local:..."`` in place of a model always means LlamaIndex's own classes:
    for those it keeps no list.

    Raises:
        UnsupportedCapabilityError: The installed version keeps its lists in another way.

    Example:
        >>> from llama_index.core.llms.loading import load_llm
        >>> from llamacpp_integrations.llama_index import register
        >>> register()
        >>> llm = load_llm({"class_name": "LlamaCpp", "model": "smollm2-135m-instruct"})  # doctest: +SKIP
    """
    for (module, name), ours in _LISTS.items():
        known = getattr(import_module(module), name, None)
        if not isinstance(known, dict):
            raise UnsupportedCapabilityError(
                f"the installed llama-index-core has no {name}: use {ours.__name__}.from_dict(...) itself"
            )
        known[ours.class_name()] = ours
