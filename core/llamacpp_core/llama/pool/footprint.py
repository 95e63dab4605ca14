"""How much memory a model takes: estimated from its file, measured when it is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.llama.llama import Llama
from llamacpp_core.llama.settings import make_load_options, read_settings
from llamacpp_core.models import resolve_model, weights_bytes
from llamacpp_core.models.memory import kv_cache_bytes

__all__ = ["Footprint", "resident_bytes"]

#: The part of a budget that the cache of a model takes whose context length was not given.
_CACHE_SHARE = 0.5
#: Work buffers and copied weights, before they are measured: a part of the weights, and bytes beside them.
_COPIED, _BUFFERS = 0.2, 24 * 2**20
_STEP = 256
_SLOTS = 4
_BESIDE_OPTIONS = ("model", "model_path", "verbose", "progress")


def resident_bytes() -> int | None:
    """The memory of this process that is in use now; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


class Footprint:
    """What a model of a pool takes.

    Args:
        options: The arguments of :class:`~llamacpp_core.Llama` that load it.

    Attributes:
        known: Its memory in bytes at most: measured, or estimated before the first load; else None.

    Raises:
        InvalidParameterError: An option is unknown or cannot work.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.known: int | None = None
        self._model = options.get("model", options.get("model_path"))
        if not isinstance(self._model, str | os.PathLike):
            raise InvalidParameterError("model must be a name, a path or hf:...", parameter="model")
        self._options = dict(options)
        self._lock = threading.Lock()
        given = {name: value for name, value in options.items() if name not in _BESIDE_OPTIONS}
        settings, load_options = read_settings(given)
        self._vocab_only = settings.vocab_only
        self._load_options = make_load_options(load_options)

    @property
    def needed(self) -> int:
        """:attr:`known`, which is to be there."""
        assert self.known is not None
        return self.known

    def estimate(self, budget: int | None) -> None:
        """Finds out what the model takes, from its file and if nobody has; fetches the file if need be.

        Args:
            budget: What there is for all models, in bytes; bounds a context length that was not given.

        Raises:
            ModelError: There is no such model, or it cannot be fetched or read.
        """
        with self._lock:
            if self.known is not None:
                return
            header = resolve_model(self._model, progress=self._options.get("progress")).header
            weights = weights_bytes(header) * header.split_count
            cache = 0
            if header.causal and not self._vocab_only:
                options = self._load_options
                types = str(options.type_k or "f16"), str(options.type_v or "f16")
                contexts = 1 if options.kv_unified else options.n_parallel or _SLOTS
                n_ctx = options.n_ctx or header.context_length or 4096
                if not options.n_ctx and budget is not None:
                    a_step = max(1, contexts * kv_cache_bytes(header, _STEP, *types))
                    n_ctx = min(n_ctx, max(1, int(budget * _CACHE_SHARE) // a_step) * _STEP)
                    self._options["n_ctx"] = n_ctx
                cache = contexts * kv_cache_bytes(header, n_ctx, *types)
            self.known = int(weights * (1 + _COPIED)) + _BUFFERS + cache

    def load(self) -> Llama:
        """Loads the model and measures what it takes; nothing else should load meanwhile.

        Raises:
            LlamaCppError: As :class:`~llamacpp_core.Llama` does.
        """
        before = resident_bytes()
        llama = Llama(**self._options)
        after = resident_bytes()
        grown = 0 if before is None or after is None else after - before
        # The cache becomes resident as it fills; weights on a GPU are not in this process.
        self.known = max(grown, llama.info.size_bytes) + llama.info.prompt_cache.slot_bytes
        return llama
