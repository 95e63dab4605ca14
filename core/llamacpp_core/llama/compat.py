"""Small classes of llama-cpp-python that code written for it passes to a ``Llama``, or gets from one.

Prompt caches: the engine keeps the prompts of its slots by itself, and :attr:`LoadOptions.cache_ram_mib` of
others, so ``Llama.set_cache`` has nothing to switch on for a memory cache: the class exists to keep code
working that calls it. A disk cache names the folder of :attr:`LoadOptions.prompt_cache_dir`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import integer
from llamacpp_core.errors import UnsupportedCapabilityError

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = [
    "LlamaCache",
    "LlamaDiskCache",
    "LlamaPromptLookupDecoding",
    "LlamaRAMCache",
    "LlamaTokenizer",
    "check_cache",
]


class LlamaRAMCache:
    """Asks for prompts to be kept in memory, which the engine does in any case.

    Args:
        capacity_bytes: Kept for code that reads it; :attr:`LoadOptions.cache_ram_mib` sets the real limit.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        self.capacity_bytes: int = integer(0, 2**63 - 1)("capacity_bytes", capacity_bytes)


LlamaCache = LlamaRAMCache
"""The name that llama-cpp-python gives to its default cache."""


class LlamaDiskCache:
    """Asks :meth:`Llama.set_cache` to keep long beginnings of prompts in a folder.

    The same as ``Llama(prompt_cache_dir=..., prompt_cache_mib=...)``.

    Args:
        cache_dir: The folder, made if it is not there; it holds what users wrote.
        capacity_bytes: What all files in it may take; the longest unused ones go first.
    """

    def __init__(
        self, cache_dir: str | os.PathLike[str] = ".cache/llama_cache", capacity_bytes: int = 2 << 30
    ) -> None:
        self.cache_dir: str = os.fspath(cache_dir)
        self.capacity_bytes: int = integer(1, 2**63 - 1)("capacity_bytes", capacity_bytes)


def check_cache(cache: Any) -> LlamaRAMCache | LlamaDiskCache | None:
    """A cache that ``Llama.set_cache`` can take.

    Raises:
        UnsupportedCapabilityError: It is of another kind; says what to use.
    """
    if cache is None or isinstance(cache, LlamaRAMCache | LlamaDiskCache):
        return cache
    raise UnsupportedCapabilityError(
        f"a {type(cache).__name__} cannot be called by the engine, which keeps prompts itself: set "
        "cache_ram_mib or prompt_cache_dir when loading, and save_state_file() to keep a conversation",
        parameter="cache",
    )


class LlamaPromptLookupDecoding:
    """Drafts what followed the same tokens earlier in the conversation, as ``Llama(draft_model=...)``.

    The model checks several tokens of a draft at a time: that changes the speed, not the output.

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


class LlamaTokenizer:
    """Text to tokens and back; get it from ``Llama.tokenizer()``.

    Args:
        vocab: The model's vocabulary.
    """

    def __init__(self, vocab: Vocabulary) -> None:
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
