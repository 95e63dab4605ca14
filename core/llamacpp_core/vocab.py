"""Tokens and text, through the model's own vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamacpp_core._checks import check_text
from llamacpp_core._ffi import ffi, lib
from llamacpp_core.engine import Engine
from llamacpp_core.errors import InvalidParameterError

__all__ = ["Vocab"]


class Vocab:
    """The vocabulary of a loaded model. All methods can be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.model() as model:
            vocab = lib.llama_model_get_vocab(model)
            self.n_tokens: int = lib.llama_vocab_n_tokens(vocab)
            self.bos: int = lib.llama_vocab_bos(vocab)
            self.eos: int = lib.llama_vocab_eos(vocab)
            self.eot: int = lib.llama_vocab_eot(vocab)
            self.sep: int = lib.llama_vocab_sep(vocab)
            self.nl: int = lib.llama_vocab_nl(vocab)
            self.pad: int = lib.llama_vocab_pad(vocab)
            self.add_bos: bool = lib.llama_vocab_get_add_bos(vocab)
            self.add_eos: bool = lib.llama_vocab_get_add_eos(vocab)

    def tokenize(self, text: bytes | str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of a text.

        Args:
            text: UTF-8 bytes or a string.
            add_special: Add the tokens that the model expects around a text (BOS, EOS, SEP).
            parse_special: Read the names of control tokens as those tokens.
        """
        data = check_text("text", text).encode() if isinstance(text, str) else text
        size = len(data) + 16
        with self._engine.model() as model:
            vocab = lib.llama_model_get_vocab(model)
            tokens = ffi.new("llama_token[]", size)
            n = lib.llama_tokenize(vocab, data, len(data), tokens, size, add_special, parse_special)
            if n < 0:
                tokens = ffi.new("llama_token[]", -n)
                n = lib.llama_tokenize(vocab, data, len(data), tokens, -n, add_special, parse_special)
        return ffi.unpack(tokens, n) if n else []

    def detokenize(self, tokens: Sequence[int], *, special: bool) -> bytes:
        """The text of token ids, as UTF-8 bytes.

        Args:
            tokens: Token ids.
            special: Write control tokens by their names instead of leaving them out.
        """
        ids = self.check(tokens)
        buffer: Any = ffi.new("llama_token[]", ids)
        size = 8 * len(ids) + 16
        with self._engine.model() as model:
            vocab = lib.llama_model_get_vocab(model)
            out = ffi.new("char[]", size)
            n = lib.llama_detokenize(vocab, buffer, len(ids), out, size, False, special)
            if n < 0:
                size = -n
                out = ffi.new("char[]", size)
                n = lib.llama_detokenize(vocab, buffer, len(ids), out, size, False, special)
        return bytes(ffi.buffer(out, n))

    def check(self, tokens: Any, name: str = "tokens") -> list[int]:
        """Token ids as a list, each of them in the vocabulary.

        Raises:
            InvalidParameterError: Something is not a token id of this model.
        """
        try:
            ids = [token.__index__() for token in tokens]
        except (TypeError, AttributeError):
            raise InvalidParameterError(f"{name} must be a list of token ids", parameter=name) from None
        for i, token in enumerate(ids):
            if not 0 <= token < self.n_tokens:
                raise InvalidParameterError(
                    f"{name}[{i}] is {token}, but token ids go from 0 to {self.n_tokens - 1}",
                    parameter=f"{name}[{i}]",
                )
        return ids
