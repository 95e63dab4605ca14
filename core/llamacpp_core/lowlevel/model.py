"""A model file in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llamacpp_core._checks import boolean, choice, file_path, integer, number
from llamacpp_core.errors import (
    InvalidParameterError,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from llamacpp_core.lowlevel._owned import NativeHandle, NativeObject, because
from llamacpp_core.lowlevel.vocabulary import Vocabulary
from llamacpp_core.models.gguf.header import GGUFHeader, read_gguf_header
from llamacpp_core.models.hub import split_names
from llamacpp_core.models.loadable import check_parts, check_values, check_weights
from llamacpp_core.models.metadata import metadata_problem
from llamacpp_core.native import checked, ffi, lib, text
from llamacpp_core.native.enums import enum_values
from llamacpp_core.native.log import drain_errors, set_native_level

if TYPE_CHECKING:
    from llamacpp_core.lowlevel.context import Context
    from llamacpp_core.lowlevel.lora import LoraAdapter

__all__ = ["Model"]

MetadataValue = bool | int | float | str

_OVERRIDE_BYTES = 128  # key and string value of a llama_model_kv_override, with their final NUL


class Model(NativeObject):
    """A model's weights and vocabulary.

    Args:
        path: A GGUF file; for a model in parts, the first one.
        n_gpu_layers: Layers to put on the GPU; -1 for all.
        split_mode: How to spread a model over several GPUs: "none", "layer", "row" or "tensor".
        main_gpu: The GPU to use when ``split_mode`` is "none".
        tensor_split: Share of the model for each GPU.
        load_mode: "auto", "none", "mmap", "mlock", "mmap_mlock" or "direct_io".
        vocab_only: Load the vocabulary and the metadata, no weights: such a model makes no context.
        check_tensors: Look for invalid values in the weights while loading.
        metadata_overrides: Metadata to replace, by key. The type of a value counts: True is not 1.
        on_progress: Called with the share loaded, 0.0 to 1.0; returning False gives up loading.

    Raises:
        ModelNotFoundError: No such file.
        ModelLoadError: Not a model that llama.cpp can load, or loading was given up.
        InvalidParameterError: A parameter that cannot work.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_gpu_layers: int = -1,
        split_mode: str = "layer",
        main_gpu: int = 0,
        tensor_split: Sequence[float] = (),
        load_mode: str = "auto",
        vocab_only: bool = False,
        check_tensors: bool = False,
        metadata_overrides: Mapping[str, MetadataValue] | None = None,
        on_progress: Callable[[float], bool | None] | None = None,
    ) -> None:
        file = file_path("path", path)
        _check_file(file)
        lib.lc_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = integer(-1)("n_gpu_layers", n_gpu_layers)
        split_modes, load_modes = enum_values("LLAMA_SPLIT_MODE"), enum_values("LLAMA_LOAD_MODE")
        params.split_mode = split_modes[choice(*split_modes)("split_mode", split_mode)]
        params.load_mode = load_modes[choice(*load_modes)("load_mode", load_mode)]
        params.main_gpu = integer(0)("main_gpu", main_gpu)
        params.vocab_only = boolean("vocab_only", vocab_only)
        params.check_tensors = boolean("check_tensors", check_tensors)
        shares = _tensor_split(tensor_split)
        params.tensor_split = shares
        overrides = _overrides(metadata_overrides or {})
        header = read_gguf_header(file)
        check_values(header, metadata_overrides)
        for part in _parts(header, metadata_overrides):
            if not params.vocab_only:
                check_weights(part)
        params.kv_overrides = overrides
        progress = _Progress(on_progress)
        progress.install(params)

        set_native_level()
        pointer = checked(ModelLoadError, lib.llama_model_load_from_file, os.fsencode(file), params)
        reasons = drain_errors()
        progress.raise_if_failed()
        if pointer == ffi.NULL:
            raise ModelLoadError(f"llama.cpp cannot load {file}{because(reasons)}", path=str(file))
        super().__init__(NativeHandle(pointer, lib.lc_free_model))
        self._vocab_only = vocab_only

    @classmethod
    def _borrow(cls, pointer: Any, owner: object) -> Self:
        """Wraps a ``llama_model *`` that ``owner`` frees; ``owner`` is kept alive.

        The owner must close this object before it frees the model.
        """
        model = cls.__new__(cls)
        mutable = ffi.cast("struct llama_model *", pointer)
        NativeObject.__init__(model, NativeHandle(mutable, None, owner), borrowed=True)
        model._vocab_only = False
        return model

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary."""
        return Vocabulary(self._lend)  # kept here, it would keep this model alive in a circle

    @contextmanager
    def _lend(self) -> Iterator[Any]:
        yield self._pointer

    def tokenize(
        self, text: str | bytes, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """See :meth:`Vocabulary.tokenize`."""
        return self.vocabulary.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> str:
        """See :meth:`Vocabulary.detokenize`."""
        return self.vocabulary.detokenize(
            tokens, remove_special=remove_special, unparse_special=unparse_special
        )

    def token_to_piece(self, token: int, *, special: bool = False) -> bytes:
        """See :meth:`Vocabulary.token_to_piece`."""
        return self.vocabulary.token_to_piece(token, special=special)

    def create_context(self, **options: Any) -> Context:
        """Makes a :class:`Context` on this model; the options are those of the class."""
        from llamacpp_core.lowlevel.context import Context

        return Context(self, **options)

    def load_lora(self, path: str | os.PathLike[str]) -> LoraAdapter:
        """Loads a LoRA adapter for this model; see :meth:`Context.set_loras`."""
        from llamacpp_core.lowlevel.lora import LoraAdapter

        return LoraAdapter(self, path)

    def chat_template(self, name: str | None = None) -> str | None:
        """The text of a Jinja chat template in the file: the default one, or one by name."""
        if name is not None and (not isinstance(name, str) or "\0" in name):
            raise InvalidParameterError(f"name must be text, not {name!r}", parameter="name")
        key = ffi.NULL if name is None else name.encode()
        found = lib.llama_model_chat_template(self._pointer, key)
        return None if found == ffi.NULL else text(found)

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata as text, arrays left out as llama.cpp does."""
        pointer = self._pointer
        return {
            _read(lib.llama_model_meta_key_by_index, pointer, index): _read(
                lib.llama_model_meta_val_str_by_index, pointer, index
            )
            for index in range(lib.llama_model_meta_count(pointer))
        }

    @property
    def description(self) -> str:
        """Architecture, size and quantization in a few words, as llama.cpp puts it."""
        return _read(lib.llama_model_desc, self._pointer)

    @property
    def n_params(self) -> int:
        """Number of parameters."""
        return int(lib.llama_model_n_params(self._pointer))

    @property
    def size(self) -> int:
        """Size of all tensors in bytes."""
        return int(lib.llama_model_size(self._pointer))

    @property
    def n_ctx_train(self) -> int:
        """Context length that the model was trained with, in tokens."""
        return int(lib.llama_model_n_ctx_train(self._pointer))

    @property
    def n_embd(self) -> int:
        """Width of the hidden state and of input embeddings."""
        return int(lib.llama_model_n_embd_inp(self._pointer))

    @property
    def n_embd_out(self) -> int:
        """Width of output embeddings."""
        return int(lib.llama_model_n_embd_out(self._pointer))

    @property
    def n_layer(self) -> int:
        """Number of layers."""
        return int(lib.llama_model_n_layer(self._pointer))

    @property
    def n_head(self) -> int:
        """Number of attention heads."""
        return int(lib.llama_model_n_head(self._pointer))

    @property
    def has_encoder(self) -> bool:
        """Whether the model has an encoder (:meth:`Context.encode`)."""
        return bool(lib.llama_model_has_encoder(self._pointer))

    @property
    def has_decoder(self) -> bool:
        """Whether the model has a decoder (:meth:`Context.decode`)."""
        return bool(lib.llama_model_has_decoder(self._pointer))

    @property
    def decoder_start_token(self) -> int | None:
        """The token that starts the decoder of an encoder-decoder model."""
        token = lib.llama_model_decoder_start_token(self._pointer)
        return None if token == lib.LLAMA_TOKEN_NULL else int(token)

    @property
    def is_recurrent(self) -> bool:
        """Whether the model keeps a recurrent state (Mamba, RWKV) instead of a KV cache."""
        return bool(lib.llama_model_is_recurrent(self._pointer))

    @property
    def is_hybrid(self) -> bool:
        """Whether the model has recurrent layers beside attention."""
        return bool(lib.llama_model_is_hybrid(self._pointer))

    def _require_weights(self) -> None:
        if self._vocab_only:
            raise UnsupportedCapabilityError("this model was loaded with vocab_only=True: it has no weights")


