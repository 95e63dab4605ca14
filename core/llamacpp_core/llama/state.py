"""The methods of :class:`~llamacpp_core.Llama` that save and restore conversations, and its seed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import integer, shown
from llamacpp_core.errors import (
    EngineClosedError,
    EngineError,
    ForkedProcessError,
    InvalidParameterError,
    UnsupportedCapabilityError,
)

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.engine.load.options import LoadOptions
    from llamacpp_core.engine.python_loop.sessions import SessionPool
    from llamacpp_core.llama.compat import LlamaRAMCache
    from llamacpp_core.llama.evaluation import Evaluation
    from llamacpp_core.llama.saved_state import LlamaState

__all__ = ["StateMethods"]

_RANDOM_SEEDS = (-1, 2**32 - 1)


class StateMethods:
    """States of conversations; mixed into ``Llama``, which sets the attributes.

    Attributes:
        cache: What :meth:`set_cache` was given.
    """

    cache: LlamaRAMCache | None
    info: ModelInfo
    options: LoadOptions
    _engine: Engine
    _sessions: SessionPool
    _evaluation: Evaluation | None
    _last: Any
    _seed: int | None
    _next_slot: int

    def _evaluated(self) -> Evaluation:
        raise NotImplementedError  # EvalMethods has it

    def set_seed(self, seed: int) -> None:
        """Sets the seed of requests that bring none; -1 for a new one each time."""
        checked = integer(-1, 2**32 - 1)("seed", seed)
        self._seed = None if checked in _RANDOM_SEEDS else checked

    def set_cache(self, cache: Any) -> None:
        """Accepts llama-cpp-python's memory cache; the engine keeps prompts by itself.

        Raises:
            UnsupportedCapabilityError: The cache is of another kind; says what to use.
        """
        from llamacpp_core.llama.compat import check_cache

        self.cache = check_cache(cache)

    def save_state(self) -> LlamaState:
        """The state of the conversation last worked on: its tokens, and all that was computed for them.

        That is the request that began last, or what :meth:`eval` has read, if it was called later. A
        request that goes on from there has nothing of it to compute again, in this process or another.

        Raises:
            EngineError: There is no conversation, or its memory is in use by a later request.
            UnsupportedCapabilityError: The model was loaded with LoRA adapters.
        """
        self._refuse_loras()
        last = self._last
        if last is None:
            raise EngineError("there is no conversation to save: nothing was generated or evaluated")
        if self._evaluation is not None and last is self._evaluation:
            session = self._evaluation.session
            with session.working() as context:
                return self._state("eval", session.tokens, context.save_sequence(0))
        choices = last.assembler.choices
        final = choices[0].final
        if final is None or not last.assembler.done:
            raise EngineError("the last request has not ended: read its stream to the end, then save")
        if final["id_slot"] < 0:
            return self._sessions.save_idle(lambda tokens, data: self._state("loop", tokens, data))
        import tempfile

        with tempfile.TemporaryDirectory(prefix="llamacpp-") as folder:
            path = Path(folder) / "slot"
            self._engine.slot_file(final["id_slot"], os.fspath(path), restore=False)
            return self._state("engine", [], path.read_bytes())

    def load_state(self, state: LlamaState) -> None:
        """Restores a state of :meth:`save_state`, from this process or another with the same model.

        Raises:
            InvalidParameterError: It is damaged, or of another model or other cache types.
        """
        from llamacpp_core.llama.saved_state import LlamaState

        if not isinstance(state, LlamaState):
            raise InvalidParameterError(
                f"state must be a LlamaState, got {type(state).__name__}: make one from bytes with "
                "LlamaState.from_bytes()",
                parameter="state",
            )
        self._refuse_loras()
        state.check_fits(self._fingerprint())
        if state.kind == "eval":
            evaluation = self._evaluated()
            evaluation.session.restore(state.data, state.tokens)
            evaluation.rows = []
            return
        if state.kind == "loop":
            self._sessions.restore_idle(state.data, state.tokens, self.info.n_ctx)
            return
        import tempfile

        with tempfile.TemporaryDirectory(prefix="llamacpp-") as folder:
            path = Path(folder) / "slot"
            path.write_bytes(state.data)
            try:
                self._engine.slot_file(self._slot(), os.fspath(path), restore=True)
            except (EngineClosedError, ForkedProcessError):
                raise
            except EngineError as error:
                raise InvalidParameterError(
                    f"the state does not fit this context ({error}): it needs as large an n_ctx and the same "
                    "cache types",
                    parameter="state",
                ) from None

    def save_state_file(self, path: str | os.PathLike[str]) -> None:
        """Writes the state of :meth:`save_state` to a file.

        Raises:
            OSError: The file cannot be written.
            EngineError: As for :meth:`save_state`.
        """
        from llamacpp_core.llama.saved_state import write_state_file

        write_state_file(_path(path), self.save_state())

    def load_state_file(self, path: str | os.PathLike[str]) -> None:
        """Restores a file of :meth:`save_state_file`.

        Raises:
            OSError: The file cannot be read.
            InvalidParameterError: As for :meth:`load_state`.
        """
        from llamacpp_core.llama.saved_state import read_state_file

        self.load_state(read_state_file(_path(path)))

    def _refuse_loras(self) -> None:
        if self.info.lora:
            raise UnsupportedCapabilityError(
                "a conversation's state does not tell which LoRA adapters computed it: save and load states "
                "with a model that was loaded without adapters",
                parameter="lora",
            )

    def _slot(self) -> int:
        """The slot to restore into: in turn from the last one, since requests begin with the first."""
        self._next_slot = (self._next_slot - 1) % self.info.n_parallel
        return self._next_slot

    def _state(self, kind: str, tokens: list[int], data: bytes) -> LlamaState:
        from llamacpp_core.llama.saved_state import LlamaState

        return LlamaState(kind=kind, tokens=tuple(tokens), data=data, fingerprint=self._fingerprint())

    def _fingerprint(self) -> dict[str, Any]:
        """What must be the same for a state to mean the same."""
        return {
            "architecture": self.info.architecture,
            "n_params": self.info.n_params,
            "size_bytes": self.info.size_bytes,
            "n_vocab": self.info.n_vocab,
            "type_k": self.options.type_k or "f16",
            "type_v": self.options.type_v or "f16",
        }


def _path(value: Any) -> Path:
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path:
        raise InvalidParameterError(f"path must be the path of a file, got {shown(value)}", parameter="path")
    return Path(path)
