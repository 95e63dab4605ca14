"""The escape hatch: options of llama-server beyond the typed ones, checked before they reach native code."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llamacpp_core._checks import check_text, shown, unknown_name
from llamacpp_core.errors import InvalidParameterError, ModelNotFoundError
from llamacpp_core.native import ffi, lib

__all__ = ["server_files", "server_flags", "server_option_names"]

_logger = logging.getLogger("llamacpp_core.engine.load.options")

# Options that would print, end the process, use the network or do nothing in this process.
_REFUSED = {
    "--usage": "see llamacpp_core.engine.load.server_options.server_option_names()",
    "--version": "see `llamacpp doctor`",
    "--license": "see the LICENSE file",
    "--list-devices": "see `llamacpp doctor`",
    "--cache-list": "see `llamacpp models list`",
    "--completion-bash": "see `llamacpp --install-completion`",
    "--model": "give the model to Llama(...)",
    "--model-url": "give 'hf:owner/repo:file' to Llama(...)",
    "--docker-repo": "give 'hf:owner/repo:file' to Llama(...)",
    "--hf-repo": "give 'hf:owner/repo:file' to Llama(...)",
    "--hf-file": "give 'hf:owner/repo:file' to Llama(...)",
    "--hf-repo-draft": "give the draft model's file as spec-draft-model",
    "--hf-token": "set HF_TOKEN",
    "--mmproj-url": "give the projector's file as mmproj=",
    "--mmproj-auto": "give the projector's file as mmproj=",
    "--offline": "set HF_HUB_OFFLINE=1",
    "--sleep-idle-seconds": "close the Llama when it is no longer needed",
    "--escape": "prompts are taken as they are",
    "--reverse-prompt": "give stop= to the request",
    "--embd-normalize": "give normalize= to the request",
    "--rpc": "this build opens no connection",
    "--defrag-thold": "llama.cpp no longer has it",
    "--jinja": "chat templates are always Jinja",
    "--mmproj": "give it as mmproj=",
    "--lora": "give it as lora=",
    "--lora-scaled": "give it as lora=",
    "--load-mode": "give use_mmap= and use_mlock=",
    "--rerank": "give pooling_type='rank'",
    "--rope-scale": "give rope_freq_scale=",
    "--kv-unified-per-slot": "give n_ctx=",
}
# Options with a typed field of LoadOptions, which decides and checks more than the option alone.
_TYPED = {
    "--ctx-size": "n_ctx",
    "--parallel": "n_parallel",
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--threads": "n_threads",
    "--threads-batch": "n_threads_batch",
    "--gpu-layers": "n_gpu_layers",
    "--split-mode": "split_mode",
    "--main-gpu": "main_gpu",
    "--tensor-split": "tensor_split",
    "--override-kv": "kv_overrides",
    "--seed": "seed",
    "--rope-scaling": "rope_scaling_type",
    "--rope-freq-base": "rope_freq_base",
    "--rope-freq-scale": "rope_freq_scale",
    "--yarn-ext-factor": "yarn_ext_factor",
    "--yarn-attn-factor": "yarn_attn_factor",
    "--yarn-beta-fast": "yarn_beta_fast",
    "--yarn-beta-slow": "yarn_beta_slow",
    "--yarn-orig-ctx": "yarn_orig_ctx",
    "--pooling": "pooling_type",
    "--embedding": "embedding",
    "--kv-offload": "offload_kqv",
    "--flash-attn": "flash_attn",
    "--op-offload": "op_offload",
    "--swa-full": "swa_full",
    "--cache-type-k": "type_k",
    "--cache-type-v": "type_v",
    "--kv-unified": "kv_unified",
    "--cache-ram": "cache_ram_mib",
    "--numa": "numa",
    "--warmup": "warmup",
    "--chat-template": "chat_template",
}
# Sampling parameters that every request sets, with the value of the method's signature if it gives none.
_PER_REQUEST = {
    "--temp": "temperature",
    "--top-k": "top_k",
    "--top-p": "top_p",
    "--min-p": "min_p",
    "--typical": "typical_p",
    "--repeat-penalty": "repeat_penalty",
    "--presence-penalty": "presence_penalty",
    "--frequency-penalty": "frequency_penalty",
    "--mirostat": "mirostat_mode",
    "--mirostat-lr": "mirostat_eta",
    "--mirostat-ent": "mirostat_tau",
    "--predict": "max_tokens",
    "--samplers": "samplers",
    "--sampler-seq": "samplers",
    "--grammar": "grammar",
    "--grammar-file": "grammar",
    "--json-schema": "response_format",
    "--json-schema-file": "response_format",
}
_NO_SERVER = """
    host port reuse-port path static-path api-prefix api-key api-key-file ssl-key-file ssl-cert-file timeout
    threads-http ui webui ui-config ui-config-file ui-mcp-proxy webui-config webui-config-file webui-mcp-proxy
    metrics props slots models-dir models-preset models-max models-autoload sse-ping-interval tools
    tools-runtime agent mcp-config mcp-servers-config mcp-servers-json cors-origins cors-methods cors-headers
    cors-credentials slot-save-path media-path alias tags
