"""From what a user calls a model, and load options, to a running engine and facts about it."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine.adapters import AdapterFiles
from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.info import ModelInfo, PromptCache, capabilities
from llamacpp_core.engine.load.memory import check_context, fit_context
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.engine.load.prompt_cache import keep_prompts
from llamacpp_core.engine.load.server_options import server_files
from llamacpp_core.engine.load.template_check import check_templates
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.native import lib
from llamacpp_core.native.build_info import build_info
from llamacpp_core.native.cpu_level import level_in_use

if TYPE_CHECKING:
    from llamacpp_core.models import GGUFHeader, ResolvedModel

__all__ = ["load_engine", "model_info"]

_logger = logging.getLogger("llamacpp_core.engine.load.loading")

#: llama.cpp rounds the context of a request up to a multiple of this.
_CONTEXT_STEP = 256
#: Requests at once: for text generation, and for encoders, whose slots hold no cache.
SLOTS = 4
ENCODER_SLOTS = 32


def load_engine(
    resolved: ResolvedModel, options: LoadOptions, on_progress: Callable[[float], None] | None
) -> tuple[Engine, str | None]:
    """Opens an engine with everything decided that the options leave open.

    Returns:
        The engine, and why the context of a request is less than wanted; None if it is not.

    Raises:
        ModelLoadError: The model cannot be loaded.
        InvalidParameterError: The options contradict each other.
    """
    from llamacpp_core.models.loadable import check_values
    from llamacpp_core.models.metadata import check_override_types

    header = resolved.header
    check_override_types(options.kv_overrides, header.metadata)
    check_values(header, options.kv_overrides)
    adapters = AdapterFiles(*_adapter_paths(options.lora))
    _check_companions(options, header.vocab_size or 0)
    embedding = _wants_embedding(resolved, options)
    encoder = embedding and _is_encoder(header)
    n_parallel = _slots(options, embedding, encoder)
    if options.pooling_type == "rank" and not _has_classifier(header):
        raise InvalidParameterError(
            "pooling_type='rank' needs a model with a classification head, which this file does not hold: "
            "leave it out to rerank by embeddings or by asking the model",
            parameter="pooling_type",
        )
    options, n_ctx, reason = _context(header, options, n_parallel, encoder)
    path = os.fspath(resolved.path)
    if not encoder and not options.on_gpu:
        pool = n_ctx if options.kv_unified else n_ctx * n_parallel
        check_context(header, pool, str(options.type_k or "f16"), str(options.type_v or "f16"), path)
    if options.chat_template is None:
        check_templates(header.chat_templates, path)
    flags = options.flags(path, n_ctx=n_ctx, n_parallel=n_parallel, embedding=embedding)
    if options.pooling_type is None and (pooling := _default_pooling(resolved, embedding)):
        flags.append(["--pooling", pooling])
    engine = Engine(flags, path=path, precision=options.precision, on_progress=on_progress)
    try:
        adapters.check()
        for one, digest in zip(engine.info["lora"], adapters.digests, strict=True):
            one["digest"] = digest
        if options.precision != engine.info["precision"]:
            why = _why_not_fast(header, encoder, options)
            _logger.warning("precision=%r has no effect: %s", options.precision, why)
        if options.prompt_cache_dir is not None and not encoder:
            max_bytes = options.prompt_cache_mib * 2**20
            keep_prompts(engine, resolved, options, str(options.prompt_cache_dir), max_bytes)
    except BaseException:
        engine.close()
        raise
    return engine, reason


def _why_not_fast(header: GGUFHeader, encoder: bool, options: LoadOptions) -> str:
    """The first reason that holds."""
    if not encoder:
        return "it is for encoders such as BERT, and this model is none"
    if header.file_type not in ("F16", "BF16", "F32"):
        return f"it is for weights in f16, bf16 or f32, and these are in {header.file_type or 'another type'}"
    if lib.llama_supports_gpu_offload() and options.n_gpu_layers != 0:
        return "it is for weights in the memory of the CPU; n_gpu_layers=0 keeps them there"
    facts = build_info()
    if "encoders" not in facts["changes"]:
        return "it needs a build with our changes of llama.cpp"
    if "AMX_INT8 = 1" in facts["system_info"]:
        return "this CPU has AMX, with which exact products are faster still"
    if "AVX512_VNNI = 1" not in facts["system_info"]:
        return "it is for x86-64 CPUs with AVX-512 VNNI, which this CPU or this build does not have"
    return "none of the weights is where it is used, in layers of the usual names and in ordinary memory"


def _check_companions(options: LoadOptions, n_vocab: int) -> None:
    """Every file that is loaded beside the model."""
    from llamacpp_core.models.loadable import check_companion, check_lookup_cache

    files: list[tuple[Any, str]] = [(path, "LoRA adapter") for path in _adapter_paths(options.lora)]
    if options.mmproj is not None:
        files.append((options.mmproj, "projector"))
    for path, kind in [*files, *server_files(options.server_options)]:
        if kind == "lookup cache":
            check_lookup_cache(path, n_vocab)
        else:
            check_companion(path, kind)


def _adapter_paths(lora: Sequence[Any]) -> list[Any]:
    """The files of the option ``lora``, whose entries may be pairs with a scale."""
    return [entry[0] if isinstance(entry, tuple | list) else entry for entry in lora]


def _context(
    header: GGUFHeader, options: LoadOptions, n_parallel: int, encoder: bool
) -> tuple[LoadOptions, int, str | None]:
    """The context of one request, why it is less than wanted, and the options that go with it."""
    trained = header.context_length or 4096
    n_ctx, reason = options.n_ctx or trained, None
    if not options.n_ctx and not encoder:
        slots = 1 if options.kv_unified else n_parallel
        n_ctx, reason = fit_context(
            header, n_ctx, slots, str(options.type_k or "f16"), str(options.type_v or "f16")
        )
    if n_ctx > trained and _stretches(options):
        # The server core gives no request more than the model file says.
        length = {f"{header.architecture}.context_length": n_ctx}
        options = dataclasses.replace(
            options,
            kv_overrides={**(options.kv_overrides or {}), **length},
            yarn_orig_ctx=options.yarn_orig_ctx or trained,
        )
    elif n_ctx > trained:
        reason = f"the model was trained with {trained} tokens (set rope_scaling_type to go beyond)"
        _logger.warning("n_ctx=%d is reduced to %d: %s", n_ctx, trained, reason)
        n_ctx = trained
    return options, -(-n_ctx // _CONTEXT_STEP) * _CONTEXT_STEP, reason


def _slots(options: LoadOptions, embedding: bool, encoder: bool) -> int:
    """Requests at once, in agreement with the batch: llama.cpp ends the process when it is not."""
    batch = min(options.n_batch, options.n_ubatch) if embedding else options.n_batch
    if options.n_parallel is None:
        slots = ENCODER_SLOTS if encoder else SLOTS
        while slots > 1 and (slots > batch or (embedding and batch % slots)):
            slots //= 2
        return slots
    if embedding and batch % options.n_parallel:
        raise InvalidParameterError(
            f"n_parallel ({options.n_parallel}) must divide n_ubatch ({batch}) when embeddings are on: "
            "use a power of two",
            parameter="n_parallel",
        )
    if options.n_parallel > batch:
        raise InvalidParameterError(
            f"n_parallel ({options.n_parallel}) must not be more than n_batch ({batch}): every request "
            "needs room for a token in a step",
            parameter="n_parallel",
        )
    return options.n_parallel


def _default_pooling(resolved: ResolvedModel, embedding: bool) -> str | None:
    """The pooling where neither the caller nor the model file names one; None to leave it to the file."""
    if resolved.rerank:
        return "rank"
    header = resolved.header
    if not embedding or header.metadata.get(f"{header.architecture}.pooling_type"):
        return None
    return "mean"


def _wants_embedding(resolved: ResolvedModel, options: LoadOptions) -> bool:
    if options.embedding is not None:
        return options.embedding
    return resolved.embedding or resolved.rerank or options.pooling_type not in (None, "none")


def _has_classifier(header: GGUFHeader) -> bool:
    """Whether a model that scores is in the file; of a split model only the first part is known."""
    return header.split_count > 1 or any(tensor.name.startswith("cls.") for tensor in header.tensors)


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
    engine: Engine,
    resolved: ResolvedModel,
    options: LoadOptions,
    reduced: str | None,
    *,
    native_calls: bool,
) -> ModelInfo:
    """Facts about a loaded model.

    Args:
        engine: The engine.
        resolved: The model's files.
        options: How it was loaded.
        reduced: Why the context of a request is less than wanted; None if it is not.
        native_calls: The template describes tools, and calls in its form can be read back.
    """
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
        n_ctx_train=header.context_length or native["n_ctx_train"],
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
            shares_prefixes=native["shared_prefixes"] and native["has_memory"],
            folder=None if options.prompt_cache_dir is None else str(options.prompt_cache_dir),
            folder_mib=0 if options.prompt_cache_dir is None else options.prompt_cache_mib,
        ),
        capabilities=capabilities(native, native_calls=native_calls),
        lora=tuple((adapter["path"], adapter["scale"]) for adapter in native["lora"]),
        lora_bytes=sum(adapter["bytes"] for adapter in native["lora"]),
        cpu_level=str(level_in_use()),
        precision=native["precision"],
    )
