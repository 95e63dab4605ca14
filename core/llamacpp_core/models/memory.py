"""How much memory a model needs, from its header alone."""

from __future__ import annotations

from typing import Final

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.models.gguf.header import GGUFHeader
from llamacpp_core.models.gguf.types import TENSOR_TYPES

__all__ = ["KV_TYPES", "kv_cache_bytes", "kv_is_upper_bound", "weights_bytes"]

_CONTEXT_STEP = 256
_KV_NAMES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")

KV_TYPES: Final[dict[str, tuple[int, int]]] = {
    name: next((block, size) for label, block, size in TENSOR_TYPES.values() if label == name.upper())
    for name in _KV_NAMES
}
"""Types the KV cache may have: name -> (elements per block, bytes per block)."""


def weights_bytes(*headers: GGUFHeader) -> int:
    """Bytes of all tensors in the files of a model; what llama.cpp maps or allocates for the weights."""
    return sum(header.tensor_bytes for header in headers)


def kv_cache_bytes(header: GGUFHeader, n_ctx: int, type_k: str = "f16", type_v: str = "f16") -> int:
    """Bytes of the cache of keys and values for a context of `n_ctx` tokens over all sequences.

    Summed over the layers: ``n_ctx * (row(key_length * head_count_kv, type_k) + row(value_length *
    head_count_kv, type_v))``, where ``row(n, type)`` is ``ceil(n / block elements) * block bytes`` (2 bytes
    an element for f16, 34 bytes for 32 elements of q8_0). `n_ctx` is rounded up to a multiple of 256, as
    llama.cpp does; a key or value length that the file does not give is ``embedding_length / head_count``.
    An encoder has no cache. For models with a sliding window or with recurrent layers the true size is
    smaller: see :func:`kv_is_upper_bound`.

    Args:
        header: The model's header.
        n_ctx: Tokens of context, of all sequences together.
        type_k: Type of the keys, one of :data:`KV_TYPES`.
        type_v: Type of the values.

    Raises:
        InvalidParameterError: `n_ctx` is not positive or a type is unknown.
    """
    if n_ctx <= 0:
        raise InvalidParameterError(f"n_ctx={n_ctx} must be positive", parameter="n_ctx")
    for parameter, name in (("type_k", type_k), ("type_v", type_v)):
        if name not in KV_TYPES:
            raise InvalidParameterError(
                f"{parameter}={name!r} is not one of {', '.join(KV_TYPES)}", parameter=parameter
            )
    if not header.causal:
        return 0
    heads = header.per_layer(header.arch_key("attention.head_count"))
    kv_heads = header.per_layer(header.arch_key("attention.head_count_kv"), default=-1)
    shared = header.integer(header.arch_key("attention.shared_kv_layers")) or 0
    per_token = 0
    for n_head, n_kv in list(zip(heads, kv_heads, strict=True))[: max(len(heads) - shared, 0)]:
        default = (header.embedding_length or 0) // max(n_head, 1)
        key = _length(header, "attention.key_length", default)
        value = _length(header, "attention.value_length", default)
        n = n_head if n_kv < 0 else n_kv
        per_token += _row(key * n, type_k) + _row(value * n, type_v)
    return -(-n_ctx // _CONTEXT_STEP) * _CONTEXT_STEP * per_token


def kv_is_upper_bound(header: GGUFHeader) -> bool:
    """Whether :func:`kv_cache_bytes` is more than what the model takes: sliding windows, recurrent layers."""
    return header.causal and (header.sliding_window is not None or header.recurrent)


def _length(header: GGUFHeader, name: str, default: int) -> int:
    value = header.integer(header.arch_key(name))
    return default if value is None else max(value, 0)


def _row(elements: int, kind: str) -> int:
    block, size = KV_TYPES[kind]
    return -(-elements // block) * size
