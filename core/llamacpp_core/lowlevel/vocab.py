"""Tokens and text, through the model's own vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from typing import Any

from llamacpp_core._checks import boolean, shown, text
from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_core.native import checked, ffi, lib

__all__ = ["Vocab"]


class Vocab:
    """The vocabulary of a loaded model. All methods can be called from any thread.

    Args:
        model: Lends the ``llama_model *`` for the time of a ``with`` block.
    """

    def __init__(self, model: Callable[[], AbstractContextManager[Any]]) -> None:
        self._model = model
        with model() as pointer:
            vocab = lib.llama_model_get_vocab(pointer)
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
        data = _utf8(text)
        options = (boolean("add_bos", add_special), boolean("special", parse_special))
        size = len(data) + 16
        with self._model() as model:
            vocab = lib.llama_model_get_vocab(model)
            tokens = ffi.new("llama_token[]", size)
            n = checked(EngineError, lib.llama_tokenize, vocab, data, len(data), tokens, size, *options)
            if n < 0:
                tokens, size = ffi.new("llama_token[]", -n), -n
                n = checked(EngineError, lib.llama_tokenize, vocab, data, len(data), tokens, size, *options)
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
        with self._model() as model:
            vocab = lib.llama_model_get_vocab(model)
            out = ffi.new("char[]", size)
            n = lib.llama_detokenize(vocab, buffer, len(ids), out, size, False, special)
            if n < 0:
                size = -n
                out = ffi.new("char[]", size)
                n = lib.llama_detokenize(vocab, buffer, len(ids), out, size, False, special)
        return bytes(ffi.buffer(out, n))

    def pieces(self, tokens: Sequence[int], *, special: bool) -> bytes:
        """The bytes of token ids, one after the other.

        Unlike :meth:`detokenize` it removes no space, so the pieces of a text add up to the text. Only a
        space that follows a leading BOS goes, which some tokenizers put there themselves.

        Args:
            tokens: Token ids.
            special: Write control tokens by their names instead of leaving them out.
        """
        ids, special = self.check(tokens), boolean("special", special)
        parts = []
        size = 64
        with self._model() as model:
            vocab = lib.llama_model_get_vocab(model)
            out = ffi.new("char[]", size)
            for token in ids:
                n = lib.llama_token_to_piece(vocab, token, out, size, 0, special)
                if n < 0:
                    size = -n
                    out = ffi.new("char[]", size)
                    n = lib.llama_token_to_piece(vocab, token, out, size, 0, special)
                parts.append(bytes(ffi.buffer(out, n)))
        found = b"".join(parts)
        return found[1:] if ids and ids[0] == self.bos and found[:1] == b" " else found

    def suppressed(self) -> list[int]:
        """Tokens that the model's file says must never be generated."""
        size = ffi.new("int32_t *")
        with self._model() as model:
            tokens = lib.llama_vocab_get_suppress_tokens(lib.llama_model_get_vocab(model), size)
            return ffi.unpack(tokens, size[0]) if size[0] else []

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for a control token."""
        return self.pieces([token], special=False)

    def ends(self) -> list[int]:
        """Every token that ends an answer."""
        with self._model() as model:
            vocab = lib.llama_model_get_vocab(model)
            return [token for token in range(self.n_tokens) if lib.llama_vocab_is_eog(vocab, token)]

    def fim(self) -> dict[str, int]:
        """The tokens for filling in the middle that the model has: "pre", "suf" and "mid"."""
        with self._model() as model:
            vocab = lib.llama_model_get_vocab(model)
            found = {name: getattr(lib, f"llama_vocab_fim_{name}")(vocab) for name in ("pre", "suf", "mid")}
        return {name: token for name, token in found.items() if token >= 0}

    def check(self, tokens: Any, name: str = "tokens", *, or_text: bool = False) -> list[int]:
        """Token ids as a list, each of them in the vocabulary.

        Args:
            tokens: Any iterable of token ids in an order.
            name: What the caller calls it.
            or_text: Text could have been given too; for the message.

        Raises:
            InvalidParameterError: Something is not a token id of this model.
        """
        wanted = f"{name} must be {'text or ' if or_text else ''}a list of token ids"
        if isinstance(tokens, str | bytes | bytearray | memoryview | Mapping | Set):
            raise InvalidParameterError(f"{wanted}, got {type(tokens).__name__}", parameter=name)
        try:
            ids = [_index(token) for token in tokens]
        except (TypeError, AttributeError):
            raise InvalidParameterError(f"{wanted}, got {shown(tokens)}", parameter=name) from None
        for i, token in enumerate(ids):
            if not 0 <= token < self.n_tokens:
                raise InvalidParameterError(
                    f"{name}[{i}] is {token}, but token ids go from 0 to {self.n_tokens - 1}",
                    parameter=f"{name}[{i}]",
                )
        return ids


def _index(token: Any) -> int:
    if isinstance(token, bool):
        raise TypeError
    return int(token.__index__())


def _utf8(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidParameterError(f"text is not UTF-8: {error}", parameter="text") from None
    return text("text", value).encode()
