"""The state of a conversation as bytes: checked before native code, which trusts what it restores.

The form: the mark ``LCCS``, a version (uint16), the length of a JSON header (uint32) and a CRC-32 of all that
follows (uint32), all little-endian; then the header (kind, tokens, fingerprint of the model) and llama.cpp's
own bytes.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from llamacpp_core._checks import shown
from llamacpp_core.errors import InvalidParameterError

__all__ = ["LlamaState", "read_state_file", "write_state_file"]

_HEADER = struct.Struct("<4sHII")
_MARK = b"LCCS"
_VERSION = 1
_KINDS = ("engine", "eval", "loop")


@dataclasses.dataclass(frozen=True, slots=True)
class LlamaState:
    """A conversation that ``Llama.save_state`` has saved. It can be pickled, or written as bytes.

    Attributes:
        kind: Where it came from: "engine", "eval" (``Llama.eval``) or "loop" (a request with Python in it).
        tokens: Its tokens; empty for "engine", whose data hold them.
        data: llama.cpp's bytes.
        fingerprint: What the model and its cache must be for the data to mean the same.
    """

    kind: str
    tokens: tuple[int, ...]
    data: bytes = dataclasses.field(repr=False)
    fingerprint: dict[str, Any]

    @property
    def llama_state_size(self) -> int:
        """Bytes of llama.cpp's data."""
        return len(self.data)

    def to_bytes(self) -> bytes:
        """The state as bytes, with a checksum."""
        header = {"kind": self.kind, "tokens": self.tokens, "fingerprint": self.fingerprint}
        text = json.dumps(header, separators=(",", ":")).encode()
        content = text + self.data
        return _HEADER.pack(_MARK, _VERSION, len(text), zlib.crc32(content)) + content

    @classmethod
    def from_bytes(cls, state: bytes) -> LlamaState:
        """The state that :meth:`to_bytes` has written.

        Raises:
            InvalidParameterError: The bytes are something else, or damaged.
        """
        if not isinstance(state, bytes | bytearray | memoryview):
            raise InvalidParameterError(f"state must be bytes, got {type(state).__name__}", parameter="state")
        state = bytes(state)
        if len(state) < _HEADER.size or state[:4] != _MARK:
            raise InvalidParameterError("state is not the saved state of a conversation", parameter="state")
        _, version, size, checksum = _HEADER.unpack_from(state)
        if version != _VERSION:
            raise InvalidParameterError(
                f"state has version {version}, this package reads {_VERSION}", parameter="state"
            )
        content = state[_HEADER.size :]
        if zlib.crc32(content) != checksum:
            raise InvalidParameterError("state is damaged: its checksum does not match", parameter="state")
        try:
            header = json.loads(content[:size])
            kind, tokens = str(header["kind"]), tuple(map(int, header["tokens"]))
            fingerprint = dict(header["fingerprint"])
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            raise InvalidParameterError(
                "state is damaged: its header is not a state's", parameter="state"
            ) from None
        return cls(kind=kind, tokens=tokens, data=content[size:], fingerprint=fingerprint)

    def __reduce__(self) -> Any:
        return LlamaState.from_bytes, (self.to_bytes(),)

    def check_fits(self, fingerprint: dict[str, Any]) -> None:
        """Checks that the state is of a model and cache like these.

        Raises:
            InvalidParameterError: It is not; names what differs.
        """
        if self.kind not in _KINDS:
            raise InvalidParameterError(f"state is of the unknown kind {shown(self.kind)}", parameter="state")
        for name, value in fingerprint.items():
            if self.fingerprint.get(name) != value:
                saved = shown(self.fingerprint.get(name))
                raise InvalidParameterError(
                    f"state was saved with {name}={saved}, and the loaded model has {value!r}",
                    parameter="state",
                )


def write_state_file(path: Path, state: LlamaState) -> None:
    """Writes a state so that a reader never sees half of it.

    Raises:
        OSError: The file cannot be written.
    """
    import tempfile

    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(state.to_bytes())
            file.close()
            temporary.replace(path)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise


def read_state_file(path: Path) -> LlamaState:
    """Reads what :func:`write_state_file` has written.

    Raises:
        OSError: The file cannot be read.
        InvalidParameterError: It is something else, or damaged.
    """
    return LlamaState.from_bytes(path.read_bytes())
