"""Saving what a context remembers, and bringing it back."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import file_path, token_ids
from llamacpp_core.errors import GenerationError, InvalidParameterError
from llamacpp_core.lowlevel._owned import NativeObject, because
from llamacpp_core.native import checked, ffi, lib
from llamacpp_core.native.log import drain_errors

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.model import Model

__all__ = ["StateMixin"]

# llama.cpp trusts the bytes that it restores and aborts the process on damaged ones (its own session files
# too), so a state carries a mark, a version, its kind, the number of tokens kept with it, and a checksum of
# all that follows: the tokens as int32, then llama.cpp's bytes. Everything little-endian.
_HEADER = struct.Struct("<4sHHII")
_MARK = b"LCST"
_VERSION = 1
_WHOLE, _SEQUENCE = 0, 1
_KINDS = {_WHOLE: "a whole context", _SEQUENCE: "one sequence"}


class StateMixin(NativeObject):
    """The part of :class:`Context` that saves and restores.

    A state is the memory of the sequences (KV cache or recurrent state), without logits: to go on
    from a restored state, decode the next token. It fits contexts of the same model with the same cache
    types.
    """

    model: Model
    _outputs: dict[int, None]
    _check_seq_id: Callable[..., int]

    def save_state(self) -> bytes:
        """Returns the state of the whole context."""
        return self._save_state([])

    def load_state(self, state: bytes) -> None:
        """Restores what :meth:`save_state` returned.

        Raises:
            InvalidParameterError: damaged, of another kind, or of a context that does not match;
                the memory is empty after the last.
        """
        self._load_state(state)

    def save_sequence(self, seq_id: int = 0) -> bytes:
        """Returns the state of one sequence."""
        return self._save_sequence(seq_id, [])

    def load_sequence(self, state: bytes, seq_id: int = 0) -> None:
        """Restores what :meth:`save_sequence` returned, into any sequence.

        Raises:
            InvalidParameterError: As for :meth:`load_state`; the sequence is empty after a mismatch.
        """
        self._load_sequence(state, seq_id)

    def save_state_file(self, path: str | os.PathLike[str], tokens: Iterable[int] = ()) -> None:
        """Writes the state of the whole context to a file, together with the tokens that made it.

        Raises:
            OSError: The file cannot be written.
        """
        ids = self.model.vocabulary.check_all(tokens)
        _write(file_path("path", path), self._save_state(ids))

    def load_state_file(self, path: str | os.PathLike[str]) -> list[int]:
        """Restores a file of :meth:`save_state_file` and returns the tokens in it.

        Raises:
            OSError: The file cannot be read.
            InvalidParameterError: As for :meth:`load_state`.
        """
        return self._load_state(file_path("path", path).read_bytes())

    def save_sequence_file(
        self, path: str | os.PathLike[str], seq_id: int = 0, tokens: Iterable[int] = ()
    ) -> None:
        """Writes the state of one sequence to a file, together with its tokens.

        Raises:
            OSError: The file cannot be written.
        """
        ids = self.model.vocabulary.check_all(tokens)
        _write(file_path("path", path), self._save_sequence(seq_id, ids))

    def load_sequence_file(self, path: str | os.PathLike[str], seq_id: int = 0) -> list[int]:
        """Restores a file of :meth:`save_sequence_file` into any sequence and returns the tokens in it.

        Raises:
            OSError: The file cannot be read.
            InvalidParameterError: As for :meth:`load_sequence`.
        """
        return self._load_sequence(file_path("path", path).read_bytes(), seq_id)

    def _save_state(self, tokens: list[int]) -> bytes:
        with self._exclusive():
            context = self._pointer
            size = checked(GenerationError, lib.llama_state_get_size, context)
            return _pack(_WHOLE, tokens, size, lambda buffer: lib.llama_state_get_data(context, buffer, size))

    def _load_state(self, state: bytes) -> list[int]:
        tokens, payload = _unpack(state, _WHOLE, len(self.model.vocabulary))
        with self._exclusive():
            context = self._pointer
            self._outputs = {}
            data = ffi.from_buffer("uint8_t[]", payload)
            read = checked(InvalidParameterError, lib.llama_state_set_data, context, data, len(payload))
            if read != len(payload):
                lib.llama_memory_clear(lib.llama_get_memory(context), True)
                raise _mismatch(drain_errors())
        return tokens

    def _save_sequence(self, seq_id: int, tokens: list[int]) -> bytes:
        self._check_seq_id(seq_id)
        with self._exclusive():
            context = self._pointer
            size = checked(GenerationError, lib.llama_state_seq_get_size, context, seq_id)
            return _pack(
                _SEQUENCE,
                tokens,
                size,
                lambda buffer: lib.llama_state_seq_get_data(context, buffer, size, seq_id),
            )

    def _load_sequence(self, state: bytes, seq_id: int) -> list[int]:
        self._check_seq_id(seq_id)
        tokens, payload = _unpack(state, _SEQUENCE, len(self.model.vocabulary))
        with self._exclusive():
            context = self._pointer
            self._outputs = {}
            data = ffi.from_buffer("uint8_t[]", payload)
            read = checked(
                InvalidParameterError, lib.llama_state_seq_set_data, context, data, len(payload), seq_id
            )
            if read != len(payload):
                lib.llama_memory_seq_rm(lib.llama_get_memory(context), seq_id, -1, -1)
                raise _mismatch(drain_errors())
        return tokens


def _pack(kind: int, tokens: list[int], size: int, write: Callable[[Any], int]) -> bytes:
    buffer = ffi.new("uint8_t[]", max(size, 1))
    written = checked(GenerationError, write, buffer)
    reasons = drain_errors()
    if written != size:
        raise GenerationError(f"llama.cpp could not save the state{because(reasons)}")
    content = struct.pack(f"<{len(tokens)}i", *tokens) + bytes(ffi.buffer(buffer, size))
    return _HEADER.pack(_MARK, _VERSION, kind, len(tokens), zlib.crc32(content)) + content


def _unpack(state: bytes, kind: int, n_vocab: int) -> tuple[list[int], memoryview]:
    if not isinstance(state, bytes | bytearray | memoryview):
        raise InvalidParameterError(f"state must be bytes, not {type(state).__name__}", parameter="state")
    if len(state) < _HEADER.size:
        raise InvalidParameterError("state is not a saved state: it is too short", parameter="state")
    mark, version, found, n_tokens, checksum = _HEADER.unpack_from(state)
    if mark != _MARK or version != _VERSION:
        raise InvalidParameterError("state is not a saved state of this version", parameter="state")
    if found != kind:
        raise InvalidParameterError(
            f"state is of {_KINDS.get(found, 'something else')}, expected {_KINDS[kind]}", parameter="state"
        )
    content = memoryview(state)[_HEADER.size :]
    if zlib.crc32(content) != checksum or len(content) < 4 * n_tokens:
        raise InvalidParameterError("state is damaged: its checksum does not match", parameter="state")
    tokens = struct.unpack_from(f"<{n_tokens}i", content)
    return token_ids("state.tokens", tokens, n_vocab), content[4 * n_tokens :]


def _write(path: Path, data: bytes) -> None:
    """Writes a file so that a reader never sees half of it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(data)
            file.close()
            temporary.replace(path)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise


def _mismatch(reasons: list[str]) -> InvalidParameterError:
    return InvalidParameterError(
        "the state does not fit this context, which needs the same model, cache types and room "
        "(n_ctx, n_seq_max)"
        f"{because(reasons)}",
        parameter="state",
    )
