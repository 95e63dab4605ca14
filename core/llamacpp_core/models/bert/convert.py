"""A Hugging Face checkpoint of a plain BERT encoder as a GGUF file.

Only what llama.cpp's ``bert`` architecture computes exactly is accepted: absolute positions, GELU, mean or
CLS pooling, a WordPiece vocabulary. Names of tensors and metadata follow llama.cpp's own converter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import require
from llamacpp_core.errors import InvalidParameterError, ModelLoadError
from llamacpp_core.models.bert.safetensors_file import as_float32, read_safetensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CONVERTER_INPUTS", "convert_bert"]

CONVERTER_INPUTS = (
    "config.json",
    "modules.json",
    "tokenizer_config.json",
    "vocab.txt",
    "1_Pooling/config.json",
    "model.safetensors",
)
"""The files of a checkpoint that :func:`convert_bert` reads."""

_GLOBAL_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_LAYER_TENSORS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_UNUSED = ("pooler.", "cls.", "embeddings.position_ids")
_KEPT_F32 = ("position_embd.weight", "token_types.weight")
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_POOLING = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2}
_FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}
_SPECIAL_TOKENS = {"cls": "bos", "sep": "eos", "unk": "unknown", "pad": "padding", "mask": "mask"}
_NORMAL, _CONTROL = 1, 3


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    folder: Path
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    pooling_type: int
    vocabulary: list[str]


def convert_bert(
    checkpoint: Path,
    target: Path,
    *,
    dtype: str,
    name: str | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Path:
    """Converts a checkpoint; the same input gives the same bytes.

    Matrices take the type `dtype` (f16 where a row is not a multiple of the 32 elements of a q8_0 block);
    position and token-type embeddings, norms and biases stay f32.

    Args:
        checkpoint: A folder with the files of :data:`CONVERTER_INPUTS`.
        target: The file to write.
        dtype: ``"f32"``, ``"f16"``, ``"bf16"`` or ``"q8_0"``.
        name: The model's name for the metadata; None for the folder's.
        on_progress: Called with the part of the tensors that is done, up to 1.

    Returns:
        `target`.

    Raises:
        ModelLoadError: The checkpoint is damaged, or not a plain BERT; the message names what differs.
        InvalidParameterError: `dtype` is none of these.
        MissingDependencyError: The package ``gguf`` is not installed.
    """
    if dtype not in _FILE_TYPES:
        raise InvalidParameterError(
            f"dtype={dtype!r} is not one of {', '.join(_FILE_TYPES)}", parameter="dtype"
        )
    gguf = require("gguf", "converting a BERT model")
    source = _read_checkpoint(checkpoint)
    tensors = _named_tensors(source)
    writer = gguf.GGUFWriter(target, "bert")
    try:
        _add_metadata(writer, source, name or checkpoint.name, _FILE_TYPES[dtype])
        _add_tokenizer(writer, source)
        for done, tensor in enumerate(sorted(tensors), start=1):
            data, kind = _encode(gguf, tensor, as_float32(*tensors[tensor]), dtype)
            writer.add_tensor(tensor, data, raw_dtype=kind)
            if on_progress is not None:
                on_progress(done / len(tensors))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file(progress=False)
    finally:
        writer.close()
    return target


def _encode(gguf: Any, name: str, values: NDArray[np.float32], dtype: str) -> tuple[NDArray[Any], Any]:
    kinds = gguf.GGMLQuantizationType
    if values.ndim < 2 or name in _KEPT_F32 or dtype == "f32":
        return values, kinds.F32
    if dtype == "f16" or (dtype == "q8_0" and values.shape[-1] % 32):
        return values.astype("float16"), kinds.F16
    kind = kinds.BF16 if dtype == "bf16" else kinds.Q8_0
    return gguf.quants.quantize(values, kind), kind


def _read_json(folder: Path, name: str, *, default: Any = None) -> Any:
    path = folder / name
    if default is not None and not path.exists():
        return default
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"cannot read {path}: {error}", path=str(path)) from error


def _refuse(folder: Path, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"cannot convert {folder}: {what}, and only plain BERT encoders can be", path=str(folder)
    )


def _read_checkpoint(folder: Path) -> _Checkpoint:
    config = _read_json(folder, "config.json")
    tokenizer = _read_json(folder, "tokenizer_config.json")
    wanted = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    optional = {"position_embedding_type", "is_decoder", "add_cross_attention"}
    for key, value in wanted.items():
        if config.get(key, value if key in optional else None) != value:
            raise _refuse(folder, f"config.json has {key} = {config.get(key)!r}, not {value!r}")
    if not tokenizer.get("tokenize_chinese_chars", True):
        raise _refuse(folder, "tokenizer_config.json has tokenize_chinese_chars = false")
    for module in _read_json(folder, "modules.json", default=[]):
        if module.get("type", "").rpartition(".")[2] not in ("Transformer", "Pooling", "Normalize"):
            raise _refuse(folder, f"modules.json has the module {module.get('type')!r}")
    return _Checkpoint(folder, config, tokenizer, _pooling(folder), _vocabulary(folder))


def _pooling(folder: Path) -> int:
    pooling = _read_json(folder, "1_Pooling/config.json")
    modes = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in _POOLING:
        raise _refuse(folder, f"1_Pooling/config.json has {' and '.join(modes) or 'no pooling mode'}")
    return _POOLING[modes[0]]


def _vocabulary(folder: Path) -> list[str]:
    path = folder / "vocab.txt"
    try:
        # only newlines end a token: the vocabulary may hold other line separators
        return path.read_bytes().decode("utf-8").removesuffix("\n").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"cannot read {path}: {error}", path=str(path)) from error


def _named_tensors(source: _Checkpoint) -> dict[str, tuple[str, tuple[int, ...], NDArray[np.uint8]]]:
    folder, config = source.folder, source.config
    tensors = {}
    for name, tensor in read_safetensors(folder / "model.safetensors").items():
        plain = name.removeprefix("bert.")
        if plain.startswith(_UNUSED):
            continue
        target = _gguf_name(plain)
        if target is None:
            raise _refuse(folder, f"model.safetensors has the tensor {name!r}")
        if tensor[0] not in ("F32", "F16", "BF16"):
            raise _refuse(folder, f"the tensor {name!r} has the type {tensor[0]}")
        tensors[target] = tensor
    missing = set(_expected_names(int(config["num_hidden_layers"]))).symmetric_difference(tensors)
    if missing:
        raise _refuse(folder, f"model.safetensors lacks or has too much: {', '.join(sorted(missing)[:5])}")
    shape = tensors["token_embd.weight"][1]
    if shape != (len(source.vocabulary), config["hidden_size"]):
        raise _refuse(
            folder, f"its word embeddings have the shape {shape} for {len(source.vocabulary)} tokens"
        )
    return tensors


def _gguf_name(plain: str) -> str | None:
    layer = _LAYER.fullmatch(plain)
    if layer is not None:
        name = _LAYER_TENSORS.get(layer[2])
        return f"blk.{layer[1]}.{name}.{layer[3]}" if name else None
    stem, _, suffix = plain.rpartition(".")
    return (
        f"{_GLOBAL_TENSORS[stem]}.{suffix}"
        if stem in _GLOBAL_TENSORS and suffix in ("weight", "bias")
        else None
    )


def _expected_names(n_layers: int) -> Iterator[str]:
    for name in _GLOBAL_TENSORS.values():
        yield f"{name}.weight"
    yield "token_embd_norm.bias"
    for layer in range(n_layers):
        for name in _LAYER_TENSORS.values():
            yield f"blk.{layer}.{name}.weight"
            yield f"blk.{layer}.{name}.bias"


def _add_metadata(writer: Any, source: _Checkpoint, name: str, file_type: int) -> None:
    config = source.config
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", source.pooling_type)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)


def _add_tokenizer(writer: Any, source: _Checkpoint) -> None:
    settings, vocabulary = source.tokenizer, source.vocabulary
    special = {
        kind: _token_text(settings.get(f"{kind}_token")) or f"[{kind.upper()}]" for kind in _SPECIAL_TOKENS
    }
    missing = [token for token in special.values() if token not in vocabulary]
    if missing:
        raise _refuse(source.folder, f"vocab.txt lacks the special tokens {', '.join(missing)}")
    controls = set(special.values())
    pieces = [token if token in controls else _piece(token) for token in vocabulary]
    if len(set(pieces)) != len(pieces):
        raise _refuse(source.folder, "vocab.txt holds a token twice")
    lowercase = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(source.config["type_vocab_size"])
    writer.add_token_list(pieces)
    writer.add_token_types([_CONTROL if token in controls else _NORMAL for token in vocabulary])
    for kind, role in _SPECIAL_TOKENS.items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", vocabulary.index(special[kind]))
    writer.add_uint32("tokenizer.ggml.cls_token_id", vocabulary.index(special["cls"]))
    writer.add_uint32("tokenizer.ggml.seperator_token_id", vocabulary.index(special["sep"]))
    for key in ("add_bos_token", "add_eos_token", "add_sep_token"):
        writer.add_bool(f"tokenizer.ggml.{key}", True)
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    writer.add_bool(
        "tokenizer.ggml.normalizer.strip_accents", lowercase if strip_accents is None else strip_accents
    )


def _token_text(token: Any) -> str | None:
    """A special token, which may be written as a string or as a table with its content."""
    return token.get("content") if isinstance(token, dict) else token


def _piece(token: str) -> str:
    return token[2:] if token.startswith("##") else f"\u2581{token}"
