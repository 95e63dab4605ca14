"""Chooses tokens outside the engine as it does: by llama.cpp's common sampler, made of the same fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import EngineError, GenerationError
from llamacpp_core.native import ffi, lib
from llamacpp_core.native.failures import last_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.engine import Engine

__all__ = ["TokenChooser"]


class TokenChooser:
    """Chooses the tokens of one answer.

    Args:
        engine: The engine whose model writes.
        fields: llama-server's sampling fields, as for the engine.
        index: Which of several answers to one request this is; each has a seed of its own.
        n_tokens: Tokens that the answer may have, the one that ends it included, so that a grammar ends it
            in time. None means no bound.

    Raises:
        InvalidParameterError: llama.cpp refuses a field.
    """

    def __init__(
        self, engine: Engine, fields: Mapping[str, Any], *, index: int = 0, n_tokens: int | None = None
    ) -> None:
        # A plan says of its parser only whether there is one.
        given = {name: value for name, value in fields.items() if value is not None and name != "chat_parser"}
        self._native = engine.new_chooser(given | {"n": 1}, index, -1 if n_tokens is None else n_tokens)

    def close(self) -> None:
        """Frees the samplers. Can be repeated."""
        ffi.release(self._native)

    def read_prompt(self, tokens: Sequence[int]) -> None:
        """Lets the penalties see what came before the answer."""
        if lib.lc_chooser_read(self._native, ffi.new("int32_t[]", list(tokens)), len(tokens)) < 0:
            raise last_error()

    def choose(self, context: Any, logits: NDArray[np.float32]) -> int:
        """The next token, which the samplers have then seen.

        Args:
            context: A ``llama_context *`` that has decoded something before, and works for nobody else.
            logits: float32 of shape [n_vocab].

        Raises:
            GenerationError: Every token is forbidden.
        """
        import numpy as np

        row = ffi.from_buffer("float[]", np.ascontiguousarray(logits, dtype=np.float32))
        token = int(lib.lc_chooser_choose(self._native, context, row))
        if token == lib.LC_CHOICE_FORBIDDEN:
            raise GenerationError(
                "no token is left: every one is forbidden by the grammar, a bias or a logits processor"
            )
        if token == lib.LC_CHOICE_NO_LOGITS:
            raise EngineError("nothing has been evaluated: call eval() first")
        if token < 0:
            raise last_error()
        return token
