"""Options of a context, checked and in llama.cpp's form."""

from __future__ import annotations

from typing import Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.lowlevel._checks import boolean, finite, integer, one_of
from llamacpp_core.native import ffi, lib
from llamacpp_core.native.cpu_threads import default_threads

__all__ = ["context_params"]

_UINT32_MAX = 2**32 - 1
_THREADS_MAX = 512  # GGML_MAX_N_THREADS
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_POOLING = ("unspecified", "none", "mean", "cls", "last", "rank")
_ATTENTION = ("unspecified", "causal", "non_causal")
_FLASH_ATTN = ("auto", "disabled", "enabled")
_ROPE_SCALING = ("unspecified", "none", "linear", "yarn", "longrope")


def context_params(
    *,
    n_ctx: int = 4096,
    n_batch: int = 2048,
    n_ubatch: int = 512,
    n_seq_max: int = 1,
    n_threads: int | None = None,
    n_threads_batch: int | None = None,
    embeddings: bool = False,
    pooling_type: str = "unspecified",
    attention_type: str = "unspecified",
    flash_attn: str = "auto",
    type_k: str = "f16",
    type_v: str = "f16",
    kv_unified: bool = False,
    offload_kqv: bool = True,
    op_offload: bool = True,
    swa_full: bool = True,
    n_rs_seq: int = 0,
    rope_scaling_type: str = "unspecified",
    rope_freq_base: float = 0.0,
    rope_freq_scale: float = 0.0,
    yarn_ext_factor: float = -1.0,
    yarn_attn_factor: float | None = None,
    yarn_beta_fast: float | None = None,
    yarn_beta_slow: float | None = None,
    yarn_orig_ctx: int = 0,
) -> Any:
    """Returns a ``llama_context_params``; the names are llama.cpp's.

    Args:
        n_ctx: Tokens that the context holds, over all sequences; 0 for what the model was trained with.
        n_batch: Tokens that one decode takes.
        n_ubatch: Tokens that are computed together.
        n_seq_max: Number of sequences.
        n_threads: Threads for one token; None for one per physical core that this process may use.
        n_threads_batch: Threads for many tokens; None for the same as ``n_threads``.
        embeddings: Give embeddings of every token.
        pooling_type: "none", "mean", "cls", "last", "rank"; "unspecified" for the model's own.
        attention_type: "causal", "non_causal"; "unspecified" for the model's own.
        flash_attn: "auto", "disabled" or "enabled".
        type_k: Type of the keys in the cache: "f32", "f16", "bf16", "q8_0", "q5_1", "q4_0", ...
        type_v: Type of the values; a quantized one needs flash attention.
        kv_unified: One buffer for all sequences, so that they can share a prefix.
        offload_kqv: Keep the cache on the GPU.
        op_offload: Let the GPU compute on tensors that lie in main memory.
        swa_full: Keep the full cache for sliding-window layers.
        n_rs_seq: Snapshots of a recurrent state to keep for each sequence.
        rope_scaling_type: "none", "linear", "yarn", "longrope"; "unspecified" for the model's own.
        rope_freq_base: RoPE base frequency; 0 for the model's own.
        rope_freq_scale: RoPE frequency scale; 0 for the model's own.
        yarn_ext_factor: YaRN extrapolation mix; negative for the model's own.
        yarn_attn_factor: YaRN magnitude scale.
        yarn_beta_fast: YaRN low correction dimension.
        yarn_beta_slow: YaRN high correction dimension.
        yarn_orig_ctx: Context length before YaRN; 0 for the model's own.

    Raises:
        InvalidParameterError: a value that cannot work.
    """
    params = lib.llama_context_default_params()
    params.n_ctx = integer(n_ctx, "n_ctx", maximum=_UINT32_MAX)
    params.n_batch = integer(n_batch, "n_batch", minimum=1)
    params.n_ubatch = integer(n_ubatch, "n_ubatch", minimum=1)
    params.n_seq_max = integer(n_seq_max, "n_seq_max", minimum=1, maximum=lib.llama_max_parallel_sequences())
    if n_ctx and n_ctx < n_seq_max:
        raise InvalidParameterError(
            f"n_ctx is {n_ctx}, too small for {n_seq_max} sequences", parameter="n_ctx"
        )
    params.n_threads = params.n_threads_batch = (
        default_threads()
        if n_threads is None
        else integer(n_threads, "n_threads", minimum=1, maximum=_THREADS_MAX)
    )
    if n_threads_batch is not None:
        params.n_threads_batch = integer(n_threads_batch, "n_threads_batch", minimum=1, maximum=_THREADS_MAX)
    params.embeddings = boolean(embeddings, "embeddings")
    params.pooling_type = _enum("POOLING_TYPE", pooling_type, "pooling_type", _POOLING)
    params.attention_type = _enum("ATTENTION_TYPE", attention_type, "attention_type", _ATTENTION)
    params.flash_attn_type = _enum("FLASH_ATTN_TYPE", flash_attn, "flash_attn", _FLASH_ATTN)
    params.type_k = _cache_type(type_k, "type_k")
    params.type_v = _cache_type(type_v, "type_v")
    params.kv_unified = boolean(kv_unified, "kv_unified")
    params.offload_kqv = boolean(offload_kqv, "offload_kqv")
    params.op_offload = boolean(op_offload, "op_offload")
    params.swa_full = boolean(swa_full, "swa_full")
    params.n_rs_seq = integer(n_rs_seq, "n_rs_seq", maximum=64)
    params.rope_scaling_type = _enum(
        "ROPE_SCALING_TYPE", rope_scaling_type, "rope_scaling_type", _ROPE_SCALING
    )
    params.rope_freq_base = finite(rope_freq_base, "rope_freq_base", minimum=0.0)
    params.rope_freq_scale = finite(rope_freq_scale, "rope_freq_scale", minimum=0.0)
    params.yarn_ext_factor = finite(yarn_ext_factor, "yarn_ext_factor")
    for name, value in (
        ("yarn_attn_factor", yarn_attn_factor),
        ("yarn_beta_fast", yarn_beta_fast),
        ("yarn_beta_slow", yarn_beta_slow),
    ):
        if value is not None:
            setattr(params, name, finite(value, name))
    params.yarn_orig_ctx = integer(yarn_orig_ctx, "yarn_orig_ctx", maximum=_UINT32_MAX)
    return params


def _enum(prefix: str, value: str, name: str, choices: tuple[str, ...]) -> int:
    one_of(value, name, choices)
    return int(getattr(lib, f"LLAMA_{prefix}_{value.upper()}"))


def _cache_type(value: str, name: str) -> int:
    one_of(value, name, _CACHE_TYPES)
    for number in range(lib.GGML_TYPE_COUNT):
        label = lib.ggml_type_name(number)
        if label != ffi.NULL and ffi.string(label) == value.encode():
            return number
    raise InvalidParameterError(f"this build has no tensor type {value!r}", parameter=name)
