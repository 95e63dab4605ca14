"""From what a user calls a model, and load options, to a running engine and facts about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine import Engine
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.info import ModelInfo, PromptCache, capabilities
from llamacpp_core.memory import fit_context
from llamacpp_core.options import LoadOptions

if TYPE_CHECKING:
    from llamacpp_core.models import GGUFHeader, ResolvedModel

__all__ = ["load_engine", "model_info"]

#: Requests at once: for text generation, and for encoders, whose slots hold no cache.
SLOTS = 4
ENCODER_SLOTS = 32


def load_engine(
    resolved: ResolvedModel, options: LoadOptions, on_progress: Callable[[float], None] | None
) -> tuple[Engine, ModelInfo]:
    """Opens an engine with everything decided that the options leave open.

    Raises:
        ModelLoadError: The model cannot be loaded.
        InvalidParameterError: The options contradict each other.
    """
    header = resolved.header
    embedding = _wants_embedding(resolved, options)
    encoder = embedding and _is_encoder(header)
    n_parallel = options.n_parallel or (ENCODER_SLOTS if encoder else SLOTS)
    if embedding and options.n_ubatch % n_parallel:
        raise InvalidParameterError(
            f"n_parallel ({n_parallel}) must divide n_ubatch ({options.n_ubatch}) when embeddings are on: "
            "use a power of two",
            parameter="n_parallel",
        )
    trained = header.context_length or 4096
    n_ctx, reason = options.n_ctx or trained, None
    if not options.n_ctx and not encoder:
        slots = 1 if options.kv_unified else n_parallel
        n_ctx, reason = fit_context(
            header, n_ctx, slots, str(options.type_k or "f16"), str(options.type_v or "f16")
        )
    if options.n_ctx > trained:
        n_ctx = trained if not _stretches(options) else n_ctx
        if n_ctx < options.n_ctx:
            reason = f"the model was trained with {trained} tokens (set rope_scaling_type to go beyond)"
    path = os.fspath(resolved.path)
    flags = options.flags(path, n_ctx=n_ctx, n_parallel=n_parallel, embedding=embedding)
    if resolved.rerank and options.pooling_type is None:
        flags.append(["--pooling", "rank"])
    engine = Engine(flags, path=path, on_progress=on_progress)
    return engine, model_info(engine, resolved, options, reason)


def _wants_embedding(resolved: ResolvedModel, options: LoadOptions) -> bool:
    if options.embedding is not None:
        return options.embedding
    return resolved.embedding or resolved.rerank or options.pooling_type not in (None, "none")


def _is_encoder(header: GGUFHeader) -> bool:
    return header.metadata.get(f"{header.architecture}.attention.causal") is False


def _stretches(options: LoadOptions) -> bool:
    return bool(
        options.rope_scaling_type
        or options.rope_freq_base
        or options.rope_freq_scale
        or options.yarn_orig_ctx
    )


def model_info(
    engine: Engine, resolved: ResolvedModel, options: LoadOptions, reduced: str | None
) -> ModelInfo:
    """Facts about a loaded model."""
    from llamacpp_core.models.memory import kv_cache_bytes

    native: dict[str, Any] = engine.info
    header = resolved.header
    cache_bytes = 0
    if native["has_memory"]:
        cache_bytes = kv_cache_bytes(
            header, native["n_ctx"], str(options.type_k or "f16"), str(options.type_v or "f16")
        )
    return ModelInfo(
        name=resolved.name,
        path=os.fspath(resolved.path),
        architecture=header.architecture or "unknown",
        n_params=native["n_params"],
        size_bytes=native["model_bytes"],
        quantization=native["ftype"],
        n_ctx_train=native["n_ctx_train"],
        n_ctx=native["n_ctx_per_slot"],
        n_ctx_reduced=reduced,
        n_parallel=native["n_parallel"],
        n_batch=native["n_batch"],
        n_ubatch=native["n_ubatch"],
        n_threads=native["n_threads"],
        n_embd=native["n_embd"],
        n_vocab=native["n_vocab"],
        pooling=native["pooling"],
        bos_token=native["bos_token"],
        eos_token=native["eos_token"],
        chat_template=native["chat_template"],
        prompt_cache=PromptCache(
            slot_tokens=native["n_ctx"] if native["has_memory"] else 0,
            slot_bytes=cache_bytes,
            ram_mib=native["cache_ram_mib"],
        ),
        capabilities=capabilities(native),
        lora=tuple((adapter["path"], adapter["scale"]) for adapter in native["lora"]),
    )
