"""What a context decodes in one step: tokens, their positions and their sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, integer
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.lowlevel._owned import NativeHandle, NativeObject
from llamacpp_core.native import ffi, lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch"]

_INT32_MAX = 2**31 - 1


class Batch(NativeObject):
    """Tokens (or embeddings) of one or many sequences, decoded together.

    Args:
        capacity: How many tokens fit. A context decodes at most ``n_batch`` at once.
        n_seq_max: To how many sequences one token may belong.
        n_embd: Width of the rows for a batch of embeddings; 0 for a batch of tokens.
    """

    def __init__(self, capacity: int, *, n_seq_max: int = 1, n_embd: int = 0) -> None:
        self.capacity = integer(1, 1 << 24)("capacity", capacity)
        self.n_seq_max = integer(1, lib.llama_max_parallel_sequences())("n_seq_max", n_seq_max)
        self.n_embd = integer(0, 1 << 20)("n_embd", n_embd)
        native = lib.llama_batch_init(self.capacity, self.n_embd, self.n_seq_max)
        super().__init__(NativeHandle(native, lib.llama_batch_free))
        self.clear()

    def clear(self) -> None:
        """Takes everything out."""
        self._pointer.n_tokens = 0
        self._outputs: list[int] = []
        self._max_token = -1
        self._max_seq_id = -1

    def __len__(self) -> int:
        return int(self._pointer.n_tokens)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices in this batch for which the context will have logits (or embeddings)."""
        return tuple(self._outputs)

    def add(self, token: int, position: int, *, seq_ids: Sequence[int] = (0,), output: bool = False) -> int:
        """Adds one token.

        Args:
            token: Token id.
            position: Its position in the sequence, from 0.
            seq_ids: The sequences that it belongs to.
            output: Whether to compute logits after it.

        Returns:
            Its index in the batch: what :meth:`Context.logits` and :meth:`Sampler.sample` take.

        Raises:
            InvalidParameterError: The batch is full, or a value that cannot work.
        """
        if self.n_embd:
            raise InvalidParameterError("this batch holds embeddings (n_embd > 0): use add_embedding()")
        token = integer(0)("token", token)
        index = self._append(position, seq_ids, output)
        self._pointer.token[index] = token
        self._max_token = max(self._max_token, token)
        return index

    def add_tokens(
        self, tokens: Iterable[int], *, position: int = 0, seq_id: int = 0, output_last: bool = True
    ) -> int:
        """Adds consecutive tokens of one sequence.

        Args:
            tokens: Token ids.
            position: Position of the first.
            seq_id: The sequence.
            output_last: Whether to compute logits after the last one.

        Returns:
            The index of the last one in the batch.
        """
        found = list(tokens)
        if not found:
            raise InvalidParameterError("tokens is empty", parameter="tokens")
        if len(self) + len(found) > self.capacity:
            raise InvalidParameterError(
                f"{len(found)} tokens do not fit: {len(self)} of {self.capacity} places are taken",
                parameter="tokens",
            )
        last = len(found) - 1
        for offset, token in enumerate(found):
            index = self.add(
                token, position + offset, seq_ids=(seq_id,), output=output_last and offset == last
            )
        return index

    def add_embedding(
        self,
        row: NDArray[np.float32],
        position: int,
        *,
        seq_ids: Sequence[int] = (0,),
        output: bool = False,
    ) -> int:
        """Adds one input embedding, float32 of shape [n_embd], in place of a token."""
        import numpy as np

        if not self.n_embd:
            raise InvalidParameterError("this batch holds tokens: make it with n_embd to add embeddings")
        data = np.ascontiguousarray(row, dtype=np.float32)
        if data.shape != (self.n_embd,):
            raise InvalidParameterError(
                f"row has shape {data.shape}, expected ({self.n_embd},)", parameter="row"
            )
        index = self._append(position, seq_ids, output)
        ffi.memmove(self._pointer.embd + index * self.n_embd, data, data.nbytes)
        return index

    def set_output(self, index: int, output: bool = True) -> None:
        """Says whether to compute logits after the token at ``index``."""
        index = integer(0, len(self) - 1)("index", index)
        self._pointer.logits[index] = boolean("output", output)
        known = set(self._outputs) | {index} if output else set(self._outputs) - {index}
        self._outputs = sorted(known)

    def _sequences(self) -> frozenset[int]:
        native = self._pointer
        return frozenset(
            native.seq_id[i][k] for i in range(native.n_tokens) for k in range(native.n_seq_id[i])
        )

    def _append(self, position: int, seq_ids: Sequence[int], output: bool) -> int:
        native: Any = self._pointer
        boolean("output", output)
        if isinstance(seq_ids, str | bytes) or not isinstance(seq_ids, Sequence):
            raise InvalidParameterError("seq_ids must be a list of sequence ids", parameter="seq_ids")
        index = int(native.n_tokens)
        if index >= self.capacity:
            raise InvalidParameterError(f"the batch is full: it holds {self.capacity} tokens")
        position = integer(0, _INT32_MAX - 1)("position", position)
        if not 1 <= len(seq_ids) <= self.n_seq_max:
            raise InvalidParameterError(
                f"seq_ids has {len(seq_ids)} entries, but this batch takes 1 to {self.n_seq_max} (n_seq_max)",
                parameter="seq_ids",
            )
        if len(set(seq_ids)) != len(seq_ids):
            raise InvalidParameterError("seq_ids names a sequence twice", parameter="seq_ids")
        for slot, seq_id in enumerate(seq_ids):
            number = integer(0, lib.llama_max_parallel_sequences() - 1)(f"seq_ids[{slot}]", seq_id)
            native.seq_id[index][slot] = number
            self._max_seq_id = max(self._max_seq_id, number)
        native.pos[index] = position
        native.n_seq_id[index] = len(seq_ids)
        native.logits[index] = output
        if output:
            self._outputs.append(index)
        native.n_tokens = index + 1
        return index
