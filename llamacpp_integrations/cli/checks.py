"""What ``llamacpp doctor`` looks at: each check tells facts, and what to do when something is wrong."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llamacpp_core import __version__
from llamacpp_core.display.facts import size_text
from llamacpp_core.errors import LlamaCppError
from llamacpp_core.native.cpu_check import REBUILD, cpu_features, refusal
from llamacpp_core.native.cpu_level import FORCE, level_in_use
from llamacpp_integrations.cli.shared import CHAT_MODEL, EMBEDDING_MODEL

__all__ = ["BROKEN", "NOTE", "OK", "Finding", "examine", "try_model"]

OK, NOTE, BROKEN = "ok", "note", "broken"

EXTRAS = {
    "models": ("huggingface_hub", "gguf"),
    "langchain": ("langchain-core",),
    "llama-index": ("llama-index-core",),
    "cli": ("typer", "rich"),
    "data": ("pyarrow",),
    "plot": ("matplotlib",),
    "notebook": ("ipykernel", "ipywidgets", "jupytext"),
}
# CPU feature as Linux names it -> as llama.cpp reports that it was built for it.
_FEATURES = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}
_KINDS = {0: "CPU", 1: "GPU", 2: "integrated GPU", 3: "accelerator"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: The group it belongs to.
        name: What was looked at.
        status: "ok", "note" (it works, but could be better) or "broken".
        detail: What was found.
        advice: What to do; empty when there is nothing.
    """

    topic: str
    name: str
    status: str
    detail: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Looks at everything; a check that fails itself is a finding too."""
    native = (_build, _selftest, _devices) if refusal() is None else (_refusal,)
    for check in (_versions, *native, _memory, _processes, _cache, _models, _extras):
        yield from _guarded(check)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except (OSError, LlamaCppError, ValueError, KeyError) as error:
        topic = check.__name__.strip("_")
        yield Finding(topic, "check", BROKEN, f"{type(error).__name__}: {error}", "report this as a bug")


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "llamacpp-integrations", OK, __version__)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("versions", "python", OK, f"{python}, {platform.platform()}")
    for name in ("cffi", "numpy", "jinja2", "filelock", "tqdm"):
        found = _version(name)
        advice = "" if found else "pip install --force-reinstall llamacpp-integrations"
        yield Finding("versions", name, OK if found else BROKEN, found or "missing", advice)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _build() -> Iterator[Finding]:
    from llamacpp_core.native.build_info import build_info

    info = build_info()
    yield Finding("build", "llama.cpp", OK, str(info["llama_cpp"]))
    yield Finding("build", "changed in it", OK, ", ".join(info["changes"]) or "nothing")
    yield _cpu_level()
    groups = dict(_groups(info["system_info"]))
    for name, options in groups.items():
        yield Finding("build", f"{name} options", OK, ", ".join(options))
    built = {option.partition("=")[0] for options in groups.values() for option in options}
    features = cpu_features()
    missing = [ours for flag, ours in _FEATURES.items() if flag in features and ours not in built]
    if missing:
        detail = f"this CPU has {', '.join(missing)}, which this build does not use"
        yield Finding("build", "CPU features", NOTE, detail, f"build on this machine: {REBUILD}")
    else:
        yield Finding("build", "CPU features", OK, "the build uses what this CPU has")


def _cpu_level() -> Finding:
    level = level_in_use()
    if level.complaint:
        advice = f"unset {FORCE}, or set it to a level that this CPU has"
        return Finding("build", "CPU level", NOTE, level.complaint, advice)
    return Finding("build", "CPU level", OK, str(level))


def _refusal() -> Iterator[Finding]:
    if (fault := refusal()) is not None:
        yield Finding("build", "CPU features", BROKEN, fault.what, fault.advice)


def _selftest() -> Iterator[Finding]:
    from llamacpp_core.native.selftest import run_selftest

    found = run_selftest()
    if found.n_right:
        detail = f"{found.n_right} kinds of matrix products are right"
        yield Finding("build", "self-test", OK, detail)
    for fault in found.faults:
        yield Finding("build", "self-test", BROKEN, fault.what, fault.advice)


def _groups(text: str) -> Iterator[tuple[str, list[str]]]:
    """``"CPU : AVX = 1 | FMA = 1 | "`` as names of what is on, by backend."""
    name = ""
    options: list[str] = []
    for part in text.split("|"):
        head, colon, rest = part.partition(" : ")
        if colon:
            if options:
                yield name, options
            name, options, part = head.strip(), [], rest
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key and value != "0":
            options.append(key if value == "1" else f"{key}={value}")
    if options:
        yield name, options


def _devices() -> Iterator[Finding]:
    from llamacpp_core.native.build_info import build_info

    info = build_info()
    for device in info["devices"]:
        if device["type"] == 0:
            continue  # its memory is told as the machine's
        free, total = size_text(device["memory_free"]), size_text(device["memory_total"])
        detail = f"{device['description']}, {free} of {total} free"
        yield Finding("devices", f"{_KINDS.get(device['type'], 'device')} {device['name']}", OK, detail)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = [device["description"] for device in info["devices"] if device["type"] == 0]
    yield Finding("devices", "CPU", OK, f"{', '.join(names) or platform.machine()}, {cores} logical cores")
    if not info["gpu_offload"]:
        if option := _unused_gpu():
            advice = f'build with it: CMAKE_ARGS="-D{option}=on" {REBUILD}'
            yield Finding("devices", "GPU", NOTE, "there is one, and this build does not use it", advice)
        else:
            yield Finding("devices", "GPU", OK, "none found; this build runs on the CPU")


def _unused_gpu() -> str:
    """llama.cpp's build option for a GPU that seems to be here; empty when there is none."""
    if Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists():
        return "GGML_CUDA"
    if Path("/dev/kfd").exists():
        return "GGML_HIP"
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "GGML_METAL"
    return ""


