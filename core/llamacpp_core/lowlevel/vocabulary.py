"""A model's vocabulary: text to tokens and back, and what the special tokens are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

from llamacpp_core._checks import boolean, integer, text, token_ids
from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_core.native import checked, ffi, lib
from llamacpp_core.native import text as native_text
from llamacpp_core.native.enums import enum_name

__all__ = ["Vocabulary"]

_SPECIAL_TOKENS = ("bos", "eos", "eot", "sep", "nl", "pad", "mask")
_FIM_TOKENS = ("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep")


class Vocabulary:
    """The vocabulary of a model, usable from any thread; get it from ``Model.vocabulary``.

    Args:
        model: Lends the ``llama_model *`` for the time of a ``with`` block.
    """

    def __init__(self, model: Callable[[], AbstractContextManager[Any]]) -> None:
        self._model = model
        with self._lent() as pointer:
            self._size = int(lib.llama_vocab_n_tokens(pointer))

    @contextmanager
    def _lent(self) -> Iterator[Any]:
        with self._model() as model:
            yield lib.llama_model_get_vocab(model)

    def _read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lent() as pointer:
            return function(pointer, *arguments)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<llamacpp_core.lowlevel.Vocabulary of {self._size} tokens, {self.kind}>"

    @property
    def kind(self) -> str:
        """The tokenizer's kind: "none", "spm", "bpe", "wpm", "ugm", "rwkv" or "plamo2"."""
        return enum_name("LLAMA_VOCAB_TYPE", self._read(lib.llama_vocab_type))

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Ids of the special tokens that the model has, by llama.cpp's names.

        Possible names: bos, eos, eot, sep, nl, pad, mask, and for fill-in-the-middle fim_pre,
        fim_suf, fim_mid, fim_pad, fim_rep, fim_sep.
        """
        with self._lent() as pointer:
            names = _SPECIAL_TOKENS + _FIM_TOKENS
            found = {name: getattr(lib, f"llama_vocab_{name}")(pointer) for name in names}
        return {name: token for name, token in found.items() if token != lib.LLAMA_TOKEN_NULL}

    @property
    def bos(self) -> int | None:
        """The beginning-of-sequence token."""
        return self.special_tokens.get("bos")

    @property
    def eos(self) -> int | None:
        """The end-of-sequence token."""
        return self.special_tokens.get("eos")

    @property
    def adds_bos(self) -> bool:
        """Whether ``add_special=True`` puts a beginning-of-sequence token first."""
        return bool(self._read(lib.llama_vocab_get_add_bos))

    @property
    def adds_eos(self) -> bool:
        """Whether ``add_special=True`` puts an end-of-sequence token last."""
        return bool(self._read(lib.llama_vocab_get_add_eos))

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends a generation (end of sequence, of turn, ...)."""
        return bool(self._read(lib.llama_vocab_is_eog, self.check(token)))

    def is_control(self, token: int) -> bool:
        """Whether ``token`` is a control token, which has no text of its own."""
        return bool(self._read(lib.llama_vocab_is_control, self.check(token)))

    def score(self, token: int) -> float:
        """The token's score in the tokenizer model (0 where the tokenizer has none)."""
        return float(self._read(lib.llama_vocab_get_score, self.check(token)))

    def token_text(self, token: int) -> str:
        """The token as the vocabulary writes it, for example "Ġthe" in a BPE vocabulary."""
        return native_text(self._read(lib.llama_vocab_get_text, self.check(token)))

    def check(self, token: int, name: str = "token") -> int:
        """Returns ``token`` if it is in the vocabulary.

        Raises:
            InvalidParameterError: It is not.
        """
        check = integer(0, self._size - 1, hint="token ids of this vocabulary")
        return int(check(name, token))

    def check_all(self, tokens: Any, name: str = "tokens", *, or_text: bool = False) -> list[int]:
        """Token ids as a list, each of them in the vocabulary.

        Args:
            tokens: Any iterable of token ids in an order.
            name: What the caller calls it.
            or_text: Text could have been given too; for the message.

        Raises:
            InvalidParameterError: Something is not a token id of this model.
        """
        return token_ids(name, tokens, self._size, or_text=or_text)

    def tokenize(
        self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Turns text into token ids.

        Args:
            text: A string, or UTF-8 bytes.
            add_special: Add the beginning and end tokens that the model was trained with.
            parse_special: Read ``<|im_end|>`` and the like as control tokens. Leave it off for text that
                comes from a user.

        Raises:
            InvalidParameterError: It is not a string, or has 2**31 bytes or more.
            EngineError: llama.cpp cannot tokenize it.
        """
        data = _utf8(text)
        integer(0)("len(text)", len(data))
        flags = boolean("add_special", add_special), boolean("parse_special", parse_special)
        with self._lent() as pointer:
            before = (pointer, data, len(data))
            return list(_filled("llama_token[]", len(data) + 16, lib.llama_tokenize, before, flags))

    def detokenize(
        self, tokens: Iterable[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> str:
        """Turns token ids into text.

        Args:
            tokens: Token ids.
            remove_special: Leave out the beginning and end tokens that tokenizing would add.
            unparse_special: Write control tokens out (``<|im_end|>``) instead of leaving them out.

        Returns:
            The text; a character that is cut off at an end becomes U+FFFD.
        """
        found = self.check_all(tokens)
        ids = ffi.new("llama_token[]", found)
        flags = boolean("remove_special", remove_special), boolean("unparse_special", unparse_special)
        with self._lent() as pointer:
            before = (pointer, ids, len(found))
            data = _filled("char[]", 8 * len(found) + 16, lib.llama_detokenize, before, flags)
        return bytes(data).decode("utf-8", errors="replace")

    def token_to_piece(self, token: int, *, special: bool = False, lstrip: int = 0) -> bytes:
        """The bytes that a token adds to the text: possibly a part of a character, possibly none.

        Args:
            token: Token id.
            special: Write a control token out instead of returning b"".
            lstrip: How many leading spaces to leave out.
        """
        self.check(token)
        flags = integer(0)("lstrip", lstrip), boolean("special", special)
        with self._lent() as pointer:
            return _piece(pointer, token, *flags)

    def pieces(self, tokens: Iterable[int], *, special: bool = False) -> bytes:
        """The bytes of token ids, one after the other.

        Unlike :meth:`detokenize` it removes no space, so the pieces of a text add up to the text. Only a
        space that follows a leading BOS goes, which some tokenizers put there themselves.

        Args:
            tokens: Token ids.
            special: Write control tokens by their names instead of leaving them out.
        """
        ids, special = self.check_all(tokens), boolean("special", special)
        with self._lent() as pointer:
            found = b"".join([_piece(pointer, token, 0, special) for token in ids])
        return found[1:] if ids and ids[0] == self.bos and found[:1] == b" " else found


def _filled(kind: str, capacity: int, function: Any, before: tuple[Any, ...], after: tuple[Any, ...]) -> Any:
    """What a function of llama.cpp fills a buffer with: bytes, or a list. It says how much room it needs."""
    while True:
        buffer = ffi.new(kind, capacity)
        size = checked(EngineError, function, *before, buffer, capacity, *after)
        if size >= 0:
            return ffi.unpack(buffer, size) if size else b""
        if size == -(2**31):
            raise InvalidParameterError("text has more tokens than llama.cpp can count", parameter="text")
        capacity = -size


def _piece(pointer: Any, token: int, lstrip: int, special: bool) -> bytes:
    return bytes(_filled("char[]", 64, lib.llama_token_to_piece, (pointer, token), (lstrip, special)))


def _utf8(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidParameterError(f"text is not UTF-8: {error}", parameter="text") from None
    return text("text", value).encode()
