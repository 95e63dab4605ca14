"""The gate that every file goes through before llama.cpp opens it."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamacpp_core.errors import ModelLoadError, ModelNotFoundError
from llamacpp_core.models.gguf.header import GGUFHeader, read_gguf_header
from llamacpp_core.models.gguf.parse import GGUFArray
from llamacpp_core.models.metadata import metadata_problem

__all__ = [
    "check_companion", "check_loadable", "check_lookup_cache", "check_parts", "check_values", "check_weights",
]  # fmt: skip

_OTHER_TYPES = {
    "adapter": "it is a LoRA adapter: load it beside its base model",
    "mmproj": "it is an image or audio projector: load it beside its language model",
    "imatrix": "it is an importance matrix for quantising, not a model",
}


#: What a file may be that is loaded beside a model, and what it must say about itself.
_COMPANIONS = {
    "draft model": "a draft model is a whole model, in one file",
    "LoRA adapter": "its general.type must be 'adapter'",
    "projector": "its general.architecture must be 'clip'",
    "control vector": "its general.architecture must be 'controlvector'",
}
#: Projectors that join patches to the language model without layers of their own.
_NO_ENCODER = "gemma4u"
#: Types that no product takes weights in.
_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
#: Tensors that are called weights and are tables of numbers.
_TABLES = (".ffn_gate_tid2eid.weight",)
#: Tokens of an n-gram in a lookup cache (``LLAMA_NGRAM_MAX``).
_NGRAM = 4
#: Projectors whose pictures have one size, so that every patch needs a position of its own.
_FIXED_SIZE = ("mlp", "mlp_norm", "ldp", "ldpv2")


def check_companion(path: str | os.PathLike[str], kind: str) -> GGUFHeader:
    """Checks a file that is loaded beside a model.

    Args:
        path: The file.
        kind: "draft model", "LoRA adapter", "projector" or "control vector".

    Raises:
        ModelNotFoundError: There is no such file.
        ModelLoadError: It is damaged, or something else.
    """
    header = read_gguf_header(path)
    if kind == "draft model":
        check_loadable([header])
        return header
    is_one = {
        "LoRA adapter": header.type == "adapter",
        "projector": header.architecture == "clip",
        "control vector": header.architecture == "controlvector",
    }[kind]
    if not is_one:
        raise ModelLoadError(f"{path} is not a {kind}: {_COMPANIONS[kind]}", path=str(path))
    check_values(header)
    check_weights(header)
    if kind == "projector":
        _check_layers(header)
        _check_positions(header)
    return header


def check_lookup_cache(path: str | os.PathLike[str], n_vocab: int) -> None:
    """Checks a file of continuations for lookup decoding.

    It holds int32 numbers: for each n-gram its four tokens, -1 where it has fewer, how many tokens may
    follow, and each of these with its count.

    Args:
        path: The file.
        n_vocab: Tokens of the model.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelLoadError: It is damaged, or of another vocabulary.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"{path}: the lookup cache cannot be read: {error.strerror}") from None
    numbers = array("i")
    numbers.frombytes(data[: len(data) // 4 * 4])
    at, is_sound = 0, len(data) % 4 == 0
    while is_sound and at < len(numbers):
        end = at + _NGRAM + 1 + 2 * numbers[at + _NGRAM] if at + _NGRAM < len(numbers) else 0
        ngram, tokens = numbers[at : at + _NGRAM], numbers[at + _NGRAM + 1 : end : 2]
        counts = numbers[at + _NGRAM + 2 : end : 2]
        is_sound = at + _NGRAM + 1 < end <= len(numbers) and min(counts) > 0
        is_sound = is_sound and min(ngram) >= -1 and min(tokens) >= 0 and max(*ngram, *tokens) < n_vocab
        at = end
    if not is_sound:
        raise ModelLoadError(
            f"{path} is not a lookup cache for this model: it is damaged, or of another vocabulary",
            path=str(path),
        )


def check_values(header: GGUFHeader, overrides: Mapping[str, Any] | None = None) -> None:
    """Checks the metadata of a file as llama.cpp will see them: with what replaces some of them.

    Raises:
        ModelLoadError: llama.cpp cannot work with a value.
    """
    for key, given in {**header.metadata, **(overrides or {})}.items():
        # llama.cpp takes an array of one for its element
        value = given.values()[0] if isinstance(given, GGUFArray) and len(given) == 1 else given
        if problem := metadata_problem(key, value):
            path = str(header.path)
            raise ModelLoadError(f"{path} cannot be loaded: its {key} is wrong: {problem}", path=path)


def check_weights(header: GGUFHeader) -> None:
    """Checks the tensors of a file.

    Raises:
        ModelLoadError: One holds nothing, or is a weight in a type that no product takes.
    """
    for tensor in header.tensors:
        problem = None
        if 0 in tensor.shape:
            problem = f"holds nothing: its shape is {tuple(tensor.shape)}"
        elif (
            tensor.type in _NO_WEIGHTS
            and tensor.name.endswith((".weight", ".bias", ".lora_a", ".lora_b"))
            and not tensor.name.endswith(_TABLES)
        ):
            problem = f"is of type {tensor.type}, in which nothing can be computed"
        if problem is not None:
            path = str(header.path)
            raise ModelLoadError(
                f"{path} cannot be loaded: its tensor {tensor.name[:80]!r} {problem}", path=path
            )


def _projector_kind(header: GGUFHeader, sense: str) -> str:
    return header.text("clip.projector_type") or header.text(f"clip.{sense}.projector_type") or ""


def _check_layers(header: GGUFHeader) -> None:
    for sense in ("vision", "audio"):
        kind = _projector_kind(header, sense)
        key = f"clip.{sense}.block_count"
        value = header.metadata.get(key)
        first = value.values()[0] if isinstance(value, GGUFArray) and len(value) == 1 else value
        if first == 0 and not kind.startswith(_NO_ENCODER):
            path = str(header.path)
            raise ModelLoadError(
                f"{path} cannot be loaded: its {key} is 0, and this kind of projector has layers", path=path
            )


def _check_positions(header: GGUFHeader) -> None:
    kind = _projector_kind(header, "vision")
    side, patch = header.integer("clip.vision.image_size"), header.integer("clip.vision.patch_size")
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    rows = shapes.get("v.position_embd.weight", ())[1:2]
    if kind not in _FIXED_SIZE or not side or not patch or not rows:
        return
    needed = (side // patch) ** 2 + ("v.class_embd" in shapes)
    if rows[0] < needed:
        path = str(header.path)
        raise ModelLoadError(
            f"{path} cannot be loaded: pictures of {side} pixels in patches of {patch} have {needed} "
            f"positions, and it holds {rows[0]}",
            path=path,
        )


def check_parts(headers: Sequence[GGUFHeader]) -> None:
    """Checks that these files say of themselves that they are the parts of one model, in order.

    Raises:
        ModelLoadError: They say something else.
    """
    first = headers[0]
    path = str(first.path)
    if first.split_count != len(headers):
        raise ModelLoadError(
            f"{path} is part {first.split_no + 1} of a model split into {first.split_count} files:"
            " give the first one under its original name (…-00001-of-…), with the others beside it",
            path=path,
        )
    for number, header in enumerate(headers):
        if header.split_count != len(headers) or header.split_no != number:
            raise ModelLoadError(
                f"{header.path} says it is part {header.split_no + 1} of {header.split_count}, its name says"
                f" {number + 1} of {len(headers)}",
                path=str(header.path),
            )


def check_loadable(headers: Sequence[GGUFHeader]) -> None:
    """Checks that these files are one whole model.

    Args:
        headers: The header of every file, in order.

    Raises:
        ModelLoadError: They are something else, or do not belong together.
    """
    first = headers[0]
    path = str(first.path)
    if first.type in _OTHER_TYPES or first.architecture == "clip":
        reason = _OTHER_TYPES.get(first.type, _OTHER_TYPES["mmproj"])
        raise ModelLoadError(f"{path} is not a model: {reason}", path=path)
    if first.architecture is None:
        raise ModelLoadError(f"{path} is not a model: its metadata names no general.architecture", path=path)
    check_values(first)
    check_parts(headers)
    for header in headers:
        check_weights(header)
    if not any(header.tensors for header in headers):
        raise ModelLoadError(f"{path} holds a vocabulary but no weights", path=path)
