"""Speculative decoding: drafts that the model checks several at a time. It changes speed, not output."""

from __future__ import annotations

from typing import Any

from llamacpp_core._checks import integer

__all__ = ["LlamaPromptLookupDecoding"]


class LlamaPromptLookupDecoding:
    """Drafts what followed the same tokens earlier in the conversation, as ``Llama(draft_model=...)``.

    Args:
        max_ngram_size: Tokens that have to be the same, 1 to 1024.
        num_pred_tokens: Tokens of a draft, 1 to 1024.
    """

    def __init__(self, max_ngram_size: int = 2, num_pred_tokens: int = 10) -> None:
        self.max_ngram_size: int = integer(1, 1024)("max_ngram_size", max_ngram_size)
        self.num_pred_tokens: int = integer(1, 1024)("num_pred_tokens", num_pred_tokens)

    def server_options(self) -> dict[str, Any]:
        """llama-server's options for it."""
        return {
            "spec-type": "ngram-simple",
            "spec-ngram-simple-size-n": self.max_ngram_size,
            "spec-ngram-simple-size-m": self.num_pred_tokens,
        }
