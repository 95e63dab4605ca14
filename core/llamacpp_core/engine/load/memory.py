"""How much memory there is, and how large a context may be in it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from llamacpp_core.errors import ModelAllocationError

if TYPE_CHECKING:
    from llamacpp_core.models import GGUFHeader

__all__ = ["available_memory", "check_context", "fit_context"]

_logger = logging.getLogger("llamacpp_core.engine.load.memory")

#: The part of the free memory that the KV cache of default-sized contexts may take.
CACHE_SHARE = 0.5
_STEP = 256
#: What llama.cpp keeps about a token in the cache beside its keys and values, in bytes, at least.
_CELL = 48


def available_memory() -> int | None:
    """Memory that can be taken without swapping, in bytes; None where the system does not tell."""
    free = _meminfo()
    limit = _cgroup_free()
    known = [value for value in (free, limit) if value is not None]
    return min(known) if known else _sysconf()


def _meminfo(name: str = "MemAvailable") -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _cgroup_free() -> int | None:
    """What a container's limit leaves (cgroup v2, then v1), where cached files count as free."""
    for folder, limit, used in (
        ("", "memory.max", "memory.current"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        root = Path("/sys/fs/cgroup") / folder
        try:
            most = int((root / limit).read_text())
            taken = int((root / used).read_text())
            stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
            cached = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
            return max(0, most - max(0, taken - cached))
        except (OSError, ValueError):
            continue
    return None


def _sysconf() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def fit_context(
    header: GGUFHeader, n_ctx: int, n_parallel: int, type_k: str, type_v: str
) -> tuple[int, str | None]:
    """The context length per request that fits, and why it was reduced (None: it was not).

    Args:
        header: The model.
        n_ctx: The wanted context length of one request, in tokens.
        n_parallel: Requests that each get a context of their own.
        type_k: Type of the key cache.
        type_v: Type of the value cache.
    """
    from llamacpp_core.models.memory import kv_cache_bytes

    memory = available_memory()
    if memory is None or n_ctx <= 0:
        return n_ctx, None
    budget = int(memory * CACHE_SHARE)
    need = n_parallel * kv_cache_bytes(header, n_ctx, type_k, type_v)
    if need <= budget:
        return n_ctx, None
    fitting = max(_STEP, int(n_ctx * budget / need) // _STEP * _STEP)
    reason = (
        f"{n_parallel} contexts of {n_ctx} tokens need {need / 2**30:.1f} GiB and "
        f"{memory / 2**30:.1f} GiB are free: reduced to {fitting} tokens each"
    )
    _logger.warning("%s (set n_ctx, n_parallel, type_k or type_v to decide otherwise)", reason)
    return min(fitting, n_ctx), reason


def check_context(header: GGUFHeader, n_ctx: int, type_k: str, type_v: str, path: str) -> None:
    """Refuses a context that cannot be in memory, before llama.cpp asks the system for it.

    A system that overcommits grants more than it has and ends the process when it is used.

    Args:
        header: The model.
        n_ctx: Tokens of all contexts together.
        type_k: Type of the key cache.
        type_v: Type of the value cache.
        path: The model file, for the message.

    Raises:
        ModelAllocationError: There is less memory than the context needs.
    """
    from llamacpp_core.models.memory import kv_cache_bytes, kv_is_upper_bound

    memory = available_memory()
    if memory is None or not header.causal:
        return
    need = n_ctx * _CELL
    if not kv_is_upper_bound(header):
        need += kv_cache_bytes(header, n_ctx, type_k, type_v)
    memory += _meminfo("SwapFree") or 0
    if need > memory:
        raise ModelAllocationError(
            f"{path}: contexts of {n_ctx} tokens in all need {need / 2**30:.1f} GiB and "
            f"{memory / 2**30:.1f} GiB are free: use a smaller n_ctx or n_parallel, or a quantised KV cache "
            "(type_k='q8_0', type_v='q8_0')",
            path=path,
        )
