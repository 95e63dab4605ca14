"""Low-level contexts on an engine's weights, each with the tokens that are in it.

The engine decodes many requests in one batch and samples natively. Where Python has a say in every token
(logits processors, stopping criteria, ``Llama.eval``), a request runs in a context of its own instead, over
the same weights.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llamacpp_core.engine.adapters import AdapterFiles, Adapters
from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.info import ModelInfo
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import (
    EngineClosedError,
    EngineError,
    InvalidParameterError,
    ModelLoadError,
    UnsupportedCapabilityError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.chooser import TokenChooser
    from llamacpp_core.lowlevel import Context, LoraAdapter, Model

__all__ = ["Session", "SessionPool"]

T = TypeVar("T")

#: Contexts are made in steps of this many tokens.
_STEP = 256
#: Rows of logits that are asked for at once.
_ROWS = 32

_live: weakref.WeakSet[SessionPool] = weakref.WeakSet()


class Session:
    """A context and the tokens that it remembers. For one thread at a time, under its lock.

    Attributes:
        tokens: What has been decoded.
        lock: Held while the context works.
    """

    def __init__(self, pool: SessionPool, context: Context) -> None:
        self._pool = pool
        self.context = context
        self.tokens: list[int] = []
        self.lock = threading.RLock()
        self._scales: dict[int, float] = {}
        self.n_ctx = context.n_ctx_seq

    def opened(self) -> Context:
        """The context, for a block under the lock: nobody closes it there.

        Raises:
            EngineClosedError: The model was closed.
        """
        if self._pool.closed:
            raise EngineClosedError("the model was closed while this request was running")
        return self.context

    def clear(self) -> None:
        """Forgets everything."""
        with self.lock:
            context = self.opened()
            context.memory.clear()
            self.tokens = []

    def truncate(self, n_tokens: int) -> None:
        """Forgets all but the first tokens; where the model cannot forget a part, everything."""
        if n_tokens >= len(self.tokens):
            return
        with self.lock:
            context = self.opened()
            try:
                context.memory.seq_rm(0, n_tokens)
                self.tokens = self.tokens[:n_tokens]
            except UnsupportedCapabilityError:
                self.clear()

    def rewind(self, prompt: Sequence[int], *, keep_all: bool = False) -> int:
        """Forgets what a prompt does not begin with; returns how many of its tokens are remembered.

        Args:
            prompt: The tokens that are to come.
            keep_all: Remember the whole prompt, if it is there. Else its last token is always decoded
                again, for its logits.
        """
        most = len(prompt) if keep_all else max(len(prompt) - 1, 0)
        n_common = 0
        for mine, wanted in zip(self.tokens, prompt[:most], strict=False):
            if mine != wanted:
                break
            n_common += 1
        self.truncate(n_common)
        return len(self.tokens)

    def decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Decodes tokens and returns the logits after the last, float32 of shape [n_vocab], copied."""
        with self.lock:
            context = self.opened()
            context.decode(tokens)
            self.tokens.extend(tokens)
            return context.logits().copy()

    def decode_rows(self, tokens: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Decodes tokens; gives the logits after every one of them, float32 of shape [n_vocab], copied."""
        from llamacpp_core.lowlevel import Batch

        for start in range(0, len(tokens), _ROWS):
            part = list(tokens[start : start + _ROWS])
            with self.lock, Batch(len(part)) as batch:
                context = self.opened()
                for offset, token in enumerate(part):
                    batch.add(token, len(self.tokens) + offset, output=True)
                context.decode(batch)
                self.tokens.extend(part)
                rows = [context.logits(i).copy() for i in range(len(part))]
            yield from rows

    def choose(self, chooser: TokenChooser, logits: NDArray[np.float32]) -> int:
        """The token that a chooser chooses by logits, float32 of shape [n_vocab]; it is not decoded by this.

        Raises:
            GenerationError: Every token is forbidden.
        """
        with self.lock:
            context = self.opened()
            with context._exclusive():
                return chooser.choose(context._pointer, logits)

    def restore(self, data: bytes, tokens: Sequence[int]) -> None:
        """Takes on a state: llama.cpp's bytes of a sequence, and its tokens.

        Raises:
            InvalidParameterError: It does not fit this context, or its tokens are not those of its bytes.
        """
        self.clear()
        with self.lock:
            context = self.opened()
            ids = context.model.vocabulary.check_all(tokens, "state.tokens")
            context.load_sequence(data, 0)
            held = context.memory.seq_pos_max(0) + 1
            if held != len(ids):
                context.memory.clear()
                raise InvalidParameterError(
                    f"state is damaged: it names {len(ids)} tokens, and its data hold {held}",
                    parameter="state",
                )
            self.tokens = ids

    def use_loras(self, scales: Mapping[int, float]) -> None:
        """Applies LoRA adapters, by their numbers, with these scales; a change forgets the tokens.

        Raises:
            ModelLoadError: An adapter's file is another one than when it was loaded.
        """
        wanted = {number: scale for number, scale in scales.items() if scale}
        if wanted == self._scales:
            return
        self.clear()
        with self.lock:
            context = self.opened()
            context.set_loras({self._pool.adapter(number): scale for number, scale in wanted.items()})
            self._scales = wanted

    def uses(self, number: int) -> bool:
        """Whether its tokens were computed with an adapter."""
        return number in self._scales


class SessionPool:
    """Makes the low-level contexts of one loaded model, and closes them before it.

    Args:
        engine: The engine that owns the weights.
        info: Facts about the model.
        options: How it was loaded.
        adapters: The model's LoRA adapters.

    Attributes:
        adapters: The model's LoRA adapters.
    """

    def __init__(self, engine: Engine, info: ModelInfo, options: LoadOptions, adapters: Adapters) -> None:
        self.engine = engine
        self.adapters = adapters
        self._info = info
        self._options = options
        self._own_lock = threading.RLock()
        self._model: Model | None = None
        self._loaded: dict[int, LoraAdapter] = {}
        self._open: set[Session] = set()
        self._idle: Session | None = None
        self.closed = False
        self._pid = os.getpid()
        _live.add(self)

    @property
    def _lock(self) -> threading.RLock:
        """Guards what the pool has; a ForkedProcessError in a child, where nobody may give it back."""
        self.engine.check_process()
        return self._own_lock

    @property
    def model(self) -> Model:
        """The engine's weights, as the low level sees them.

        Raises:
            EngineClosedError: The model was closed.
        """
        with self._lock:
            if self.closed:
                raise EngineClosedError("the engine is closed: create a new Llama")
            if self._model is None:
                from llamacpp_core.lowlevel import Model

                with self.engine.model() as pointer:
                    self._model = Model._borrow(pointer, self.engine)
            return self._model

    def adapter(self, number: int) -> LoraAdapter:
        """A LoRA adapter in the low level's form, read when it is first needed.

        Raises:
            InvalidParameterError: It was unloaded.
            ModelLoadError: Its file is another one than when it was loaded.
        """
        with self._lock:
            if number in self._loaded:
                return self._loaded[number]
            found = self.adapters.find(number)
            if found is None:
                raise InvalidParameterError("lora names an adapter that was unloaded", parameter="lora")
            files = AdapterFiles(found.path)
            if files.digests != [found.digest]:
                raise ModelLoadError(
                    f"{found.path} has changed since it was loaded as {found.name!r}, and a request with "
                    "Python in it reads it again: unload the adapter and load it anew",
                    path=found.path,
                )
            adapter = self.model.load_lora(found.path)
            try:
                files.check()
            except BaseException:
                adapter.close()
                raise
            return self._loaded.setdefault(number, adapter)

    def forget_adapter(self, number: int) -> None:
        """Gives an adapter up; contexts that compute with it keep it."""
        with self._lock:
            loaded = self._loaded.pop(number, None)
            idle = self._idle
            if idle is not None and idle.uses(number):
                self._idle = None
                self.discard(idle)
        if loaded is not None:
            loaded.close()

    @property
    def n_busy(self) -> int:
        """How many sessions somebody has."""
        with self._lock:
            return len(self._open) - (self._idle is not None)

    def new(self, n_ctx: int) -> Session:
        """A new session that holds ``n_ctx`` tokens."""
        with self._lock:
            context = self.model.create_context(n_ctx=n_ctx, **self._context_options())
            session = Session(self, context)
            self._open.add(session)
            return session

    def borrow(self, prompt: Sequence[int], max_tokens: int | None) -> Session:
        """A session with room for a prompt and an answer; give it back with :meth:`give_back`."""
        most = self._info.n_ctx
        needed = most if max_tokens is None else min(most, len(prompt) + max_tokens)
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is not None:
            if idle.n_ctx >= needed:
                return idle
            self.discard(idle)
        return self.new(min(most, -(-needed // _STEP) * _STEP))

    def give_back(self, session: Session) -> None:
        """Keeps a session, with what it remembers, for the next request; one is kept."""
        if self._pid != os.getpid():
            return  # the garbage collector of a child gives back what was the parent's
        surplus: Session | None = session
        with self._lock:
            if not self.closed and (self._idle is None or self._idle.n_ctx < session.n_ctx):
                surplus, self._idle = self._idle, session
        if surplus is not None:
            self.discard(surplus)

    def save_idle(self, save: Callable[[list[int], bytes], T]) -> T:
        """Gives the tokens and the state of the session that is kept to a function; returns its result.

        Raises:
            EngineError: None is kept.
        """
        with self._lock:
            session = self._idle
            if session is None:
                raise EngineError("the last request's context was given up: there is nothing to save")
            with session.lock:
                context = session.opened()
                if session._scales:
                    raise EngineError(
                        "the last context was computed with LoRA adapters: nothing else is there to save"
                    )
                return save(session.tokens, context.save_sequence(0))

    def restore_idle(self, data: bytes, tokens: Sequence[int], n_ctx: int) -> None:
        """Keeps a session with a restored state for the next request."""
        session = self.new(n_ctx)
        try:
            session.restore(data, tokens)
        except BaseException:
            self.discard(session)
            raise
        with self._lock:
            surplus, self._idle = self._idle, session
        if surplus is not None:
            self.discard(surplus)

    def discard(self, session: Session) -> None:
        """Frees a session."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._open.discard(session)
        with session.lock:
            session.context.close()

    def close(self) -> None:
        """Frees every session; who works on one gets :class:`EngineClosedError`. Can be repeated."""
        if self._pid != os.getpid():
            return  # the parent's; another thread may have held a lock at the fork
        with self._lock:
            if self.closed:
                return
            self.closed = True
            sessions, self._open, self._idle = list(self._open), set(), None
        for session in sessions:
            if not session.context.closed:
                session.context.interrupt()
            with session.lock:
                session.context.close()
        if self._model is not None:
            self._model.close()

    def _context_options(self) -> dict[str, Any]:
        o = self._options
        flash: dict[Any, str] = {True: "enabled", False: "disabled", "auto": "auto"}
        given: dict[str, Any] = {
            "n_batch": o.n_batch,
            "n_ubatch": min(o.n_ubatch, o.n_batch),
            "n_threads": self._info.n_threads,
            "n_threads_batch": o.n_threads_batch,
            "flash_attn": flash[o.flash_attn],
            "type_k": o.type_k,
            "type_v": o.type_v,
            "offload_kqv": o.offload_kqv,
            "op_offload": o.op_offload,
            "swa_full": o.swa_full,
            "rope_scaling_type": o.rope_scaling_type,
            "rope_freq_base": o.rope_freq_base,
            "rope_freq_scale": o.rope_freq_scale,
            "yarn_ext_factor": o.yarn_ext_factor,
            "yarn_attn_factor": o.yarn_attn_factor if o.yarn_attn_factor >= 0 else None,
            "yarn_beta_fast": o.yarn_beta_fast if o.yarn_beta_fast >= 0 else None,
            "yarn_beta_slow": o.yarn_beta_slow if o.yarn_beta_slow >= 0 else None,
            "yarn_orig_ctx": o.yarn_orig_ctx,
        }
        return {name: value for name, value in given.items() if value is not None}


@atexit.register
def _close_all() -> None:
    # Registered after the engine's own, so it runs before the weights are freed.
    for pool in list(_live):
        pool.close()
