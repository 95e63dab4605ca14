"""What a GGUF file says about itself, read without loading it and with the standard library only.

The layout (all little-endian): magic ``GGUF``, version u32, tensor count u64, metadata count u64, the
metadata (key, type, value), the tensor descriptions (name, dimensions, type, offset), padding to
``general.alignment`` (32 when absent), the tensor data. Source: the GGUF description in llama.cpp's
repository and its reader ``gguf.cpp``.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llamacpp_core.errors import ModelLoadError, ModelNotFoundError
from llamacpp_core.models.gguf.looks_like import describe_bytes
from llamacpp_core.models.gguf.parse import GGUFArray, NeedMoreBytesError, ParsedHeader, parse
from llamacpp_core.models.gguf.types import FILE_TYPES, TENSOR_TYPES

__all__ = ["GGUFArray", "GGUFHeader", "TensorInfo", "read_gguf_header"]

_FIRST_READ = 2 << 20
_MAX_HEADER = 512 << 20
_ENCODER_ARCHITECTURES = frozenset(
    {"bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert"}
    | {"nomic-bert", "nomic-bert-moe", "t5encoder"}
)
_POOLING_TYPES = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor's description.

    Attributes:
        name: Its name.
        shape: Its dimensions, fastest-varying first (ggml's order).
        type: ``"F32"``, ``"Q4_K"``, ...; ``"type 99"`` when the number is unknown here.
        offset: Bytes from the start of the tensor data.
        nbytes: Bytes it takes; None when the type is unknown here.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int | None

    @property
    def n_elements(self) -> int:
        """The number of weights in it."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GGUFHeader:
    """The metadata and tensor descriptions of one GGUF file.

    Attributes:
        path: The file.
        version: Format version, 2 or 3.
        metadata: Every key-value pair; arrays are :class:`GGUFArray`, decoded only when asked.
        tensors: Every tensor's description, in file order.
        data_offset: Where the tensor data starts.
        file_size: Bytes on disk.
        expected_size: Bytes the file must have to hold all its tensors.
    """

    path: Path
    version: int
    metadata: dict[str, Any] = field(repr=False)
    tensors: tuple[TensorInfo, ...] = field(repr=False)
    data_offset: int
    file_size: int
    expected_size: int

    @property
    def tensor_count(self) -> int:
        """Tensors in this file (not in the other parts of a split model)."""
        return len(self.tensors)

    @property
    def truncated(self) -> bool:
        """Whether the file is shorter than its tensors need."""
        return self.file_size < self.expected_size

    @cached_property
    def tensor_bytes(self) -> int:
        """Bytes of weights in this file."""
        return sum(tensor.nbytes or 0 for tensor in self.tensors)

    @cached_property
    def n_params(self) -> int:
        """Weights in this file, counted from the tensors' shapes."""
        return sum(tensor.n_elements for tensor in self.tensors)

    def text(self, key: str) -> str | None:
        """A metadata value when it is a string, else None."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """A metadata value when it is one integer, else None."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def per_layer(self, key: str, default: int = 0) -> list[int]:
        """A value that may be one integer or one per layer, as ``block_count`` integers."""
        n_layers = self.block_count or 0
        value = self.metadata.get(key)
        if isinstance(value, GGUFArray):
            values = [item if isinstance(item, int) else default for item in value.small_values()]
            return (values + [default] * n_layers)[:n_layers]
        one = self.integer(key)
        return [default if one is None else one] * min(n_layers, 65_536)

    def arch_key(self, name: str) -> str:
        """``"context_length"`` -> ``"llama.context_length"``."""
        return f"{self.architecture}.{name}"

    def _arch_integer(self, name: str) -> int | None:
        return self.integer(self.arch_key(name))

    @property
    def architecture(self) -> str | None:
        """``"llama"``, ``"qwen3"``, ``"bert"``, ..."""
        return self.text("general.architecture")

    @property
    def type(self) -> str:
        """``"model"``, or ``"adapter"`` (LoRA), ``"mmproj"``, ``"vocab"``, ``"imatrix"``."""
        return self.text("general.type") or "model"

    @property
    def name(self) -> str | None:
        """The model's name as its converter wrote it."""
        return self.text("general.name")

    @property
    def size_label(self) -> str | None:
        """The size class its converter wrote, such as ``"135M"``."""
        return self.text("general.size_label")

    @property
    def license(self) -> str | None:
        """The license the file names."""
        return self.text("general.license")

    @property
    def file_type(self) -> str | None:
        """The quantisation of most weights, such as ``"Q4_K_M"``."""
        number = self.integer("general.file_type")
        return None if number is None else FILE_TYPES.get(number & 1023, f"type {number}")

    @property
    def context_length(self) -> int | None:
        """Tokens of context the model was trained with."""
        return self._arch_integer("context_length")

    @property
    def embedding_length(self) -> int | None:
        """Width of the hidden state."""
        return self._arch_integer("embedding_length")

    @property
    def embedding_size(self) -> int | None:
        """Width of the vectors an embedding call returns."""
        return self._arch_integer("embedding_length_out") or self.embedding_length

    @property
    def block_count(self) -> int | None:
        """Number of layers."""
        return self._arch_integer("block_count")

    @property
    def head_count(self) -> int | None:
        """Attention heads; the largest where layers differ."""
        counts = self.per_layer(self.arch_key("attention.head_count"))
        return max(counts, default=0) or None

    @property
    def head_count_kv(self) -> int | None:
        """Key and value heads; the largest where layers differ; as `head_count` when not given."""
        counts = self.per_layer(self.arch_key("attention.head_count_kv"))
        return max(counts, default=0) or self.head_count

    @property
    def causal(self) -> bool:
        """Whether a token attends only to those before it; False for encoders."""
        value = self.metadata.get(self.arch_key("attention.causal"))
        return value if isinstance(value, bool) else self.architecture not in _ENCODER_ARCHITECTURES

    @property
    def sliding_window(self) -> int | None:
        """Tokens of the attention window, where some layers have one."""
        return self._arch_integer("attention.sliding_window") or None

    @property
    def recurrent(self) -> bool:
        """Whether some layers keep a recurrent state instead of keys and values."""
        prefixes = (self.arch_key("ssm."), self.arch_key("wkv."), self.arch_key("shortconv."))
        return any(key.startswith(prefixes) for key in self.metadata)

    @property
    def pooling_type(self) -> str | None:
        """``"mean"``, ``"cls"``, ``"last"``, ``"rank"`` or ``"none"``; None when the file names none."""
        number = self._arch_integer("pooling_type")
        return None if number is None else _POOLING_TYPES.get(number, f"type {number}")

    @property
    def is_reranker(self) -> bool:
        """Whether the model scores pairs instead of giving vectors."""
        return self.pooling_type == "rank"

    @property
    def is_embedding(self) -> bool:
        """Whether the model is made for vectors (not for text, and not for reranking)."""
        if self.pooling_type is not None:
            return self.pooling_type in ("mean", "cls", "last")
        return self.architecture in _ENCODER_ARCHITECTURES

    @property
    def tokenizer_model(self) -> str | None:
        """``"gpt2"`` (byte-level BPE), ``"llama"`` (SentencePiece), ``"bert"`` (WordPiece), ..."""
        return self.text("tokenizer.ggml.model")

    @property
    def vocab_size(self) -> int | None:
        """Number of tokens."""
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        return tokens.length if isinstance(tokens, GGUFArray) else self._arch_integer("vocab_size")

    @property
    def chat_template(self) -> str | None:
        """The default chat template."""
        return self.text("tokenizer.chat_template")

    @property
    def chat_templates(self) -> dict[str, str]:
        """Every chat template by name; the default one is ``"default"``."""
        prefix = "tokenizer.chat_template."
        named = {
            key.removeprefix(prefix): value for key, value in self.metadata.items() if key.startswith(prefix)
        }
        default = {} if self.chat_template is None else {"default": self.chat_template}
        return default | {name: value for name, value in named.items() if isinstance(value, str)}

    @property
    def split_count(self) -> int:
        """Files the model is split into; 1 when it is whole."""
        return self.integer("split.count") or 1

    @property
    def split_no(self) -> int:
        """Which part this file is, from 0."""
        return self.integer("split.no") or 0


