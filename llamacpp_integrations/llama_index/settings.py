"""Sets LlamaIndex's global settings to models in this process."""

from __future__ import annotations

import os

from llama_index.core import Settings
from llama_index.core.indices.prompt_helper import ChatPromptHelper, PromptHelper

from llamacpp_integrations.llama_index.embedding import LlamaCppEmbedding
from llamacpp_integrations.llama_index.llm import LlamaCpp

__all__ = ["configure_settings"]

Model = str | os.PathLike[str]


def configure_settings(
    llm: LlamaCpp | Model | None = "smollm2-135m-instruct",
    embed_model: LlamaCppEmbedding | Model | None = "all-minilm-l6-v2",
) -> None:
    """Sets ``Settings.llm``, ``Settings.embed_model`` and ``Settings.tokenizer``.

    The prompt helpers of ``Settings`` are set along with the LLM, since they keep the context length of an
    earlier one.

    Args:
        llm: The chat model, or what to load for it; None leaves the settings of the LLM, tokenizer included,
            as they are.
        embed_model: The embedding model, or what to load for it; None leaves it as it is.

    Raises:
        LlamaCppError: As :class:`LlamaCpp` and :class:`LlamaCppEmbedding` do.

    Example:
        >>> from llamacpp_integrations.llama_index import LlamaCpp, configure_settings
        >>> configure_settings(LlamaCpp("qwen3-4b", n_ctx=16384))  # doctest: +SKIP
    """
    # Both are loaded before anything is set: an error leaves the settings as they were.
    chat = LlamaCpp(llm) if llm is not None and not isinstance(llm, LlamaCpp) else llm
    if embed_model is not None and not isinstance(embed_model, LlamaCppEmbedding):
        embed_model = LlamaCppEmbedding(embed_model)
    if chat is not None:
        Settings.llm = chat
        Settings.tokenizer = chat.tokenizer
        Settings.prompt_helper = PromptHelper.from_llm_metadata(chat.metadata, tokenizer=chat.tokenizer)
        Settings.chat_prompt_helper = ChatPromptHelper.from_llm_metadata(
            chat.metadata, tokenizer=chat.tokenizer
        )
    if embed_model is not None:
        Settings.embed_model = embed_model
