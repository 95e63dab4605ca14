"""A context: the working memory of one conversation, or of many at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, integer, token_ids, unknown_name
from llamacpp_core.errors import (
    ContextOverflowError,
    GenerationError,
    InvalidParameterError,
    ModelAllocationError,
    RequestCancelledError,
    UnsupportedCapabilityError,
)
from llamacpp_core.lowlevel._owned import NativeHandle, because
from llamacpp_core.lowlevel._views import NativeFloats
from llamacpp_core.lowlevel.batch import Batch
from llamacpp_core.lowlevel.context_params import context_params
from llamacpp_core.lowlevel.lora import LoraAdapter, apply_loras
from llamacpp_core.lowlevel.memory import Memory
from llamacpp_core.lowlevel.state import StateMixin
from llamacpp_core.native import checked, ffi, lib
from llamacpp_core.native.enums import enum_name
from llamacpp_core.native.log import drain_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.lowlevel.model import Model

__all__ = ["Context"]

_OPTIONS = tuple(context_params.__kwdefaults__ or ())


class Context(StateMixin):
    """Decodes tokens and gives their logits or embeddings.

    A context is for one thread at a time; a second thread gets an :class:`EngineError`.

    Args:
        model: The model to run.
        options: See :func:`~llamacpp_core.lowlevel.context_params.context_params`: n_ctx, n_batch,
            n_seq_max, n_threads, embeddings, pooling_type, flash_attn, type_k, kv_unified, ...

    Raises:
        ModelAllocationError: The context does not fit into memory, or llama.cpp refuses it.
        InvalidParameterError: An option that cannot work.
    """

    def __init__(self, model: Model, **options: Any) -> None:
        model._require_weights()
        for name in options:
            if name not in _OPTIONS:
                raise unknown_name(name, _OPTIONS, "option of a context")
        params = context_params(**options)
        self._interrupted = ffi.new("int32_t *", 0)
        params.abort_callback = _is_set()
        params.abort_callback_data = self._interrupted
        self.kv_unified = bool(params.kv_unified)
        with model._exclusive():
            native_model = model._pointer
            pointer = checked(ModelAllocationError, lib.llama_init_from_model, native_model, params)
        reasons = drain_errors()
        if pointer == ffi.NULL:
            raise ModelAllocationError(f"llama.cpp cannot make this context{because(reasons)}")
        super().__init__(NativeHandle(pointer, lib.lc_free_context, model._handle, self._interrupted), model)
        self.model = model
        self._embeddings = bool(params.embeddings)
        self._causal = bool(lib.llama_get_causal_attn(pointer))
        self._outputs: dict[int, None] = {}
        self._pooled: frozenset[int] = frozenset()
        self._views: weakref.WeakSet[NativeFloats] = weakref.WeakSet()
        self._output_floats = self._floats_for(0)
        self._lora_handles: list[NativeHandle] = []

    @property
    def memory(self) -> Memory:
        """What the context remembers: operations on its sequences."""
        return Memory(self)

    @property
    def n_ctx(self) -> int:
        """Tokens that the context holds, over all sequences."""
        return int(lib.llama_n_ctx(self._pointer))

    @property
    def n_ctx_seq(self) -> int:
        """Tokens that one sequence may have."""
        return int(lib.llama_n_ctx_seq(self._pointer))

    @property
    def n_batch(self) -> int:
        """Tokens that one :meth:`decode` takes."""
        return int(lib.llama_n_batch(self._pointer))

    @property
    def n_ubatch(self) -> int:
        """Tokens that are computed together."""
        return int(lib.llama_n_ubatch(self._pointer))

    @property
    def n_seq_max(self) -> int:
        """Number of sequences: ids go from 0 to ``n_seq_max - 1``."""
        return int(lib.llama_n_seq_max(self._pointer))

    @property
    def pooling_type(self) -> str:
        """How token embeddings become one per sequence: "none", "mean", "cls", "last" or "rank"."""
        found = enum_name("LLAMA_POOLING_TYPE", lib.llama_pooling_type(self._pointer))
        return "none" if found == "unspecified" else found

    def set_threads(self, n_threads: int, n_threads_batch: int | None = None) -> None:
        """Sets the number of threads for one token, and for many (the same when None)."""
        single = integer(1, 512)("n_threads", n_threads)
        many = single if n_threads_batch is None else integer(1, 512)("n_threads_batch", n_threads_batch)
        with self._exclusive():
            context = self._pointer
            lib.llama_set_n_threads(context, single, many)

    def set_causal_attention(self, causal: bool) -> None:
        """Whether a token sees only what comes before it."""
        with self._exclusive():
            context = self._pointer
            lib.llama_set_causal_attn(context, boolean("causal", causal))
            self._causal = causal

    def set_embeddings(self, embeddings: bool) -> None:
        """Whether the next :meth:`decode` gives embeddings (of every token) besides logits."""
        with self._exclusive():
            context = self._pointer
            lib.llama_set_embeddings(context, boolean("embeddings", embeddings))
            self._embeddings = embeddings

    def set_loras(self, adapters: Mapping[LoraAdapter, float]) -> None:
        """Uses these LoRA adapters from now on, each with its scale; ``{}`` for none.

        Raises:
            InvalidParameterError: An adapter of another model, or a scale that is not finite.
        """
        with self._exclusive():
            context = self._pointer
            self._lora_handles = apply_loras(context, self.model, adapters)

    def close(self) -> None:
        """Frees the context; arrays from :meth:`logits` stay readable. Safe to call again."""
        super().close()
        self._lora_handles = []

    def interrupt(self) -> None:
        """Stops the :meth:`decode` that runs in another thread, or else the next one.

        That call raises :class:`RequestCancelledError`. Works for computations on the CPU.
        """
        self._pointer  # noqa: B018  # raises when closed
        self._interrupted[0] = 1

    def decode(self, batch: Batch | Iterable[int]) -> None:
        """Runs tokens through the model and remembers them.

        Args:
            batch: A :class:`Batch`; or token ids, which continue sequence 0 in steps of ``n_batch``,
                with logits for the last.

        Raises:
            ContextOverflowError: No room is left; nothing was remembered of the failing step.
            InvalidParameterError: tokens, positions or sequences that cannot work.
            RequestCancelledError: :meth:`interrupt` was called.
            GenerationError: The computation failed.
        """
        if isinstance(batch, Batch):
            self._run(lib.llama_decode, batch, every_token=self._embeddings)
            return
        tokens = token_ids("tokens", batch, len(self.model.vocabulary))
        if not tokens:
            raise InvalidParameterError("there are no tokens to decode", parameter="batch")
        position = self.memory.seq_pos_max(0) + 1
        if position + len(tokens) > self.n_ctx_seq:
            raise self._overflow(position + len(tokens))
        step = self.n_batch
        with Batch(min(step, len(tokens))) as part:
            for start in range(0, len(tokens), step):
                piece = tokens[start : start + step]
                part.clear()
                part.add_tokens(piece, position=position + start, output_last=start + step >= len(tokens))
                self._run(lib.llama_decode, part, every_token=self._embeddings)

    def encode(self, batch: Batch) -> None:
        """Runs a batch through the encoder of an encoder-decoder model, or an encoder-only model."""
        if not isinstance(batch, Batch):
            raise InvalidParameterError(
                f"batch must be a Batch, got {type(batch).__name__}", parameter="batch"
            )
        if len(batch) > self.n_ubatch:
            raise InvalidParameterError(
                f"an encoder takes the batch at once: {len(batch)} tokens, but n_ubatch is {self.n_ubatch}",
                parameter="batch",
            )
        self._run(lib.llama_encode, batch, every_token=True)

    def logits(self, index: int = -1) -> NDArray[np.float32]:
        """Logits after one token of the last batch.

        Args:
            index: Index in the batch; negative counts from the last token that has logits.

        Returns:
            float32 of shape [n_vocab], read-only, a view without a copy. The next :meth:`decode`
            writes the same memory: copy what you keep.
        """
        return self._output_view(lib.llama_get_logits_ith, index, len(self.model.vocabulary), "logits")

    def embeddings(self, index: int = -1) -> NDArray[np.float32]:
        """Embedding of one token of the last batch, in a context with embeddings and without pooling.

        Returns:
            float32 of shape [n_embd_out], a read-only view: see :meth:`logits`.
        """
        if not self._embeddings:
            raise UnsupportedCapabilityError("this context gives no embeddings: make it with embeddings=True")
        return self._output_view(lib.llama_get_embeddings_ith, index, self.model.n_embd_out, "embeddings")

    def sequence_embedding(self, seq_id: int = 0) -> NDArray[np.float32]:
        """Pooled embedding of a sequence of the last batch, or its score when ``pooling_type`` is "rank".

        Returns:
            float32 of shape [n_embd_out] (or [n_classes] for "rank"), a copy: llama.cpp frees the
            original at the next decode.
        """
        import numpy as np

        if not self._embeddings or self.pooling_type == "none":
            raise UnsupportedCapabilityError(
                "pooled embeddings need a context made with embeddings=True and a pooling_type"
            )
        self._check_seq_id(seq_id)
        if seq_id not in self._pooled:
            raise InvalidParameterError(f"sequence {seq_id} was not in the last batch", parameter="seq_id")
        width = self.model.n_embd_out
        with self._exclusive():
            context = self._pointer
            lib.llama_synchronize(context)
            if self.pooling_type == "rank":
                width = int(lib.llama_model_n_cls_out(self.model._pointer))
            pointer = lib.llama_get_embeddings_seq(context, seq_id)
            if pointer == ffi.NULL:
                raise GenerationError("llama.cpp gave no embedding for this sequence")
            return np.frombuffer(ffi.buffer(pointer, 4 * width), dtype=np.float32).copy()

    def _output_view(self, function: Any, index: int, width: int, what: str) -> NDArray[np.float32]:
        index = self._check_output(index)
        with self._exclusive():
            context = self._pointer
            pointer = checked(GenerationError, function, context, index)
            if pointer == ffi.NULL:
                raise GenerationError(f"llama.cpp has no {what} for token {index} of the last batch")
            assert self._handle is not None
            view = NativeFloats(pointer, (width,), self._handle)
            self._views.add(view)
            return view.array()

    def _check_output(self, index: int) -> int:
        self._pointer  # noqa: B018  # raises when closed
        outputs = list(self._outputs)
        if not outputs:
            raise InvalidParameterError(
                "there is no output: decode a batch with output=True for some token first", parameter="index"
            )
        index = integer(-len(outputs))("index", index)
        if index < 0:
            return outputs[index]
        if index not in self._outputs:
            raise InvalidParameterError(
                f"token {index} of the last batch has no output; these have: {_listed(outputs)}",
                parameter="index",
            )
        return index

    def _check_seq_id(self, seq_id: int, name: str = "seq_id") -> int:
        check = integer(0, self.n_seq_max - 1, hint="the context's n_seq_max sets the limit")
        return int(check(name, seq_id))

    def _run(self, function: Any, batch: Batch, *, every_token: bool) -> None:
        with self._exclusive(), batch._exclusive():
            context, native = self._pointer, batch._pointer
            self._check_batch(batch)
            outputs = range(len(batch)) if every_token else batch.outputs
            self._guard_views(len(outputs))
            self._outputs = {}
            self._pooled = frozenset()
            try:
                status = checked(GenerationError, function, context, native)
            finally:
                interrupted = bool(self._interrupted[0])
                self._interrupted[0] = 0
            reasons = drain_errors()
            if status != 0:
                raise self._failure(status, interrupted, len(batch), reasons)
            self._outputs = dict.fromkeys(outputs)
            if self._embeddings:
                self._pooled = batch._sequences()

    def _check_batch(self, batch: Batch) -> None:
        if not len(batch):
            raise InvalidParameterError("the batch is empty", parameter="batch")
        limit = self.n_batch if self._causal else min(self.n_batch, self.n_ubatch)
        if len(batch) > limit:
            name = "n_batch" if self._causal else "n_ubatch (attention is not causal)"
            raise InvalidParameterError(
                f"the batch has {len(batch)} tokens, but the context's {name} is {limit}", parameter="batch"
            )
        n_vocab = len(self.model.vocabulary)
        if batch._max_token >= n_vocab:
            raise InvalidParameterError(
                f"token {batch._max_token} is not in the vocabulary of {n_vocab} tokens", parameter="batch"
            )
        if batch._max_seq_id >= self.n_seq_max:
            raise InvalidParameterError(
                f"the batch names sequence {batch._max_seq_id}, but n_seq_max is {self.n_seq_max}",
                parameter="batch",
            )
        if batch.n_embd:
            self._check_embedding_batch(batch)

    def _check_embedding_batch(self, batch: Batch) -> None:
        if batch.n_embd != self.model.n_embd:
            raise InvalidParameterError(
                f"the batch has rows of {batch.n_embd} values, but the model takes {self.model.n_embd}",
                parameter="batch",
            )
        multi = (lib.LLAMA_ROPE_TYPE_MROPE, lib.LLAMA_ROPE_TYPE_IMROPE, lib.LLAMA_ROPE_TYPE_VISION)
        if lib.llama_model_rope_type(self.model._pointer) in multi:
            raise UnsupportedCapabilityError(
                "this model needs several positions per embedding: not supported here"
            )

    def _floats_for(self, n_outputs: int) -> int:
        """Size of llama.cpp's output buffer (llama_context::output_reserve), which only ever grows."""
        width = len(self.model.vocabulary)
        if self._embeddings or self.model.has_encoder:
            width += self.model.n_embd_out
        return max(n_outputs, self.n_seq_max) * width

    def _guard_views(self, n_outputs: int) -> None:
        needed = self._floats_for(n_outputs)
        if needed > self._output_floats:
            if len(self._views):
                raise GenerationError(
                    "this batch needs a larger output buffer while an array from logits() or embeddings() "
                    "still shows the old one: copy the array, or let go of it, before decoding"
                )
            self._output_floats = needed

    def _failure(self, status: int, interrupted: bool, n_tokens: int, reasons: list[str]) -> Exception:
        if status == 1:
            return self._overflow(n_tokens)
        if status == 2 or interrupted:
            return RequestCancelledError("interrupt() stopped this decode; a part of it may be remembered")
        if status == -1:
            return InvalidParameterError(
                "llama.cpp refused the batch; positions go on, without gaps, from where a sequence ends "
                f"(memory.seq_pos_max(seq_id) + 1){because(reasons)}",
                parameter="batch",
            )
        return GenerationError(f"llama.cpp failed to decode (status {status}){because(reasons)}")

    def _overflow(self, n_tokens: int) -> ContextOverflowError:
        return ContextOverflowError(
            f"no room for {n_tokens} tokens in a context of {self.n_ctx_seq}: raise n_ctx, or make room "
            "(memory.seq_rm, memory.seq_add)",
            n_prompt_tokens=n_tokens,
            n_ctx=self.n_ctx_seq,
            parameter="batch",
        )


def _is_set() -> Any:
    """The C function that tells llama.cpp to stop, as a pointer."""
    return ffi.addressof(lib, "lc_is_set")


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + (", ..." if len(numbers) > 8 else "")
