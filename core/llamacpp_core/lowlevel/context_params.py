"""Options of a context, checked and in llama.cpp's form."""

from __future__ import annotations

from typing import Any

from llamacpp_core._checks import boolean, choice, integer, number
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.native import lib
from llamacpp_core.native.cpu_threads import default_threads
from llamacpp_core.native.enums import cache_types, enum_values

__all__ = ["context_params"]

_UINT32_MAX = 2**32 - 1
_THREADS_MAX = 512  # GGML_MAX_N_THREADS


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
        InvalidParameterError: A value that cannot work.
    """
    params = lib.llama_context_default_params()
    params.n_ctx = integer(0, _UINT32_MAX)("n_ctx", n_ctx)
    params.n_batch = integer(1)("n_batch", n_batch)
    params.n_ubatch = integer(1)("n_ubatch", n_ubatch)
    params.n_seq_max = integer(1, lib.llama_max_parallel_sequences())("n_seq_max", n_seq_max)
    if n_ctx and n_ctx < n_seq_max:
        raise InvalidParameterError(
            f"n_ctx is {n_ctx}, too small for {n_seq_max} sequences", parameter="n_ctx"
        )
    params.n_threads = params.n_threads_batch = (
        default_threads() if n_threads is None else integer(1, _THREADS_MAX)("n_threads", n_threads)
    )
    if n_threads_batch is not None:
        params.n_threads_batch = integer(1, _THREADS_MAX)("n_threads_batch", n_threads_batch)
    params.embeddings = boolean("embeddings", embeddings)
    params.pooling_type = _enum("LLAMA_POOLING_TYPE", "pooling_type", pooling_type)
    params.attention_type = _enum("LLAMA_ATTENTION_TYPE", "attention_type", attention_type)
    params.flash_attn_type = _enum("LLAMA_FLASH_ATTN_TYPE", "flash_attn", flash_attn)
    params.type_k = _cache_type("type_k", type_k)
    params.type_v = _cache_type("type_v", type_v)
    params.kv_unified = boolean("kv_unified", kv_unified)
    params.offload_kqv = boolean("offload_kqv", offload_kqv)
    params.op_offload = boolean("op_offload", op_offload)
    params.swa_full = boolean("swa_full", swa_full)
    params.n_rs_seq = integer(0, 64)("n_rs_seq", n_rs_seq)
    params.rope_scaling_type = _enum("LLAMA_ROPE_SCALING_TYPE", "rope_scaling_type", rope_scaling_type)
    params.rope_freq_base = number(0)("rope_freq_base", rope_freq_base)
    params.rope_freq_scale = number(0)("rope_freq_scale", rope_freq_scale)
    params.yarn_ext_factor = number()("yarn_ext_factor", yarn_ext_factor)
    for name, value in (
        ("yarn_attn_factor", yarn_attn_factor),
        ("yarn_beta_fast", yarn_beta_fast),
        ("yarn_beta_slow", yarn_beta_slow),
    ):
        if value is not None:
            setattr(params, name, number()(name, value))
    params.yarn_orig_ctx = integer(0, _UINT32_MAX)("yarn_orig_ctx", yarn_orig_ctx)
    return params


def _enum(prefix: str, name: str, value: str) -> int:
    values = enum_values(prefix)
    return values[choice(*values)(name, value)]


def _cache_type(name: str, value: str) -> int:
    types = cache_types()
    return types[choice(*types)(name, value)]
