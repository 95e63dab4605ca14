"""What a context remembers: the KV cache (or recurrent state) of each sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import integer
from llamacpp_core.errors import EngineError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.native import checked, ffi, lib

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.context import Context

__all__ = ["Memory"]

_INT32_MAX = 2**31 - 1


class Memory:
    """The memory of a :class:`Context`; get it from ``context.memory``.

    Positions are ranges [start, end): None means from the beginning, or to the end.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def _native(self) -> Any:
        """The ``llama_memory_t``, for a block under the context's lock."""
        pointer = lib.llama_get_memory(self._context._pointer)
        if pointer == ffi.NULL:
            raise UnsupportedCapabilityError("this model keeps no memory between calls (it has no decoder)")
        return pointer

    def _seq(self, seq_id: int, name: str = "seq_id") -> int:
        return self._context._check_seq_id(seq_id, name)

    def clear(self, *, data: bool = True) -> None:
        """Forgets everything; ``data=False`` leaves the buffers' contents in place, unused."""
        with self._context._exclusive():
            memory = self._native
            checked(EngineError, lib.llama_memory_clear, memory, data)

    def seq_rm(self, seq_id: int | None, start: int | None = None, end: int | None = None) -> None:
        """Forgets positions of a sequence; of every sequence when ``seq_id`` is None.

        Raises:
            UnsupportedCapabilityError: This memory cannot forget a part of a sequence (recurrent models).
        """
        first, last = _position_range(start, end)
        sequence = -1 if seq_id is None else self._seq(seq_id)
        with self._context._exclusive():
            memory = self._native
            if not checked(EngineError, lib.llama_memory_seq_rm, memory, sequence, first, last):
                raise UnsupportedCapabilityError(
                    "this memory cannot forget a part of a sequence: remove the whole sequence"
                )

    def seq_cp(self, source: int, target: int, start: int | None = None, end: int | None = None) -> None:
        """Makes ``target`` share positions of ``source`` (with ``kv_unified``) or copies them.

        Raises:
            UnsupportedCapabilityError: A part of a sequence, in a context without ``kv_unified``.
        """
        first, last = _position_range(start, end)
        origin, destination = self._seq(source, "source"), self._seq(target, "target")
        whole = first <= 0 and (last < 0 or last > self.seq_pos_max(source))
        if not whole and not self._context.kv_unified and origin != destination:
            raise UnsupportedCapabilityError(
                "copying a part of a sequence needs a context made with kv_unified=True: copy the whole "
                "sequence, then seq_rm() the rest"
            )
        if whole:
            first, last = -1, -1
        with self._context._exclusive():
            memory = self._native
            checked(EngineError, lib.llama_memory_seq_cp, memory, origin, destination, first, last)

    def seq_keep(self, seq_id: int) -> None:
        """Forgets every other sequence."""
        self._seq(seq_id)
        others = [other for other in range(self._context.n_seq_max) if other != seq_id]
        with self._context._exclusive():
            memory = self._native
            # llama_memory_seq_keep() looks only at the sequence's own part of a memory that is not unified
            for other in others:
                checked(EngineError, lib.llama_memory_seq_rm, memory, other, -1, -1)

    def seq_add(self, seq_id: int, delta: int, start: int | None = None, end: int | None = None) -> None:
        """Moves positions of a sequence by ``delta``; what would fall below 0 is forgotten.

        Raises:
            UnsupportedCapabilityError: This memory cannot shift (see :attr:`can_shift`).
        """
        first, last = _position_range(start, end)
        sequence = self._seq(seq_id)
        delta = integer(-_INT32_MAX)("delta", delta)
        if delta > 0 and self.seq_pos_max(seq_id) > _INT32_MAX - 1 - delta:
            raise InvalidParameterError("delta moves a position beyond 2**31 - 1", parameter="delta")
        self._require_shift()
        with self._context._exclusive():
            memory = self._native
            checked(EngineError, lib.llama_memory_seq_add, memory, sequence, first, last, delta)

    def seq_div(self, seq_id: int, divisor: int, start: int | None = None, end: int | None = None) -> None:
        """Divides positions of a sequence by ``divisor``, rounding down.

        Raises:
            UnsupportedCapabilityError: This memory cannot shift (see :attr:`can_shift`).
        """
        first, last = _position_range(start, end)
        sequence = self._seq(seq_id)
        divisor = integer(1)("divisor", divisor)
        self._require_shift()
        with self._context._exclusive():
            memory = self._native
            checked(EngineError, lib.llama_memory_seq_div, memory, sequence, first, last, divisor)

    def seq_pos_min(self, seq_id: int) -> int:
        """The first position that is remembered; -1 for an empty sequence."""
        sequence = self._seq(seq_id)
        with self._context._exclusive():
            memory = self._native
            return int(lib.llama_memory_seq_pos_min(memory, sequence))

    def seq_pos_max(self, seq_id: int) -> int:
        """The last position that is remembered; -1 for an empty sequence."""
        sequence = self._seq(seq_id)
        with self._context._exclusive():
            memory = self._native
            return int(lib.llama_memory_seq_pos_max(memory, sequence))

    @property
    def can_shift(self) -> bool:
        """Whether :meth:`seq_add` and :meth:`seq_div` work."""
        with self._context._exclusive():
            memory = self._native
            return bool(lib.llama_memory_can_shift(memory))

    def _require_shift(self) -> None:
        if not self.can_shift:
            raise UnsupportedCapabilityError(
                "this model's memory cannot change positions (can_shift is False)"
            )


def _position_range(start: int | None, end: int | None) -> tuple[int, int]:
    """Returns the native form of positions [start, end): None means from the beginning, or to the end."""
    first = -1 if start is None else integer(0)("start", start)
    last = -1 if end is None else integer(0)("end", end)
    if start is not None and end is not None and last < first:
        raise InvalidParameterError(f"end ({last}) lies before start ({first})", parameter="end")
    return first, last
