"""The token methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamacpp_core._checks import boolean

if TYPE_CHECKING:
    from llamacpp_core.llama.compat import LlamaTokenizer
    from llamacpp_core.llama.llama import Llama

__all__ = [
    "detokenize",
    "metadata",
    "n_ctx",
    "n_embd",
    "n_vocab",
    "pooling_type",
    "token_bos",
    "token_eos",
    "token_nl",
    "tokenize",
    "tokenizer",
]


def tokenize(self: Llama, text: bytes | str, add_bos: bool = True, special: bool = False) -> list[int]:
    """Token ids of a text.

    Args:
        text: UTF-8 bytes, or a string.
        add_bos: Add the tokens that the model expects around a text.
        special: Read the names of control tokens as those tokens.
    """
    return self._vocab.tokenize(
        text, add_special=boolean("add_bos", add_bos), parse_special=boolean("special", special)
    )


def detokenize(
    self: Llama,
    tokens: Sequence[int],
    prev_tokens: Sequence[int] | None = None,  # noqa: ARG001  (llama-cpp-python's)
    special: bool = False,
) -> bytes:
    """The text of token ids, as UTF-8 bytes.

    The bytes of a token do not depend on its neighbours: those of a list are those of its tokens, joined.

    Args:
        tokens: Token ids.
        prev_tokens: Accepted for llama-cpp-python's sake; it has no effect there either.
        special: Write control tokens by their names instead of leaving them out.
    """
    return self._vocab.pieces(tokens, special=special)


def tokenizer(self: Llama) -> LlamaTokenizer:
    """The tokenizer as an object of its own."""
    from llamacpp_core.llama.compat import LlamaTokenizer

    return LlamaTokenizer(self._vocab)


def n_ctx(self: Llama) -> int:
    """Context length of one request, in tokens."""
    return self.info.n_ctx


def n_embd(self: Llama) -> int:
    """Length of an embedding."""
    return self.info.n_embd


def n_vocab(self: Llama) -> int:
    """Tokens in the vocabulary."""
    return self.info.n_vocab


def token_bos(self: Llama) -> int:
    """The token that begins a prompt; -1 if there is none."""
    return _or_none(self._vocab.bos)


def token_eos(self: Llama) -> int:
    """The token that ends an answer; -1 if there is none."""
    return _or_none(self._vocab.eos)


def token_nl(self: Llama) -> int:
    """The newline token; -1 if there is none."""
    return _or_none(self._vocab.special_tokens.get("nl"))


def pooling_type(self: Llama) -> str:
    """How token vectors become one: "none", "mean", "cls", "last", "rank" or "unspecified"."""
    return self.info.pooling


def metadata(self: Llama) -> dict[str, str]:
    """The metadata of the model file as text, in llama.cpp's form and without arrays."""
    from llamacpp_core.lowlevel import Model

    with self._engine.model() as pointer:
        model = Model._borrow(pointer, self._engine)
        try:
            return model.metadata
        finally:
            model.close()


def _or_none(token: int | None) -> int:
    """A token in llama.cpp's form, which has -1 for one that is not there."""
    return -1 if token is None else token