class _Progress:
    """Passes llama.cpp's progress callback on to Python, and the callback's exception back out."""

    def __init__(self, callback: Callable[[float], bool | None] | None) -> None:
        if callback is not None and not callable(callback):
            raise InvalidParameterError(
                f"on_progress must be a function, not {callback!r}", parameter="on_progress"
            )
        self._callback = callback
        self._error: BaseException | None = None
        self._given_up = False
        self._handle = ffi.new_handle(self)

    def install(self, params: Any) -> None:
        if self._callback is not None:
            params.progress_callback = lib.lcpy_progress
            params.progress_callback_user_data = self._handle

    def report(self, share: float) -> bool:
        if self._callback is None:
            return True
        try:
            self._given_up = self._callback(share) is False
        except BaseException as error:  # raised again outside of native code
            self._error = error
        return self._error is None and not self._given_up

    def raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error
        if self._given_up:
            raise ModelLoadError("loading was given up: on_progress returned False")


@ffi.def_extern()
def lcpy_progress(share: float, user_data: Any) -> bool:
    progress: _Progress = ffi.from_handle(user_data)
    return progress.report(share)


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise ModelNotFoundError(f"no such model file: {file}")
    with file.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        raise ModelLoadError(f"{file} is not a GGUF file: it starts with {magic!r}", path=str(file))


