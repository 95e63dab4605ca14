"""A model's own tokenizer for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamacpp_core.llama.handle import ModelHandle

__all__ = ["LlamaCppTokenizer"]


class LlamaCppTokenizer:
    """Token ids of a text; a callable as ``Settings.tokenizer`` takes it.

    Special tokens are neither added nor read, so the number of ids is what the text costs in a prompt.
    A pickle of it holds the model's name and load options only.
    """

    def __init__(self, handle: ModelHandle) -> None:
        self._handle = handle

    def __call__(self, text: str) -> list[int]:
        """Token ids of a text.

        Raises:
            InvalidParameterError: The text holds characters that are not text.
        """
        return self._handle.llama.tokenize(text, add_bos=False, special=False)
