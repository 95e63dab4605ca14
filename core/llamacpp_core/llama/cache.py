"""llama-cpp-python's prompt caches, as far as they mean something here.

The engine keeps the prompts of its slots by itself, and :attr:`LoadOptions.cache_ram_mib` of others, so
``Llama.set_cache`` has nothing to switch on: these classes exist to keep code working that calls it.
"""

from __future__ import annotations

from typing import Any

from llamacpp_core._checks import integer
from llamacpp_core.errors import UnsupportedCapabilityError

__all__ = ["LlamaCache", "LlamaRAMCache", "check_cache"]


class LlamaRAMCache:
    """Asks for prompts to be kept in memory, which the engine does in any case.

    Args:
        capacity_bytes: Kept for code that reads it; :attr:`LoadOptions.cache_ram_mib` sets the real limit.
    """

    def __init__(self, capacity_bytes: int = 2 << 30) -> None:
        self.capacity_bytes: int = integer(0, 2**63 - 1)("capacity_bytes", capacity_bytes)


LlamaCache = LlamaRAMCache
"""The name that llama-cpp-python gives to its default cache."""


def check_cache(cache: Any) -> LlamaRAMCache | None:
    """A cache that ``Llama.set_cache`` can take.

    Raises:
        UnsupportedCapabilityError: It is of another kind; says what to use.
    """
    if cache is None or isinstance(cache, LlamaRAMCache):
        return cache
    raise UnsupportedCapabilityError(
        f"a {type(cache).__name__} cannot be called by the engine, which keeps prompts itself: set "
        "cache_ram_mib when loading, and save_state_file() to keep a conversation on disk",
        parameter="cache",
    )
