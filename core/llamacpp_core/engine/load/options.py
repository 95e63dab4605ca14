"""Load options: typed and named as llama-cpp-python users know them, then llama-server's flags."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llamacpp_core._checks import boolean, check_text, choice, integer, number, seed, shown, text
from llamacpp_core.engine.load.drafting import SPECULATIVE_FLAGS, check_speculative
from llamacpp_core.engine.load.server_options import server_flags
from llamacpp_core.errors import InvalidParameterError, ModelNotFoundError
from llamacpp_core.native import lib
from llamacpp_core.native.cpu_threads import default_threads
from llamacpp_core.native.enums import cache_types, enum_values

__all__ = ["LoadOptions"]

_logger = logging.getLogger("llamacpp_core.engine.load.options")

# What only a model's file can ask for: llama-server has no flag for it.
_FILE_ONLY = ("longrope",)

# Fields that mean nothing to a build without GPU support.
_GPU_FIELDS = ("n_gpu_layers", "split_mode", "main_gpu", "tensor_split")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. None is the default of a field.

    Attributes:
        n_ctx: Context length of one request, in tokens; llama.cpp rounds it up to a multiple of 256.
            0: what the model was trained with, less if memory does not allow it.
        n_parallel: Requests that run at once in one batch; more wait. None: 4, and 32 for encoders.
        n_batch: Tokens that one step takes in at most, not less than ``n_parallel``. Smaller reacts
            sooner, larger reads prompts faster.
        n_ubatch: Tokens computed at once. An encoder's input must fit into it.
        n_threads: CPU threads for generating. None: one per physical core that this process may use.
        n_threads_batch: CPU threads for reading prompts. None: as ``n_threads``.
        n_gpu_layers: Layers to keep on the GPU. -1: all; None: as many as fit.
        split_mode: How several GPUs share the model: "none", "layer", "row" or "tensor", or llama.cpp's
            number.
        main_gpu: The GPU for the whole model with split_mode "none".
        tensor_split: Proportions of the model per GPU.
        use_mmap: Map the file instead of reading it.
        use_mlock: Keep the model in physical memory.
        kv_overrides: Metadata of the model file to replace.
        seed: Seed of requests that bring none. None or -1: a new one each time.
        rope_scaling_type: "none", "linear", "yarn", or llama.cpp's number for it.
        rope_freq_base: RoPE base frequency. 0: from the model.
        rope_freq_scale: RoPE frequency scale. 0: from the model.
        yarn_ext_factor: YaRN extrapolation mix. -1: from the model.
        yarn_attn_factor: YaRN magnitude scale. -1: from the model.
        yarn_beta_fast: YaRN high correction dimension. -1: from the model.
        yarn_beta_slow: YaRN low correction dimension. -1: from the model.
        yarn_orig_ctx: YaRN original context length. 0: from the model.
        pooling_type: How token vectors become one: "none", "mean", "cls", "last", "rank", or llama.cpp's
            number. None: what the model file says; "mean" where it says nothing and embeddings are on.
        embedding: Whether embeddings can be computed. None: yes for models made for it.
        precision: "fast": an encoder in f16, bf16 or f32 computes the products of feed-forward layers and of
            attention's outputs in 8-bit integers, on x86-64 CPUs that multiply these faster (AVX-512 VNNI
            without AMX). The vectors of all-MiniLM-L6-v2 then have a cosine of 0.999 or more to those in
            single precision, instead of 0.9999. ``Llama.info.precision`` says which is in use.
        offload_kqv: Keep the KV cache on the GPU.
        flash_attn: True, False, or "auto".
        op_offload: Run single operations of CPU layers on the GPU. None: llama.cpp's default.
        swa_full: Full-size cache for sliding-window models. None: llama.cpp's default.
        type_k: Type of the key cache: "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1",
            or ggml's number. None: f16.
        type_v: Type of the value cache. None: f16.
        kv_unified: One cache for all requests instead of n_ctx tokens for each.
        cache_ram_mib: Memory for prompts of requests that lost their slot, in MiB. 0: none; the slots
            themselves always keep their last prompt.
        prompt_cache_dir: Folder for long beginnings of prompts (system prompts, tools, documents), which
            then need not be computed again by the next process. It holds what users wrote: keep it private.
        prompt_cache_mib: What all files in that folder may take, in MiB; the longest unused ones go first.
        speculative: "auto": where an answer repeats four tokens of its conversation, the next ones are
            guessed to be the same too, and the model checks several guesses in one step. Answers that quote
            come up to three times as fast. They stay the same as far as rounding allows: to the last bit on
            x86-64 with AVX2 and without AMX. Steps with and without guesses are timed, and nothing is
            guessed where it does not pay, nor in requests with logprobs, beside a projector, or by models
            with a recurrent state. "off": nothing is guessed.
        deterministic: What :meth:`Llama.create_completion` does for a request with ``deterministic=True``,
            for every request.
        lora: LoRA adapters: paths, or pairs of a path and a scale.
        mmproj: Projector file of a multimodal model.
        numa: Spread memory over NUMA nodes: True, or "distribute", "isolate", "numactl".
        warmup: Run the model once after loading.
        chat_template: A Jinja chat template, as text, in place of the model's own.
        safe_prompts: Text of messages, tool results and tools cannot become control tokens. False: what
            they spell out is read as control tokens, as llama.cpp does.
        server_options: Any other option of llama-server by its long name, e.g. {"spec-draft-model": path}.
            True and False for a switch; a list for several values.
    """

    n_ctx: int = 0
    n_parallel: int | None = None
    n_batch: int = 512
    n_ubatch: int = 512
    n_threads: int | None = None
    n_threads_batch: int | None = None
    n_gpu_layers: int | None = None
    split_mode: str | int | None = None
    main_gpu: int = 0
    tensor_split: Sequence[float] | None = None
    use_mmap: bool = True
    use_mlock: bool = False
    kv_overrides: Mapping[str, bool | int | float | str] | None = None
    seed: int | None = None
    rope_scaling_type: str | int | None = None
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0
    yarn_orig_ctx: int = 0
    pooling_type: str | int | None = None
    embedding: bool | None = None
    precision: Literal["default", "fast"] = "default"
    offload_kqv: bool = True
    flash_attn: bool | Literal["auto"] = "auto"
    op_offload: bool | None = None
    swa_full: bool | None = None
    type_k: str | int | None = None
    type_v: str | int | None = None
    kv_unified: bool = False
    cache_ram_mib: int = 0
    prompt_cache_dir: str | os.PathLike[str] | None = None
    prompt_cache_mib: int = 4096
    speculative: Literal["off", "auto"] = "off"
    deterministic: bool = False
    lora: Sequence[str | os.PathLike[str] | tuple[str | os.PathLike[str], float]] = ()
    mmproj: str | os.PathLike[str] | None = None
    numa: bool | str = False
    warmup: bool = True
    chat_template: str | None = None
    safe_prompts: bool = True
    server_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is None and field.default is not None:
                value = {} if field.name == "server_options" else field.default
                object.__setattr__(self, field.name, value)
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(name, value))
        for name, values in _NAMED.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _named(name, getattr(self, name), values()))
        object.__setattr__(self, "lora", _loras(self.lora))
        _overrides_flag(self.kv_overrides)
        server_flags(self.server_options)
        check_speculative(self.speculative, self.server_options)
        if self.mmproj is not None:
            object.__setattr__(self, "mmproj", _file("mmproj", self.mmproj))
        if self.embedding is False and self.pooling_type == "rank":
            raise InvalidParameterError("pooling_type='rank' needs embedding=True", parameter="pooling_type")
        if self.flash_attn is False and self.type_v not in _NOT_QUANTISED:
            raise InvalidParameterError(
                f"type_v={self.type_v!r} needs flash attention: leave flash_attn at 'auto', or use 'f16'",
                parameter="type_v",
            )

    def flags(self, model_path: str, *, n_ctx: int, n_parallel: int, embedding: bool) -> list[list[str]]:
        """llama-server's flags for these options, with what had to be decided filled in."""
        pool = n_ctx if self.kv_unified else n_ctx * n_parallel
        out = [
            ["--model", model_path],
            ["--ctx-size", str(pool)],
            ["--parallel", str(n_parallel)],
            ["--kv-unified" if self.kv_unified else "--no-kv-unified"],
            ["--batch-size", str(self.n_batch)],
            ["--ubatch-size", str(min(self.n_ubatch, self.n_batch))],
            ["--flash-attn", "auto" if self.flash_attn == "auto" else "on" if self.flash_attn else "off"],
            ["--cache-ram", str(self.cache_ram_mib)],
            ["--fit", "off"] if not lib.llama_supports_gpu_offload() else ["--fit", "on"],
            ["--no-cache-idle-slots"],
            ["--jinja"],
        ]
        if embedding:
            out.append(["--embedding"])
        elif self.speculative == "auto" and self.mmproj is None:
            out += SPECULATIVE_FLAGS
        for flag, value in [*self._optional(), *self._gpu()]:
            if value is not None:
                out.append([flag, str(value)])
        for flag, on in self._switches():
            if on:
                out.append([flag])
        return [*out, *server_flags(self.server_options)]

    @property
    def on_gpu(self) -> bool:
        """Whether the KV cache may be in the memory of a GPU."""
        return bool(lib.llama_supports_gpu_offload()) and self.n_gpu_layers != 0 and self.offload_kqv

    def _optional(self) -> list[tuple[str, Any]]:
        return [
            ("--load-mode", _load_mode(self.use_mmap, self.use_mlock)),
            ("--threads", self.n_threads or default_threads()),
            ("--threads-batch", self.n_threads_batch),
            ("--override-kv", _overrides_flag(self.kv_overrides)),
            ("--seed", self.seed),
            ("--rope-scaling", self.rope_scaling_type),
            ("--rope-freq-base", self.rope_freq_base or None),
            ("--rope-freq-scale", self.rope_freq_scale or None),
            ("--yarn-ext-factor", self.yarn_ext_factor if self.yarn_ext_factor >= 0 else None),
            ("--yarn-attn-factor", self.yarn_attn_factor if self.yarn_attn_factor >= 0 else None),
            ("--yarn-beta-fast", self.yarn_beta_fast if self.yarn_beta_fast >= 0 else None),
            ("--yarn-beta-slow", self.yarn_beta_slow if self.yarn_beta_slow >= 0 else None),
            ("--yarn-orig-ctx", self.yarn_orig_ctx or None),
            ("--pooling", self.pooling_type),
            ("--cache-type-k", self.type_k),
            ("--cache-type-v", self.type_v),
            ("--lora-scaled", ",".join(f"{path}:{scale}" for path, scale in _loras(self.lora)) or None),
            ("--mmproj", self.mmproj),
            ("--numa", "distribute" if self.numa is True else self.numa or None),
            ("--chat-template", self.chat_template),
        ]

    def _gpu(self) -> list[tuple[str, Any]]:
        if not lib.llama_supports_gpu_offload():
            for name in _GPU_FIELDS:
                if getattr(self, name):
                    _logger.warning("%s has no effect: this build of llama.cpp has no GPU support", name)
            return []
        return [
            ("--gpu-layers", "all" if self.n_gpu_layers == -1 else self.n_gpu_layers),
            ("--split-mode", self.split_mode),
            ("--main-gpu", self.main_gpu or None),
            ("--tensor-split", ",".join(map(str, self.tensor_split)) if self.tensor_split else None),
        ]

    def _switches(self) -> list[tuple[str, bool]]:
        return [
            ("--no-kv-offload", not self.offload_kqv),
            ("--no-op-offload", self.op_offload is False),
            ("--swa-full", bool(self.swa_full)),
            ("--no-warmup", not self.warmup),
        ]


