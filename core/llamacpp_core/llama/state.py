"""The methods of :class:`~llamacpp_core.Llama` that save and restore conversations, and its seed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import file_path
from llamacpp_core._checks import seed as check_seed
from llamacpp_core.engine.slots import restore_slot, save_slot
from llamacpp_core.errors import (
    EngineClosedError,
    EngineError,
    ForkedProcessError,
    InvalidParameterError,
    UnsupportedCapabilityError,
)
from llamacpp_core.llama.evaluation import Evaluation, evaluated

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.llama.saved_state import LlamaState
    from llamacpp_core.request.runner import Prepared

__all__ = [
    "load_state",
    "load_state_file",
    "save_state",
    "save_state_file",
    "set_cache",
    "set_seed",
]


def set_seed(self: Llama, seed: int) -> None:
    """Sets the seed of requests that bring none; -1 for a new one each time."""
    self._seed = check_seed("seed", seed)


def set_cache(self: Llama, cache: Any) -> None:
    """Accepts llama-cpp-python's caches; the engine keeps prompts by itself.

    Args:
        cache: A :class:`~llamacpp_core.LlamaRAMCache` changes nothing. A
            :class:`~llamacpp_core.LlamaDiskCache` names the folder for long beginnings of prompts.
            None: what was named when the model was loaded.

    Raises:
        UnsupportedCapabilityError: The cache is of another kind; says what to use.
        InvalidParameterError: The folder cannot be written to.
    """
    from llamacpp_core.engine.load.prompt_cache import keep_prompts
    from llamacpp_core.llama.compat import LlamaDiskCache, check_cache

    checked = check_cache(cache)
    if isinstance(checked, LlamaDiskCache):
        folder, size = str(Path(checked.cache_dir).absolute()), checked.capacity_bytes
    else:
        folder, size = str(self.options.prompt_cache_dir or ""), self.options.prompt_cache_mib * 2**20
    if folder or isinstance(self.cache, LlamaDiskCache):
        keep_prompts(self._engine, self._resolved, self.options, folder, size)
    self.cache = checked


def save_state(self: Llama) -> LlamaState:
    """The state of the conversation last worked on: its tokens, and all that was computed for them.

    That is the request that began last, or what :meth:`eval` has read or :meth:`load_state` has restored, if
    that was called later. A request that goes on from there has nothing of it to compute again, in this
    process or another.

    Raises:
        EngineError: There is no conversation, or its memory is in use by a later request.
        UnsupportedCapabilityError: LoRA adapters took part.
    """
    from llamacpp_core.llama.saved_state import LlamaState

    last = self._last
    if isinstance(last, LlamaState):
        return last
    _refuse_loras(self, last)
    if last is None:
        raise EngineError("there is no conversation to save: nothing was generated or evaluated")
    if isinstance(last, Evaluation):
        session = last.session
        with session.lock:
            return _state(self, "eval", session.tokens, session.opened().save_sequence(0))
    choices = last.assembler.choices
    final = choices[0].final
    if final is None or not last.assembler.done:
        raise EngineError("the last request has not ended: read its stream to the end, then save")
    if final.id_slot < 0:
        return self._sessions.save_idle(lambda tokens, data: _state(self, "loop", tokens, data))
    import tempfile

    with tempfile.TemporaryDirectory(prefix="llamacpp-") as folder:
        path = Path(folder) / "slot"
        save_slot(self._engine, final.id_slot, final.id_task, os.fspath(path))
        return _state(self, "engine", [], path.read_bytes())


def load_state(self: Llama, state: LlamaState) -> None:
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
    _refuse_loras(self)
    state.check_fits(_fingerprint(self))
    if state.kind == "eval":
        evaluation = evaluated(self)
        evaluation.session.restore(state.data, state.tokens)
        evaluation.rows = []
        return
    if state.kind == "loop":
        self._sessions.restore_idle(state.data, state.tokens, self.info.n_ctx)
        self._last = state
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="llamacpp-") as folder:
        path = Path(folder) / "slot"
        path.write_bytes(state.data)
        try:
            restore_slot(self._engine, _slot(self), os.fspath(path))
        except (EngineClosedError, ForkedProcessError):
            raise
        except EngineError as error:
            raise InvalidParameterError(
                f"the state does not fit this context ({error}): it needs as large an n_ctx and the same "
                "cache types",
                parameter="state",
            ) from None
    self._last = state


def save_state_file(self: Llama, path: str | os.PathLike[str]) -> None:
    """Writes the state of :meth:`save_state` to a file.

    Raises:
        OSError: The file cannot be written.
        EngineError: As for :meth:`save_state`.
    """
    from llamacpp_core.llama.saved_state import write_state_file

    write_state_file(file_path("path", path), self.save_state())


def load_state_file(self: Llama, path: str | os.PathLike[str]) -> None:
    """Restores a file of :meth:`save_state_file`.

    Raises:
        OSError: The file cannot be read.
        InvalidParameterError: As for :meth:`load_state`.
    """
    from llamacpp_core.llama.saved_state import read_state_file

    self.load_state(read_state_file(file_path("path", path)))


def _refuse_loras(llama: Llama, last: Prepared | Evaluation | None = None) -> None:
    named = () if last is None or isinstance(last, Evaluation) else last.params.get("lora") or ()
    if llama._adapters.defaults or any(one["scale"] for one in named):
        raise UnsupportedCapabilityError(
            "a conversation's state does not tell which LoRA adapters computed it: save and load states "
            "with a model that was loaded without adapters, after a request without them",
            parameter="lora",
        )


def _slot(llama: Llama) -> int:
    """The slot to restore into: in turn from the last one, since requests begin with the first."""
    llama._next_slot = (llama._next_slot - 1) % llama.info.n_parallel
    return llama._next_slot


def _state(llama: Llama, kind: str, tokens: list[int], data: bytes) -> LlamaState:
    from llamacpp_core.llama.saved_state import LlamaState

    return LlamaState(kind=kind, tokens=tuple(tokens), data=data, fingerprint=_fingerprint(llama))


def _fingerprint(llama: Llama) -> dict[str, Any]:
    """What must be the same for a state to mean the same."""
    return {
        "architecture": llama.info.architecture,
        "n_params": llama.info.n_params,
        "size_bytes": llama.info.size_bytes,
        "n_vocab": llama.info.n_vocab,
        "type_k": llama.options.type_k or "f16",
        "type_v": llama.options.type_v or "f16",
    }