def _memory() -> Iterator[Finding]:
    from llamacpp_core.engine.load.memory import available_memory

    free = available_memory()
    if free is None:
        yield Finding("memory", "free", NOTE, "the system does not tell", "set n_ctx and n_parallel yourself")
    elif free < 500e6:
        advice = "close other programs, use a smaller model or a smaller n_ctx"
        yield Finding("memory", "free", NOTE, size_text(free), advice)
    else:
        yield Finding("memory", "free", OK, size_text(free))


def _processes() -> Iterator[Finding]:
    import multiprocessing

    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method == "fork":
        detail = "multiprocessing forks, and a loaded model cannot be used in a forked child"
        advice = "load models in the child, or call multiprocessing.set_start_method('spawn') first"
        yield Finding("processes", "start method", NOTE, detail, advice)
    else:
        yield Finding("processes", "start method", OK, str(method))


def _cache() -> Iterator[Finding]:
    import shutil

    from llamacpp_core.models import cache_dir

    folder = cache_dir()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        advice = "set LLAMACPP_CACHE to a folder that can be written to"
        yield Finding("cache", "folder", BROKEN, f"{folder} cannot be written to", advice)
        return
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    yield Finding("cache", "folder", OK, f"{folder}, {size_text(used)}")
    free = shutil.disk_usage(place).free
    if free < 1e9:
        advice = "make room, or set LLAMACPP_CACHE to a folder elsewhere"
        yield Finding("cache", "free space", NOTE, size_text(free), advice)
    else:
        yield Finding("cache", "free space", OK, size_text(free))
    left = list(folder.glob("*/.partial-*")) if folder.is_dir() else []
    if left:
        detail = f"{len(left)} left behind by interrupted downloads"
        yield Finding("cache", "leftovers", NOTE, detail, "the next `llamacpp models pull` of them cleans up")


def _models() -> Iterator[Finding]:
    from llamacpp_core.models import list_models, read_gguf_header

    for model in list_models():
        name = model.entry.name
        if model.path is None:
            if name in (CHAT_MODEL, EMBEDDING_MODEL):
                yield Finding("models", name, OK, "not fetched yet", f"llamacpp models pull {name}")
            continue
        try:
            header = read_gguf_header(model.path)
        except LlamaCppError as error:
            yield Finding("models", name, BROKEN, str(error), f"llamacpp models pull --force {name}")
            continue
        detail = f"{header.architecture}, {header.file_type}, {size_text(header.file_size)}"
        yield Finding("models", name, OK, detail)
    yield from _hub_models()


def _hub_models() -> Iterator[Finding]:
    """GGUF files in the cache of the Hugging Face Hub."""
    try:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound
    except ImportError:
        return
    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        files = {file for revision in repo.revisions for file in revision.files}
        for file in sorted(files, key=lambda file: file.file_name):
            if file.file_name.endswith(".gguf"):
                name = f"hf:{repo.repo_id}:{file.file_name}"
                yield Finding("models", name, OK, size_text(file.size_on_disk))


def _extras() -> Iterator[Finding]:
    for extra, names in EXTRAS.items():
        found = {name: _version(name) for name in names}
        detail = ", ".join(
            f"{name} {number}" if number else f"{name} missing" for name, number in found.items()
        )
        advice = (
            "" if all(found.values()) else f'if you want it: pip install "llamacpp-integrations[{extra}]"'
        )
        yield Finding("extras", extra, OK, detail, advice)


def try_model(model: str) -> Iterator[Finding]:
    """Loads a model and lets it work."""
    import time

    from llamacpp_core import Llama

    start = time.monotonic()
    try:
        with Llama(model, n_ctx=256, n_parallel=1, progress=False) as llm:
            loaded = time.monotonic() - start
            what = _work(llm)
    except LlamaCppError as error:
        advice = (
            "llamacpp models list shows what there is; llamacpp -v doctor --try ... shows llama.cpp's log"
        )
        yield Finding("try", model, BROKEN, str(error), advice)
        return
    yield Finding("try", model, OK, f"loaded in {loaded:.2f} s, {what}")


def _work(llm: Any) -> str:
    if llm.info.capabilities.completion:
        answer = llm.create_completion("Hello", max_tokens=8, ignore_eos=True)
        return f"generates {answer['timings']['predicted_per_second']:.0f} tokens/s"
    if llm.info.pooling == "rank":
        return f"scores: {llm.rerank('Hello', ['Hi'])[0]['relevance_score']:.3f}"
    return f"embeds: {len(llm.embed('Hello'))} dimensions"