_NOT_QUANTISED = (None, "f32", "f16", "bf16")


def _rope(most: float) -> Any:
    """0, or a number that float32 holds."""
    bounds, wanted = number(1 / most, most), f"0, or a number between {1 / most:g} and {most:g}"

    def check(name: str, value: Any) -> float:
        given = number()(name, value)
        try:
            return given if given == 0 else bounds(name, given)  # type: ignore[no-any-return]
        except InvalidParameterError:
            raise InvalidParameterError(
                f"{name} must be {wanted}, got {shown(value)}", parameter=name
            ) from None

    return check


def _proportions(name: str, value: Any) -> list[float]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidParameterError(f"{name} must be a list of numbers, one per GPU", parameter=name)
    return [number(0)(f"{name}[{i}]", part) for i, part in enumerate(value)]


def _template(name: str, value: Any) -> str:
    if not text(name, value).strip():
        raise InvalidParameterError(f"{name} is empty: give a Jinja template", parameter=name)
    return str(value)


def _folder(name: str, value: Any) -> str:
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path:
        raise InvalidParameterError(
            f"{name} must be the path of a folder, got {shown(value)}", parameter=name
        )
    return str(Path(check_text(name, path)).absolute())


_CHECKS: dict[str, Any] = {
    "n_ctx": integer(0),
    "n_parallel": integer(1, 256),
    "n_batch": integer(2, 2**20),
    "n_ubatch": integer(1, 2**20),
    "n_threads": integer(1, 512),
    "n_threads_batch": integer(1, 512),
    "n_gpu_layers": integer(-1),
    "main_gpu": integer(0),
    "tensor_split": _proportions,
    "use_mmap": boolean,
    "use_mlock": boolean,
    "seed": seed,
    "rope_freq_base": _rope(1e15),
    "rope_freq_scale": _rope(1e6),
    "yarn_ext_factor": number(-1),
    "yarn_attn_factor": number(-1),
    "yarn_beta_fast": number(-1),
    "yarn_beta_slow": number(-1),
    "yarn_orig_ctx": integer(0),
    "embedding": boolean,
    "precision": choice("default", "fast"),
    "offload_kqv": boolean,
    "flash_attn": choice(True, False, "auto"),
    "op_offload": boolean,
    "swa_full": boolean,
    "kv_unified": boolean,
    "cache_ram_mib": integer(0),
    "prompt_cache_dir": _folder,
    "prompt_cache_mib": integer(1, 2**40),
    "speculative": choice("off", "auto"),
    "deterministic": boolean,
    "numa": choice(True, False, "distribute", "isolate", "numactl"),
    "warmup": boolean,
    "chat_template": _template,
    "safe_prompts": boolean,
}


