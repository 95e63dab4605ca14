"""One loaded model for all objects that ask for the same one.

The adapters of LangChain and LlamaIndex hold leases: a chat model and an embedding model of the same file
and options share its weights, and the memory is freed with the last of them.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from typing import Any

from llamacpp_core.llama.llama import Llama

__all__ = ["Lease", "lease"]

_lock = threading.RLock()  # reentrant: the garbage collector may release a lease wherever it is held
_loaded: dict[str, _Shared] = {}


class _Shared:
    def __init__(self) -> None:
        self.llama: Llama | None = None
        self.users = 0
        self.loading = threading.Lock()


class Lease:
    """A share of a loaded model; given back by :meth:`release`, or when it is garbage.

    Attributes:
        llama: The model.
    """

    def __init__(self, key: str, entry: _Shared, llama: Llama) -> None:
        self.llama = llama
        self._finalizer = weakref.finalize(self, _release, key, entry)

    def release(self) -> None:
        """Gives the share back; the last one closes the model. Can be repeated."""
        self._finalizer()


def lease(model: str | os.PathLike[str], *, progress: bool | None = None, **load_options: Any) -> Lease:
    """Loads a model, or shares it when it is loaded with the same options in this process.

    Args:
        model: As for :class:`~llamacpp_core.Llama`.
        progress: Show progress on stderr. None: on a terminal only.
        load_options: As for :class:`~llamacpp_core.Llama`.

    Raises:
        LlamaCppError: As :class:`~llamacpp_core.Llama` does.
    """
    options = {name: value for name, value in load_options.items() if value is not None}
    key = json.dumps([os.getpid(), os.fspath(model), options], sort_keys=True, default=repr)
    with _lock:
        entry = _loaded.setdefault(key, _Shared())
        entry.users += 1
    try:
        with entry.loading:
            if entry.llama is None:
                entry.llama = Llama(model, progress=progress, **options)
            llama = entry.llama
    except BaseException:
        _release(key, entry)
        raise
    return Lease(key, entry, llama)


def _release(key: str, entry: _Shared) -> None:
    with _lock:
        entry.users -= 1
        last = entry.users == 0
        if last and _loaded.get(key) is entry:
            del _loaded[key]
    if last and entry.llama is not None:
        entry.llama.close()
