"""A model's vocabulary: text to tokens and back, and what the special tokens are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_core.lowlevel._checks import integer, token_list
from llamacpp_core.native import checked, ffi, lib, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamacpp_core.lowlevel.model import Model

__all__ = ["Vocabulary"]

_SPECIAL_TOKENS = ("bos", "eos", "eot", "sep", "nl", "pad", "mask")
_FIM_TOKENS = ("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep")


class Vocabulary:
    """The vocabulary of a :class:`Model`; get it from ``model.vocabulary``."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._size = int(lib.llama_vocab_n_tokens(self._pointer))

    @property
    def _pointer(self) -> Any:
        return lib.llama_model_get_vocab(self._model._pointer)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<llamacpp_core.lowlevel.Vocabulary of {self._size} tokens, {self.kind}>"

    @property
    def kind(self) -> str:
        """The tokenizer's kind: "none", "spm", "bpe", "wpm", "ugm", "rwkv" or "plamo2"."""
        kinds = ("NONE", "SPM", "BPE", "WPM", "UGM", "RWKV", "PLAMO2", "TEST")
        values = {getattr(lib, f"LLAMA_VOCAB_TYPE_{name}"): name.lower() for name in kinds}
        return values[lib.llama_vocab_type(self._pointer)]

    @property
    def special_tokens(self) -> dict[str, int]:
        """Ids of the special tokens that the model has, by llama.cpp's names.

        Possible names: bos, eos, eot, sep, nl, pad, mask, and for fill-in-the-middle fim_pre,
        fim_suf, fim_mid, fim_pad, fim_rep, fim_sep.
        """
        pointer = self._pointer
        found = {name: getattr(lib, f"llama_vocab_{name}")(pointer) for name in _SPECIAL_TOKENS + _FIM_TOKENS}
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
        return bool(lib.llama_vocab_get_add_bos(self._pointer))

    @property
    def adds_eos(self) -> bool:
        """Whether ``add_special=True`` puts an end-of-sequence token last."""
        return bool(lib.llama_vocab_get_add_eos(self._pointer))

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends a generation (end of sequence, of turn, ...)."""
        return bool(lib.llama_vocab_is_eog(self._pointer, self.check(token)))

    def is_control(self, token: int) -> bool:
        """Whether ``token`` is a control token, which has no text of its own."""
        return bool(lib.llama_vocab_is_control(self._pointer, self.check(token)))

    def score(self, token: int) -> float:
        """The token's score in the tokenizer model (0 where the tokenizer has none)."""
        return float(lib.llama_vocab_get_score(self._pointer, self.check(token)))

    def token_text(self, token: int) -> str:
        """The token as the vocabulary writes it, for example "Ġthe" in a BPE vocabulary."""
        return text(lib.llama_vocab_get_text(self._pointer, self.check(token)))

    def check(self, token: int, name: str = "token") -> int:
        """Returns ``token`` if it is in the vocabulary.

        Raises:
            InvalidParameterError: it is not.
        """
        return integer(token, name, maximum=self._size - 1, hint="token ids of this vocabulary")

    def tokenize(
        self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Turns text into token ids.

        Args:
            text: UTF-8 text.
            add_special: Add the beginning and end tokens that the model was trained with.
            parse_special: Read ``<|im_end|>`` and the like as control tokens. Leave it off for text that
                comes from a user.

        Raises:
            InvalidParameterError: the text is longer than 2**31 - 1 bytes, or not text.
        """
        if not isinstance(text, str | bytes):
            raise InvalidParameterError(
                f"text must be str or bytes, not {type(text).__name__}", parameter="text"
            )
        data = text.encode("utf-8", errors="surrogatepass") if isinstance(text, str) else text
        integer(len(data), "len(text)")
        capacity = len(data) + 2
        while True:
            tokens = ffi.new("llama_token[]", capacity)
            count = checked(
                EngineError,
                lib.llama_tokenize,
                *(self._pointer, data, len(data), tokens, capacity, add_special, parse_special),
            )
            if count >= 0:
                return list(ffi.unpack(tokens, count))
            if count == -(2**31):
                raise InvalidParameterError("text has more tokens than llama.cpp can count", parameter="text")
            capacity = -count

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
        found = token_list(tokens, self._size)
        ids = ffi.new("llama_token[]", found)
        capacity = 8 * len(found) + 16
        while True:
            buffer = ffi.new("char[]", capacity)
            length = checked(
                EngineError,
                lib.llama_detokenize,
                *(self._pointer, ids, len(found), buffer, capacity, remove_special, unparse_special),
            )
            if length >= 0:
                return bytes(ffi.buffer(buffer, length)).decode("utf-8", errors="replace")
            capacity = -length

    def token_to_piece(self, token: int, *, special: bool = False, lstrip: int = 0) -> bytes:
        """The bytes that a token adds to the text: possibly a part of a character, possibly none.

        Args:
            token: Token id.
            special: Write a control token out instead of returning b"".
            lstrip: How many leading spaces to leave out.
        """
        self.check(token)
        integer(lstrip, "lstrip")
        capacity = 64
        while True:
            buffer = ffi.new("char[]", capacity)
            length = lib.llama_token_to_piece(self._pointer, token, buffer, capacity, lstrip, special)
            if length >= 0:
                return bytes(ffi.buffer(buffer, length))
            capacity = -length
