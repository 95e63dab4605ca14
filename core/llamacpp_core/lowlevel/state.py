"""Saving what a context remembers, and bringing it back."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._ffi import checked, ffi, lib
from llamacpp_core.errors import GenerationError, InvalidParameterError
from llamacpp_core.lowlevel._checks import token_list

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.context import Context

__all__ = ["StateMixin"]

# llama.cpp trusts the bytes that it restores, so ours carry a mark and a checksum: mark, version,
# kind (whole context, or one sequence), crc32 of the rest.
_HEADER = struct.Struct("<4sHHI")
_MARK = b"LCST"
_VERSION = 1
_WHOLE, _SEQUENCE = 0, 1
_KINDS = {_WHOLE: "a whole context", _SEQUENCE: "one sequence"}


class StateMixin:
    """The part of :class:`Context` that saves and restores.

    A state is the memory of the sequences (KV cache or recurrent state), without logits: to go on
    from a restored state, decode the next token. It fits contexts of the same model with the same cache types.
    """

    def save_state(self: Context) -> bytes:  # type: ignore[misc]  # mixed into Context only
        """Returns the state of the whole context."""
        with self._exclusive() as context:
            size = checked(GenerationError, lib.llama_state_get_size, context)
            return _pack(_WHOLE, size, lambda buffer: lib.llama_state_get_data(context, buffer, size))

    def load_state(self: Context, state: bytes) -> None:  # type: ignore[misc]  # mixed into Context only
        """Restores what :meth:`save_state` returned.

        Raises:
            InvalidParameterError: damaged, of another kind, or of a context that does not match;
                the memory is empty after the last.
        """
        payload = _unpack(state, _WHOLE)
        with self._exclusive() as context:
            self._outputs = {}
            read = checked(
                InvalidParameterError, lib.llama_state_set_data, context, ffi.from_buffer("uint8_t[]", payload), len(payload)
            )
            if read != len(payload):
                self.memory.clear()
                raise _mismatch()

    def save_sequence(self: Context, seq_id: int = 0) -> bytes:  # type: ignore[misc]  # mixed into Context only
        """Returns the state of one sequence."""
        self._check_seq_id(seq_id)
        with self._exclusive() as context:
            size = checked(GenerationError, lib.llama_state_seq_get_size, context, seq_id)
            return _pack(
                _SEQUENCE, size, lambda buffer: lib.llama_state_seq_get_data(context, buffer, size, seq_id)
            )

    def load_sequence(self: Context, state: bytes, seq_id: int = 0) -> None:  # type: ignore[misc]  # mixed into Context only
        """Restores what :meth:`save_sequence` returned, into any sequence.

        Raises:
            InvalidParameterError: as for :meth:`load_state`; the sequence is empty after a mismatch.
        """
        self._check_seq_id(seq_id)
        payload = _unpack(state, _SEQUENCE)
        with self._exclusive() as context:
            self._outputs = {}
            data = ffi.from_buffer("uint8_t[]", payload)
            read = checked(InvalidParameterError, lib.llama_state_seq_set_data, context, data, len(payload), seq_id)
            if read != len(payload):
                self.memory.seq_rm(seq_id)
                raise _mismatch()

    def save_state_file(  # type: ignore[misc]  # mixed into Context only
        self: Context, path: str | os.PathLike[str], tokens: Iterable[int] = ()
    ) -> None:
        """Writes the state of the whole context, with the tokens that made it, as a llama.cpp session file."""
        ids = token_list(tokens, len(self.model.vocabulary))
        with self._exclusive() as context:
            data = ffi.new("llama_token[]", ids)
            if not checked(GenerationError, lib.llama_state_save_file, context, os.fsencode(path), data, len(ids)):
                raise GenerationError(f"llama.cpp could not write {path}")

    def load_state_file(self: Context, path: str | os.PathLike[str]) -> list[int]:  # type: ignore[misc]  # mixed into Context only
        """Restores a session file and returns the tokens in it.

        Raises:
            InvalidParameterError: not such a file, or it does not match this context.
        """
        count = _read_count(Path(path), lib.LLAMA_SESSION_MAGIC, lib.LLAMA_SESSION_VERSION)
        with self._exclusive() as context:
            self._outputs = {}
            tokens, found = ffi.new("llama_token[]", max(count, 1)), ffi.new("size_t *")
            if not checked(
                InvalidParameterError, lib.llama_state_load_file, context, os.fsencode(path), tokens, count, found
            ):
                self.memory.clear()
                raise _mismatch()
            return list(ffi.unpack(tokens, found[0]))

    def save_sequence_file(  # type: ignore[misc]  # mixed into Context only
        self: Context, path: str | os.PathLike[str], seq_id: int = 0, tokens: Iterable[int] = ()
    ) -> None:
        """Writes the state of one sequence, with its tokens, as a llama.cpp sequence file."""
        self._check_seq_id(seq_id)
        ids = token_list(tokens, len(self.model.vocabulary))
        with self._exclusive() as context:
            data = ffi.new("llama_token[]", ids)
            if not checked(
                *(GenerationError, lib.llama_state_seq_save_file, context, os.fsencode(path), seq_id, data, len(ids))
            ):
                raise GenerationError(f"llama.cpp could not write {path}")

    def load_sequence_file(  # type: ignore[misc]  # mixed into Context only
        self: Context, path: str | os.PathLike[str], seq_id: int = 0
    ) -> list[int]:
        """Restores a sequence file into any sequence and returns the tokens in it.

        Raises:
            InvalidParameterError: as for :meth:`load_state_file`.
        """
        self._check_seq_id(seq_id)
        count = _read_count(Path(path), lib.LLAMA_STATE_SEQ_MAGIC, lib.LLAMA_STATE_SEQ_VERSION)
        with self._exclusive() as context:
            self._outputs = {}
            tokens, found = ffi.new("llama_token[]", max(count, 1)), ffi.new("size_t *")
            arguments = (context, os.fsencode(path), seq_id, tokens, count, found)
            if not checked(InvalidParameterError, lib.llama_state_seq_load_file, *arguments):
                self.memory.seq_rm(seq_id)
                raise _mismatch()
            return list(ffi.unpack(tokens, found[0]))


def _pack(kind: int, size: int, write: Any) -> bytes:
    buffer = ffi.new("uint8_t[]", max(size, 1))
    written = checked(GenerationError, write, buffer)
    if written != size:
        raise GenerationError("llama.cpp could not save the state; the log of 'llamacpp_core' says why")
    payload = bytes(ffi.buffer(buffer, size))
    return _HEADER.pack(_MARK, _VERSION, kind, zlib.crc32(payload)) + payload


def _unpack(state: bytes, kind: int) -> bytes:
    if len(state) < _HEADER.size:
        raise InvalidParameterError("state is not a saved state: it is too short", parameter="state")
    mark, version, found, checksum = _HEADER.unpack_from(state)
    if mark != _MARK or version != _VERSION:
        raise InvalidParameterError("state is not a saved state of this version", parameter="state")
    if found != kind:
        raise InvalidParameterError(
            f"state is of {_KINDS.get(found, 'something else')}, expected {_KINDS[kind]}", parameter="state"
        )
    payload = bytes(state[_HEADER.size :])
    if zlib.crc32(payload) != checksum:
        raise InvalidParameterError("state is damaged: its checksum does not match", parameter="state")
    return payload


def _read_count(path: Path, magic: int, version: int) -> int:
    """Number of tokens in a llama.cpp state file, after a look at its header."""
    header = struct.Struct("=III")
    try:
        with path.open("rb") as file:
            start = file.read(header.size)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise InvalidParameterError(f"cannot read {path}: {error}", parameter="path") from error
    if len(start) < header.size or header.unpack(start)[:2] != (magic, version):
        raise InvalidParameterError(f"{path} is not a llama.cpp state file of this version", parameter="path")
    count = int(header.unpack(start)[2])
    if header.size + 4 * count > size:
        raise InvalidParameterError(f"{path} is damaged: it ends too early", parameter="path")
    return count


def _mismatch() -> InvalidParameterError:
    return InvalidParameterError(
        "the state does not fit this context: it needs the same model, cache types and room (n_ctx, n_seq_max)",
        parameter="state",
    )
