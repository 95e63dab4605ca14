"""The folder for beginnings of prompts, and what tells the caches of models and options apart."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.native import ffi, lib

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine
    from llamacpp_core.models import ResolvedModel

__all__ = ["keep_prompts"]

#: Load options that change neither what is computed for a prompt nor how it is kept.
_NO_MATTER = {
    "cache_ram_mib", "chat_template", "deterministic", "lora", "mmproj", "n_threads", "n_threads_batch",
    "numa", "precision", "prompt_cache_dir", "prompt_cache_mib", "safe_prompts", "seed", "speculative",
    "use_mlock", "use_mmap", "warmup",
}  # fmt: skip
#: A file is known by its size, its beginning and this many blocks spread over it.
_BLOCKS, _BLOCK = 64, 1 << 16


def keep_prompts(
    engine: Engine, resolved: ResolvedModel, options: LoadOptions, folder: str, max_bytes: int
) -> None:
    """Lets an engine keep long beginnings of prompts in a folder.

    Args:
        engine: The engine.
        resolved: The model's files.
        options: How it was loaded.
        folder: Made if it is not there; empty for none.
        max_bytes: What all files in it may take.

    Raises:
        InvalidParameterError: The folder cannot be made or written to.
        UnsupportedCapabilityError: This build has llama.cpp without the changes that it needs.
    """
    if not folder:
        engine.keep_prompts("", 0, "")
        return
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise InvalidParameterError(
            f"prompt_cache_dir: {folder!r} cannot be made a folder: {error}", parameter="prompt_cache_dir"
        ) from None
    if not writable:
        raise InvalidParameterError(
            f"prompt_cache_dir: files cannot be written in {folder!r}: give a folder of yours",
            parameter="prompt_cache_dir",
        )
    engine.keep_prompts(folder, max_bytes, _fingerprint(engine.info, resolved, options))


def _fingerprint(native: dict[str, Any], resolved: ResolvedModel, options: LoadOptions) -> str:
    adapters: list[tuple[str, float]] = list(options.lora)  # type: ignore[arg-type]  # as the options checked it
    files = [*resolved.files, *(Path(path) for path, _ in adapters)]
    facts = {
        name: getattr(options, name)
        for name in sorted(options.__dataclass_fields__)
        if name not in _NO_MATTER
    }
    facts["n_ctx"], facts["n_parallel"] = native["n_ctx_per_slot"], native["n_parallel"]
    facts["lora"] = [scale for _, scale in adapters]
    facts["build"] = json.loads(ffi.string(lib.lc_build_info()))["llama_cpp"]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode())
    for path in files:
        for piece in _sample(path):
            digest.update(piece)
    return digest.hexdigest()


def _sample(path: Path) -> Iterable[bytes]:
    size = path.stat().st_size
    yield size.to_bytes(8, "little")
    with path.open("rb") as file:
        for i in range(_BLOCKS):
            file.seek(max(0, size - _BLOCK) * i // (_BLOCKS - 1))
            yield file.read(_BLOCK)
