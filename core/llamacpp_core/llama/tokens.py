"""The token methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamacpp_core._checks import boolean

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.engine.load.options import LoadOptions
    from llamacpp_core.llama.compat import LlamaTokenizer
    from llamacpp_core.lowlevel.vocabulary import Vocabulary
    from llamacpp_core.models import ResolvedModel

__all__ = ["TokenMethods"]


class TokenMethods:
    """Tokens and text; mixed into ``Llama``, which sets the attributes."""

    info: ModelInfo
    options: LoadOptions
    _engine: Engine
    _resolved: ResolvedModel
    _vocab: Vocabulary

    def tokenize(self, text: bytes | str, add_bos: bool = True, special: bool = False) -> list[int]:
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
        self,
        tokens: Sequence[int],
        prev_tokens: Sequence[int] | None = None,  # noqa: ARG002  (llama-cpp-python's)
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

    def tokenizer(self) -> LlamaTokenizer:
        """The tokenizer as an object of its own."""
        from llamacpp_core.llama.compat import LlamaTokenizer

        return LlamaTokenizer(self._vocab)

    # What llama-cpp-python offers as methods

    def n_ctx(self) -> int:
        """Context length of one request, in tokens."""
        return self.info.n_ctx

    def n_embd(self) -> int:
        """Length of an embedding."""
        return self.info.n_embd

    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.info.n_vocab

    def token_bos(self) -> int:
        """The token that begins a prompt; -1 if there is none."""
        return _or_none(self._vocab.bos)

    def token_eos(self) -> int:
        """The token that ends an answer; -1 if there is none."""
        return _or_none(self._vocab.eos)

    def token_nl(self) -> int:
        """The newline token; -1 if there is none."""
        return _or_none(self._vocab.special_tokens.get("nl"))

    def pooling_type(self) -> str:
        """How token vectors become one: "none", "mean", "cls", "last", "rank" or "unspecified"."""
        return self.info.pooling

    @property
    def model_path(self) -> str:
        """The model's file."""
        return self.info.path

    @property
    def n_batch(self) -> int:
        """Tokens of one step, at most."""
        return self.info.n_batch

    @property
    def n_threads(self) -> int:
        """CPU threads for generating."""
        return self.info.n_threads

    @property
    def n_threads_batch(self) -> int:
        """CPU threads for reading prompts."""
        return self.options.n_threads_batch or self.info.n_threads

    @property
    def metadata(self) -> dict[str, str]:
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
