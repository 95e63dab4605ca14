"""Decoding of the bytes of a GGUF header. Every count in them is distrusted."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamacpp_core.errors import ModelLoadError
from llamacpp_core.models.gguf.types import SCALAR_TYPES, TYPE_ARRAY, TYPE_BOOL, TYPE_STRING

__all__ = ["GGUFArray", "NeedMoreBytesError", "ParsedHeader", "parse"]

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MAX_ITEMS = 1 << 16
_MAX_STRINGS = 1 << 23
_MAX_STRING = 64 << 20
_MAX_KEY = 1 << 16
_MAX_EAGER = 4096
_DEFAULT_ALIGNMENT = 32

RawTensor = tuple[str, tuple[int, ...], int, int]


class NeedMoreBytesError(Exception):
    """The header is longer than the bytes given; the argument is how many bytes are needed at least."""


@dataclass(frozen=True, slots=True)
class GGUFArray:
    """An array in the metadata, decoded when it is asked for.

    Attributes:
        element_type: ``"string"``, ``"i32"``, ``"f32"``, ...
        length: Number of elements.
        path: The file that holds it.
        offset: Where its elements start in the file.
        nbytes: Bytes they take.
    """

    element_type: str
    length: int
    path: Path
    offset: int
    nbytes: int
    _small: tuple[Any, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """The number of elements."""
        return self.length

    def small_values(self) -> list[Any]:
        """The elements when they are numbers and at most 4,096, else an empty list; reads no file."""
        return list(self._small or ())

    def values(self) -> list[Any]:
        """The elements; strings that are not UTF-8 have U+FFFD where they are not.

        Raises:
            ModelLoadError: The file can no longer be read, or has changed.
        """
        if self._small is not None:
            return list(self._small)
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read(self.nbytes)
            if len(data) != self.nbytes:
                raise ValueError("it is shorter than before")
            return _decode(data, self.element_type, self.length)
        except (OSError, ValueError, struct.error) as error:
            raise ModelLoadError(f"cannot read {self.path} again: {error}", path=str(self.path)) from error


@dataclass(frozen=True, slots=True)
class ParsedHeader:
    """A decoded header: `end` is its last byte + 1, `data_offset` is `end` padded to the alignment."""

    version: int
    metadata: dict[str, Any]
    tensors: list[RawTensor]
    end: int
    data_offset: int


def parse(data: bytes, path: Path, file_size: int) -> ParsedHeader:
    """Decodes the header at the start of `data`, which begins with the magic.

    Raises:
        NeedMoreBytesError: `data` ends inside the header.
        ModelLoadError: The header cannot be right.
    """
    return _FileParser(data, path, file_size).header()


def _decode(data: bytes, element_type: str, length: int) -> list[Any]:
    if element_type != "string":
        code = next(code for name, code in SCALAR_TYPES.values() if name == element_type)
        return list(struct.unpack(f"<{length}{code}", data))
    strings = []
    position = 0
    for _ in range(length):
        start = position + 8
        position = start + int(_U64.unpack_from(data, position)[0])
        strings.append(data[start:position].decode("utf-8", "replace"))
    return strings


class _FileParser:
    def __init__(self, data: bytes, path: Path, file_size: int) -> None:
        self.data = data
        self.path = path
        self.file_size = file_size
        self.position = 4
        self.strings_left = _MAX_STRINGS

    def damaged(self, what: str) -> ModelLoadError:
        return ModelLoadError(f"{self.path} is damaged or not a model: {what}", path=str(self.path))

    def header(self) -> ParsedHeader:
        version = self.version()
        n_tensors, n_metadata = self.u64(), self.u64()
        if n_tensors > _MAX_ITEMS or n_metadata > _MAX_ITEMS:
            raise self.damaged(f"its header claims {n_tensors:,} tensors and {n_metadata:,} metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(n_metadata):
            key = self.string(_MAX_KEY)
            if not key or key in metadata:
                raise self.damaged(f"its metadata holds the key {key[:80]!r} twice or without a name")
            metadata[key] = self.value(key)
        tensors = [self.tensor() for _ in range(n_tensors)]
        end = self.position
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self.damaged(f"general.alignment is {alignment!r}, not a power of two")
        return ParsedHeader(version, metadata, tensors, end, -(-end // alignment) * alignment)

    def version(self) -> int:
        version = self.u32()
        if version in (2, 3):
            return version
        if version == 1:
            problem = "it is GGUF version 1, which llama.cpp no longer reads: get a newer file of this model"
        elif version & 0xFFFF == 0 and version:
            problem = "it is big-endian: get the little-endian file of this model"
        else:
            problem = f"it is GGUF version {version}, newer than this package knows (3): update the package"
        raise ModelLoadError(f"cannot use {self.path}: {problem}", path=str(self.path))

    def advance(self, size: int) -> int:
        start = self.position
        self.position = start + size
        if self.position > len(self.data):
            raise NeedMoreBytesError(self.position)
        return start

    def u32(self) -> int:
        return int(_U32.unpack_from(self.data, self.advance(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack_from(self.data, self.advance(8))[0])

    def string(self, limit: int = _MAX_STRING) -> str:
        length = self.u64()
        if length > limit:
            raise self.damaged(f"its header holds a text of {length:,} bytes")
        start = self.advance(length)
        return self.data[start : self.position].decode("utf-8", "replace")

    def value(self, key: str) -> Any:
        number = self.u32()
        if number == TYPE_STRING:
            return self.string()
        if number == TYPE_ARRAY:
            return self.array(key)
        if number not in SCALAR_TYPES:
            raise self.damaged(f"the metadata entry {key[:80]!r} has the unknown type {number}")
        if number == TYPE_BOOL:
            return self.data[self.advance(1)] != 0
        code = f"<{SCALAR_TYPES[number][1]}"
        return struct.unpack_from(code, self.data, self.advance(struct.calcsize(code)))[0]

    def array(self, key: str) -> GGUFArray:
        number, length = self.u32(), self.u64()
        start = self.position
        if number == TYPE_STRING:
            self.skip_strings(length)
            return GGUFArray("string", length, self.path, start, self.position - start)
        if number not in SCALAR_TYPES:
            raise self.damaged(f"the metadata array {key[:80]!r} has the unknown element type {number}")
        name, code = SCALAR_TYPES[number]
        nbytes = struct.calcsize(f"<{code}") * length
        self.advance(nbytes)
        small = None
        if length <= _MAX_EAGER:
            small = tuple(_decode(self.data[start : self.position], name, length))
        return GGUFArray(name, length, self.path, start, nbytes, small)

    def skip_strings(self, count: int) -> None:
        """Steps over `count` strings; the loop is the cost of reading a header, hence so bare."""
        self.strings_left -= count
        if self.strings_left < 0:
            raise self.damaged(f"its metadata claims an array of {count:,} texts")
        data, unpack, position = self.data, _U64.unpack_from, self.position
        try:
            for _ in range(count):
                position += 8 + unpack(data, position)[0]
        except (struct.error, OverflowError):
            raise NeedMoreBytesError(position + 8) from None
        self.position = position
        if position > len(data):
            raise NeedMoreBytesError(position)

    def tensor(self) -> RawTensor:
        name = self.string(_MAX_KEY)
        n_dims = self.u32()
        if n_dims > 4:
            raise self.damaged(f"the tensor {name[:80]!r} has {n_dims:,} dimensions")
        shape = tuple(self.u64() for _ in range(n_dims))
        product = 1
        for size in shape:
            product *= size
        number, offset = self.u32(), self.u64()
        if product >= 1 << 63 or offset >= 1 << 63:
            raise self.damaged(f"the tensor {name[:80]!r} has the shape {shape} at offset {offset:,}")
        return name, shape, number, offset