def _parts(header: GGUFHeader, overrides: Mapping[str, MetadataValue] | None) -> list[GGUFHeader]:
    """The headers of all files of a model, which llama.cpp finds by the first one's name."""
    is_split = header.split_count > 1 or "split.count" in (overrides or {})
    names = split_names(header.path.name)[1:] if is_split else ()
    headers = [header, *(read_gguf_header(header.path.with_name(name)) for name in names)]
    check_parts(headers)
    return headers


def _tensor_split(shares: Sequence[float]) -> Any:
    if isinstance(shares, str) or not isinstance(shares, Sequence):
        raise InvalidParameterError("tensor_split must be a list of shares", parameter="tensor_split")
    if not shares:
        return ffi.NULL
    capacity = lib.llama_max_devices()
    if len(shares) > capacity:
        raise InvalidParameterError(
            f"tensor_split has {len(shares)} shares, but this build knows {capacity} devices",
            parameter="tensor_split",
        )
    values = [number(0)(f"tensor_split[{i}]", share) for i, share in enumerate(shares)]
    return ffi.new("float[]", values + [0.0] * (capacity - len(values)))


def _overrides(overrides: Mapping[str, MetadataValue]) -> Any:
    if not overrides:
        return ffi.NULL
    if not isinstance(overrides, Mapping):
        raise InvalidParameterError(
            "metadata_overrides must be a dict from keys to values", parameter="metadata_overrides"
        )
    entries = ffi.new("struct llama_model_kv_override[]", len(overrides) + 1)  # an empty key ends the list
    for entry, (key, value) in zip(entries, overrides.items(), strict=False):
        entry.key = _override_text(key, f"metadata_overrides[{key!r}]")
        if problem := metadata_problem(key, value):
            raise InvalidParameterError(
                f"metadata_overrides[{key!r}]: {problem}", parameter="metadata_overrides"
            )
        if isinstance(value, bool):
            entry.tag, entry.val_bool = lib.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
        elif isinstance(value, int):
            number = integer(-(2**63), 2**63 - 1)(f"metadata_overrides[{key!r}]", value)
            entry.tag, entry.val_i64 = lib.LLAMA_KV_OVERRIDE_TYPE_INT, number
        elif isinstance(value, float):
            entry.tag, entry.val_f64 = lib.LLAMA_KV_OVERRIDE_TYPE_FLOAT, value
        elif isinstance(value, str):
            entry.tag = lib.LLAMA_KV_OVERRIDE_TYPE_STR
            entry.val_str = _override_text(value, f"metadata_overrides[{key!r}]")
        else:
            raise InvalidParameterError(
                f"metadata_overrides[{key!r}] must be bool, int, float or str, not {type(value).__name__}",
                parameter="metadata_overrides",
            )
    return entries


def _override_text(value: str, name: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidParameterError(f"{name}: {value!r} must be a string", parameter="metadata_overrides")
    data = value.encode()
    if not 0 < len(data) < _OVERRIDE_BYTES or b"\0" in data:
        raise InvalidParameterError(
            f"{name}: {value!r} must have 1 to {_OVERRIDE_BYTES - 1} bytes, none of them NUL",
            parameter="metadata_overrides",
        )
    return data


def _read(function: Callable[..., int], *arguments: Any) -> str:
    """Calls one of llama.cpp's functions that write text into a buffer and return its length."""
    capacity = 256
    while True:
        buffer = ffi.new("char[]", capacity)
        length = function(*arguments, buffer, capacity)
        if length < capacity:
            return bytes(ffi.buffer(buffer, max(length, 0))).decode("utf-8", errors="replace")
        capacity = length + 1