# The fields that have one of llama.cpp's values, by its name or number.
_NAMED: dict[str, Callable[[], dict[str, int]]] = {
    "type_k": cache_types,
    "type_v": cache_types,
    "pooling_type": lambda: enum_values("LLAMA_POOLING_TYPE"),
    "split_mode": lambda: enum_values("LLAMA_SPLIT_MODE"),
    "rope_scaling_type": lambda: enum_values("LLAMA_ROPE_SCALING_TYPE"),
}


def _named(name: str, value: Any, values: Mapping[str, int]) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = next((known for known, number in values.items() if number == value), value)
    if isinstance(value, str) and value == "unspecified":
        return None
    allowed = [known for known in values if known != "unspecified" and known not in _FILE_ONLY]
    return str(choice(*allowed)(name, value))


def _file(name: str, value: Any) -> str:
    try:
        path = Path(os.fspath(value))
    except TypeError:
        raise InvalidParameterError(f"{name} must be a path, got {shown(value)}", parameter=name) from None
    check_text(name, str(path))
    if not path.is_file():
        raise ModelNotFoundError(f"{name}: there is no file {str(path)!r}")
    return str(path)


def _loras(value: Any) -> tuple[tuple[str, float], ...]:
    entries = [value] if isinstance(value, str | os.PathLike) else value
    if not isinstance(entries, Sequence):
        raise InvalidParameterError("lora must be a list of paths", parameter="lora")
    out = []
    for i, entry in enumerate(entries):
        if isinstance(entry, tuple | list) and len(entry) != 2:
            raise InvalidParameterError(
                f"lora[{i}] must be a path, or a pair of a path and a scale", parameter=f"lora[{i}]"
            )
        path, scale = entry if isinstance(entry, tuple | list) else (entry, 1.0)
        path = _file(f"lora[{i}]", path)
        if "," in path or ":" in path:
            raise InvalidParameterError(
                f"lora[{i}]: the path must not hold ',' or ':'", parameter=f"lora[{i}]"
            )
        out.append((path, number()(f"lora[{i}] scale", scale)))
    return tuple(out)


def _load_mode(mmap: bool, mlock: bool) -> str | None:
    if mlock:
        return "mmap+mlock" if mmap else "mlock"
    return None if mmap else "none"


def _overrides_flag(values: Mapping[str, bool | int | float | str] | None) -> str | None:
    from llamacpp_core.models.metadata import overrides_flag

    return overrides_flag(values)
