"""Load options: typed and named as llama-cpp-python users know them, then llama-server's flags."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from llamacpp_core._checks import boolean, check_text, choice, integer, number, unknown_name
from llamacpp_core._ffi import ffi, lib
from llamacpp_core.errors import InvalidParameterError, ModelNotFoundError

__all__ = ["CACHE_TYPES", "LoadOptions", "server_option_names"]

#: Types of the key and value cache: names, and ggml's numbers for those who pass them.
CACHE_TYPES: dict[str, int] = {
    "f32": 0,
    "f16": 1,
    "bf16": 30,
    "q8_0": 8,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "iq4_nl": 20,
}

_POOLING = {-1: None, 0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
_ROPE_SCALING = {-1: None, 0: "none", 1: "linear", 2: "yarn"}
_SPLIT_MODES = {0: "none", 1: "layer", 2: "row"}

# Options of llama-server that would print, end the process, use the network or do nothing in-process.
_REFUSED = {
    "--usage": "see llamacpp_core.options.server_option_names()",
    "--version": "see `llamacpp doctor`",
    "--license": "see the LICENSE file",
    "--list-devices": "see `llamacpp doctor`",
    "--cache-list": "see `llamacpp models list`",
    "--completion-bash": "see `llamacpp --install-completion`",
    "--model": "give the model to Llama(...)",
    "--model-url": "give 'hf:owner/repo:file' to Llama(...)",
    "--docker-repo": "give 'hf:owner/repo:file' to Llama(...)",
    "--hf-repo": "give 'hf:owner/repo:file' to Llama(...)",
    "--mmproj-url": "give the projector's file as mmproj=",
    "--hf-repo-draft": "give the draft model's file as spec-draft-model",
    "--hf-file": "give 'hf:owner/repo:file' to Llama(...)",
    "--hf-token": "set HF_TOKEN",
    "--offline": "set HF_HUB_OFFLINE=1",
    "--sleep-idle-seconds": "close the Llama when it is no longer needed",
}
_NO_SERVER = ["host", "port", "reuse-port", "path", "static-path", "api-prefix", "api-key", "api-key-file", "ssl-key-file", "ssl-cert-file", "timeout", "threads-http", "ui", "webui", "ui-config", "ui-config-file", "ui-mcp-proxy", "webui-config", "webui-config-file", "webui-mcp-proxy", "metrics", "props", "slots", "models-dir", "models-preset", "models-max", "models-autoload", "sse-ping-interval", "tools", "tools-runtime", "agent", "mcp-config", "mcp-servers-config", "mcp-servers-json", "cors-origins", "cors-methods", "cors-headers", "cors-credentials", "slot-save-path", "media-path", "alias", "tags"]
_REFUSED.update({f"--{name}": "there is no server" for name in _NO_SERVER})
_REFUSED.update(
    {
        f"--log-{name}": "use the logger 'llamacpp_core.llama_cpp'"
        for name in (
            "colors",
            "disable",
            "file",
            "jsonl",
            "prefix",
            "prompts-dir",
            "timestamps",
            "verbose",
            "verbosity",
        )
    }
)


@cache
def _server_options() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for entry in json.loads(ffi.string(lib.lc_server_options())):
        for name in [*entry["names"], *entry["negated"]]:
            table[name] = entry
    return table


def server_option_names() -> list[str]:
    """The options of llama-server that ``server_options`` takes, without their dashes, sorted."""
    names = {
        name[2:] for name, entry in _server_options().items() if name.startswith("--") and not _refusal(entry)
    }
    return sorted(names)


def _refusal(entry: dict[str, Any]) -> str | None:
    for name in entry["names"]:
        if name in _REFUSED:
            return _REFUSED[name]
    if "download weights" in entry["help"]:
        return "give the model to Llama(...)"
    return "llama.cpp has removed it" if "has been removed" in entry["help"] else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded. Every field has the default a person wants.

    Attributes:
        n_ctx: Context length of one request, in tokens. 0: what the model was trained with, less if
            memory does not allow it.
        n_parallel: Requests that run at once in one batch; more wait. None: 4, and 32 for encoders.
        n_batch: Tokens that one step takes in at most. Smaller reacts sooner, larger reads prompts faster.
        n_ubatch: Tokens computed at once. An encoder's input must fit into it.
        n_threads: CPU threads for generating. None: one per physical core.
        n_threads_batch: CPU threads for reading prompts. None: as ``n_threads``.
        n_gpu_layers: Layers to keep on the GPU. -1: all; None: as many as fit.
        split_mode: How several GPUs share the model: "none", "layer" or "row".
        main_gpu: The GPU for the whole model with split_mode "none".
        tensor_split: Proportions of the model per GPU.
        use_mmap: Map the file instead of reading it.
        use_mlock: Keep the model in physical memory.
        kv_overrides: Metadata of the model file to replace.
        seed: Seed of requests that bring none. None: a new one each time.
        rope_scaling_type: "none", "linear", "yarn", or llama.cpp's number for it.
        rope_freq_base: RoPE base frequency. 0: from the model.
        rope_freq_scale: RoPE frequency scale. 0: from the model.
        yarn_ext_factor: YaRN extrapolation mix. -1: from the model.
        yarn_attn_factor: YaRN magnitude scale. -1: from the model.
        yarn_beta_fast: YaRN high correction dimension. -1: from the model.
        yarn_beta_slow: YaRN low correction dimension. -1: from the model.
        yarn_orig_ctx: YaRN original context length. 0: from the model.
        pooling_type: How token vectors become one: "none", "mean", "cls", "last", "rank", or llama.cpp's
            number. None: what the model file says.
        embedding: Whether embeddings can be computed. None: yes for models made for it.
        offload_kqv: Keep the KV cache on the GPU.
        flash_attn: True, False, or "auto".
        op_offload: Run single operations of CPU layers on the GPU. None: llama.cpp's default.
        swa_full: Full-size cache for sliding-window models. None: llama.cpp's default.
        type_k: Type of the key cache, a name of :data:`CACHE_TYPES`. None: f16.
        type_v: Type of the value cache. None: f16.
        kv_unified: One cache for all requests instead of n_ctx tokens for each.
        cache_ram_mib: Memory for prompts of requests that lost their slot, in MiB. 0: none; the slots
            themselves always keep their last prompt.
        lora: LoRA adapters: paths, or pairs of a path and a scale.
        mmproj: Projector file of a multimodal model.
        numa: Spread memory over NUMA nodes: True, or "distribute", "isolate", "numactl".
        warmup: Run the model once after loading.
        chat_template: A Jinja chat template, as text, in place of the model's own.
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
    offload_kqv: bool = True
    flash_attn: bool | Literal["auto"] = "auto"
    op_offload: bool | None = None
    swa_full: bool | None = None
    type_k: str | int | None = None
    type_v: str | int | None = None
    kv_unified: bool = False
    cache_ram_mib: int = 0
    lora: Sequence[str | os.PathLike[str] | tuple[str | os.PathLike[str], float]] = ()
    mmproj: str | os.PathLike[str] | None = None
    numa: bool | str = False
    warmup: bool = True
    chat_template: str | None = None
    server_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(name, value))
        object.__setattr__(self, "type_k", _cache_type("type_k", self.type_k))
        object.__setattr__(self, "type_v", _cache_type("type_v", self.type_v))
        object.__setattr__(self, "pooling_type", _named("pooling_type", self.pooling_type, _POOLING))
        object.__setattr__(self, "split_mode", _named("split_mode", self.split_mode, _SPLIT_MODES))
        object.__setattr__(
            self, "rope_scaling_type", _named("rope_scaling_type", self.rope_scaling_type, _ROPE_SCALING)
        )
        object.__setattr__(self, "lora", _loras(self.lora))
        if self.mmproj is not None:
            object.__setattr__(self, "mmproj", _file("mmproj", self.mmproj))
        if self.embedding is False and self.pooling_type == "rank":
            raise InvalidParameterError("pooling_type='rank' needs embedding=True", parameter="pooling_type")

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
            ["--jinja"],
        ]
        if not self.cache_ram_mib:
            out.append(["--no-cache-idle-slots"])
        if embedding:
            out.append(["--embedding"])
        for flag, value in self._optional():
            if value is not None:
                out.append([flag, str(value)])
        for flag, on in self._switches():
            if on:
                out.append([flag])
        return [*out, *_escape_hatch(self.server_options)]

    def _optional(self) -> list[tuple[str, Any]]:
        return [
            ("--load-mode", _load_mode(self.use_mmap, self.use_mlock)),
            ("--threads", self.n_threads),
            ("--threads-batch", self.n_threads_batch),
            ("--gpu-layers", "all" if self.n_gpu_layers == -1 else self.n_gpu_layers),
            ("--split-mode", self.split_mode),
            ("--main-gpu", self.main_gpu or None),
            ("--tensor-split", ",".join(map(str, self.tensor_split)) if self.tensor_split else None),
            ("--override-kv", _overrides(self.kv_overrides)),
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

    def _switches(self) -> list[tuple[str, bool]]:
        return [
            ("--no-kv-offload", not self.offload_kqv),
            ("--no-op-offload", self.op_offload is False),
            ("--swa-full", bool(self.swa_full)),
            ("--no-warmup", not self.warmup),
        ]


_CHECKS: dict[str, Any] = {
    "n_ctx": integer(0),
    "n_parallel": integer(1, 256),
    "n_batch": integer(1),
    "n_ubatch": integer(1),
    "n_threads": integer(1, 1024),
    "n_threads_batch": integer(1, 1024),
    "n_gpu_layers": integer(-1),
    "main_gpu": integer(0),
    "use_mmap": boolean,
    "use_mlock": boolean,
    "seed": integer(0, 2**32 - 1),
    "rope_freq_base": number(0),
    "rope_freq_scale": number(0),
    "yarn_ext_factor": number(-1),
    "yarn_attn_factor": number(-1),
    "yarn_beta_fast": number(-1),
    "yarn_beta_slow": number(-1),
    "yarn_orig_ctx": integer(0),
    "embedding": boolean,
    "offload_kqv": boolean,
    "flash_attn": choice(True, False, "auto"),
    "op_offload": boolean,
    "swa_full": boolean,
    "kv_unified": boolean,
    "cache_ram_mib": integer(0),
    "numa": choice(True, False, "distribute", "isolate", "numactl"),
    "warmup": boolean,
}


def _cache_type(name: str, value: Any) -> str | None:
    if value is None or value in CACHE_TYPES:
        return value
    for known, code in CACHE_TYPES.items():
        if value == code and not isinstance(value, bool):
            return known
    raise InvalidParameterError(
        f"{name} must be one of {', '.join(CACHE_TYPES)}, got {value!r}", parameter=name
    )


def _named(name: str, value: Any, names: Mapping[int, str | None]) -> str | None:
    if value is None or (value in names.values() and isinstance(value, str)):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value in names:
        return names[value]
    allowed = ", ".join(repr(n) for n in names.values() if n)
    raise InvalidParameterError(f"{name} must be one of {allowed}, got {value!r}", parameter=name)


def _file(name: str, value: Any) -> str:
    try:
        path = Path(os.fspath(value))
    except TypeError:
        raise InvalidParameterError(f"{name} must be a path, got {value!r}", parameter=name) from None
    check_text(name, str(path))
    if not path.is_file():
        raise ModelNotFoundError(f"{name}: there is no file {str(path)!r}")
    return str(path)


def _loras(value: Any) -> tuple[tuple[str, float], ...]:
    out = []
    for i, entry in enumerate([value] if isinstance(value, str | os.PathLike) else value):
        path, scale = entry if isinstance(entry, tuple) else (entry, 1.0)
        path = _file(f"lora[{i}]", path)
        if "," in path or ":" in path:
            raise InvalidParameterError(
                f"lora[{i}]: the path must not hold ',' or ':'", parameter=f"lora[{i}]"
            )
        out.append((path, number()(f"lora[{i}] scale", scale)))
    return tuple(out)


def _overrides(values: Mapping[str, bool | int | float | str] | None) -> str | None:
    if not values:
        return None
    kinds = {bool: "bool", int: "int", float: "float", str: "str"}
    words = []
    for key, value in values.items():
        kind = kinds.get(type(value))
        if kind is None or "," in str(value) or "," in key:
            raise InvalidParameterError(
                f"kv_overrides[{key!r}] must be a bool, int, float or str without a comma",
                parameter="kv_overrides",
            )
        words.append(f"{key}={kind}:{str(value).lower() if kind == 'bool' else value}")
    return ",".join(words)


def _escape_hatch(values: Mapping[str, Any]) -> list[list[str]]:
    known = _server_options()
    out = []
    for name, value in values.items():
        flag = "--" + name.lstrip("-").replace("_", "-")
        entry = known.get(flag)
        if entry is None:
            raise unknown_name(name, server_option_names(), "llama-server option")
        if reason := _refusal(entry):
            raise InvalidParameterError(
                f"server_options[{name!r}] has no effect here: {reason}", parameter=name
            )
        out.append(_words(name, flag, entry, value))
    return out


def _words(name: str, flag: str, entry: dict[str, Any], value: Any) -> list[str]:
    if entry["n_values"] == 0:
        if not isinstance(value, bool):
            raise InvalidParameterError(
                f"server_options[{name!r}] is a switch: give True or False", parameter=name
            )
        if value:
            return [flag]
        other = entry["names"] if flag in entry["negated"] else entry["negated"]
        if not other:
            raise InvalidParameterError(f"server_options[{name!r}] can only be switched on", parameter=name)
        return [other[-1]]
    parts = list(value) if isinstance(value, list | tuple) else [value]
    if entry["n_values"] == 1:
        parts = [",".join(map(str, parts))]
    return [flag, *(check_text(name, str(part)) for part in parts)]


def _load_mode(mmap: bool, mlock: bool) -> str | None:
    if mlock:
        return "mmap+mlock" if mmap else "mlock"
    return None if mmap else "none"