"""
_LOG = "colors disable file jsonl prefix prompts-dir timestamps verbose verbosity"

_REFUSED |= {f"--{name}": "there is no server" for name in _NO_SERVER.split()}
_REFUSED |= {f"--log-{name}": "use the logger 'llamacpp_core.llama_cpp'" for name in _LOG.split()}
_REFUSED |= {flag: f"give it as {field}=" for flag, field in _TYPED.items()}
_REFUSED |= {flag: f"give {field}= to the request" for flag, field in _PER_REQUEST.items()}

# llama.cpp goes on without these files when they are missing.
_FILES = frozenset(
    {"--control-vector", "--lookup-cache-static", "--spec-draft-model", "--chat-template-file"}
)
_COMPANIONS = {
    "--spec-draft-model": "draft model",
    "--lookup-cache-static": "lookup cache",
    "--lookup-cache-dynamic": "lookup cache",
    "--control-vector": "control vector",
    "--control-vector-scaled": "control vector",
}


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for entry in json.loads(ffi.string(lib.lc_server_options())):
        for name in [*entry["names"], *entry["negated"]]:
            table[name] = entry
    return table


def server_option_names() -> list[str]:
    """The options of llama-server that ``server_options`` takes, without their dashes, sorted."""
    return sorted(
        name[2:] for name, entry in _table().items() if name.startswith("--") and not _refusal(entry)
    )


def flags_of(name: str) -> list[str]:
    """All names of the option that an entry of ``server_options`` means; none if there is no such option."""
    entry = _table().get("--" + name.lstrip("-").replace("_", "-"))
    return [] if entry is None else list(entry["names"])


def _refusal(entry: dict[str, Any]) -> str | None:
    for name in entry["names"]:
        if name in _REFUSED:
            return _REFUSED[name]
    if "download weights" in entry["help"]:
        return "give the model to Llama(...)"
    return "llama.cpp has removed it" if "has been removed" in entry["help"] else None


def server_flags(values: Mapping[str, Any]) -> list[list[str]]:
    """llama-server's flags for the entries of ``server_options``.

    Raises:
        InvalidParameterError: An option is unknown, has no place here, or has no usable value.
        ModelNotFoundError: An option names a file that is not there.
    """
    if not isinstance(values, Mapping):
        raise InvalidParameterError(
            "server_options must be a dict from an option's long name to its value",
            parameter="server_options",
        )
    known = _table()
    out = []
    for name, value in values.items():
        if not isinstance(name, str):
            raise InvalidParameterError(
                f"server_options: {name!r} is not the name of an option", parameter="server_options"
            )
        flag = "--" + name.lstrip("-").replace("_", "-")
        entry = known.get(flag)
        if entry is None:
            raise unknown_name(name, server_option_names(), "llama-server option")
        if reason := _refusal(entry):
            raise InvalidParameterError(
                f"server_options[{name!r}] has no effect here: {reason}", parameter=name
            )
        words = _words(name, flag, entry, value)
        if "--spec-draft-ngl" in entry["names"] and not lib.llama_supports_gpu_offload():
            _logger.warning("%s has no effect: this build of llama.cpp has no GPU support", name)
        else:
            out.append(words)
    return out


def server_files(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model files that entries of ``server_options`` name, each with what it must be.

    Args:
        values: Entries that :func:`server_flags` takes.
    """
    out = []
    for flag, *words in server_flags(values):
        kind = next((_COMPANIONS[name] for name in _table()[flag]["names"] if name in _COMPANIONS), None)
        for word in words if kind else ():
            for path in word.split(",") if kind == "control vector" else [word]:
                # A scale may follow the last colon.
                out.append((path if Path(path).is_file() else path.rpartition(":")[0] or path, str(kind)))
    return out


def _words(name: str, flag: str, entry: dict[str, Any], value: Any) -> list[str]:
    if entry["n_values"] == 0:
        return [_switch(name, flag, entry, value)]
    parts = list(value) if isinstance(value, list | tuple) else [value]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, str | int | float | Path):
            raise InvalidParameterError(
                f"server_options[{name!r}] must be text or a number, or a list of them, got {shown(part)}",
                parameter=name,
            )
    if not _FILES.isdisjoint(entry["names"]):
        _check_files(name, parts)
    words = [check_text(name, str(part)) for part in parts]
    if entry["n_values"] == 1:
        words = [",".join(words)]
    return [flag, *words]


def _switch(name: str, flag: str, entry: dict[str, Any], value: Any) -> str:
    if not isinstance(value, bool):
        raise InvalidParameterError(
            f"server_options[{name!r}] is a switch: give True or False", parameter=name
        )
    if value:
        return flag
    other: list[str] = entry["names"] if flag in entry["negated"] else entry["negated"]
    if not other:
        raise InvalidParameterError(f"server_options[{name!r}] can only be switched on", parameter=name)
    return other[-1]


def _check_files(name: str, paths: list[Any]) -> None:
    for path in paths:
        if not Path(str(path)).is_file():
            raise ModelNotFoundError(f"server_options[{name!r}]: there is no file {str(path)!r}")
