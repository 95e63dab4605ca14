"""The tokenizer object of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocab import Vocab

__all__ = ["LlamaTokenizer"]


class LlamaTokenizer:
    """Text to tokens and back; get it from ``Llama.tokenizer()``.

    Args:
        vocab: The model's vocabulary.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = True) -> list[int]:
        """Token ids of a text, as ``Llama.tokenize`` gives them."""
        return self._vocab.tokenize(text, add_special=add_bos, parse_special=special)

    def detokenize(
        self,
        tokens: Sequence[int],
        prev_tokens: Sequence[int] | None = None,  # noqa: ARG002  (llama-cpp-python's)
        special: bool = False,
    ) -> bytes:
        """The text of token ids, as ``Llama.detokenize`` gives it."""
        return self._vocab.pieces(tokens, special=special)

    def encode(self, text: str, add_bos: bool = True, special: bool = True) -> list[int]:
        """Token ids of a string; what is not text in it is left out."""
        return self.tokenize(text.encode("utf-8", errors="ignore"), add_bos=add_bos, special=special)

    def decode(self, tokens: Sequence[int]) -> str:
        """The string of token ids; a character that is cut off is left out."""
        return self.detokenize(tokens).decode("utf-8", errors="ignore")