def read_gguf_header(path: str | os.PathLike[str], *, allow_truncated: bool = False) -> GGUFHeader:
    """Reads the header of a GGUF file.

    Costs a few milliseconds: arrays such as the vocabulary are stepped over, not decoded. Nothing is
    allocated or repeated on the word of a count in the file beyond fixed limits.

    Args:
        path: The file.
        allow_truncated: Return the header of a file whose tensor data is cut off instead of raising;
            see :attr:`GGUFHeader.truncated`.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelLoadError: It is a directory, cannot be read, is not GGUF, is damaged, truncated, big-endian
            or of an unknown version. Its `path` attribute names the file.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise ModelLoadError(f"{file} is {kind}; a GGUF file is needed", path=str(file))
        parsed, size = _read(file)
    except FileNotFoundError:
        raise ModelNotFoundError(f"no such model file: {file}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelLoadError(f"cannot read {file}: {reason}", path=str(file)) from error
    tensors = tuple(_tensor_info(*raw) for raw in parsed.tensors)
    end = max((tensor.offset + (tensor.nbytes or 0) for tensor in tensors), default=0)
    expected = parsed.data_offset + end if tensors else parsed.end
    header = GGUFHeader(file, parsed.version, parsed.metadata, tensors, parsed.data_offset, size, expected)
    if header.truncated and not allow_truncated:
        raise _truncated(file, expected, size)
    return header


def _read(file: Path) -> tuple[ParsedHeader, int]:
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(_FIRST_READ)
        size = max(size, len(data))
        if not data:
            raise ModelLoadError(f"{file} is empty (0 bytes): fetch it again", path=str(file))
        if data[:4] != b"GGUF":
            raise ModelLoadError(f"{file} is not a GGUF file: {describe_bytes(data, file)}", path=str(file))
        while True:
            try:
                return parse(data, file, size), size
            except NeedMoreBytesError as need:
                wanted = need.args[0]
            if wanted > size or len(data) >= size:
                raise _truncated(file, wanted, size, at_least=True)
            if wanted > _MAX_HEADER:
                raise ModelLoadError(
                    f"{file} is damaged: its header claims more than {_MAX_HEADER >> 20} MiB", path=str(file)
                )
            more = stream.read(max(wanted, min(4 * len(data), _MAX_HEADER)) - len(data))
            if not more:
                raise _truncated(file, wanted, len(data), at_least=True)
            data += more


def _truncated(file: Path, expected: int, actual: int, *, at_least: bool = False) -> ModelLoadError:
    more = "at least " if at_least else ""
    message = (
        f"{file} is incomplete: it needs {more}{expected:,} bytes and has {actual:,}; fetch the file again"
    )
    return ModelLoadError(message, path=str(file))


def _tensor_info(name: str, shape: tuple[int, ...], number: int, offset: int) -> TensorInfo:
    known = TENSOR_TYPES.get(number)
    if known is None:
        return TensorInfo(name, shape, f"type {number}", offset, None)
    label, block, size = known
    return TensorInfo(name, shape, label, offset, math.prod(shape) // block * size)
