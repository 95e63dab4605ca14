"""One loaded model for all objects that ask for the same one.

The adapters of LangChain and LlamaIndex hold leases: a chat model and an embedding model of the same file
and options share its weights, and the memory is freed with the last of them.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamacpp_core.llama.llama import Llama

__all__ = ["Lease", "lease"]

_lock = threading.RLock()  # reentrant: the garbage collector may release a lease wherever it is held
_loaded: dict[str, _Entry] = {}


class _Entry:
    def __init__(self) -> None:
        self.llama: Llama | None = None
        self.users = 0
        self.loading = threading.Lock()


class Lease:
    """A share of a loaded model; given back by :meth:`release`, or when it is garbage.

    Attributes:
        llama: The model.
    """

    def __init__(self, key: str, entry: _Entry, llama: Llama) -> None:
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
    named = _with_whole_paths([os.fspath(model), options])
    key = json.dumps([os.getpid(), named], sort_keys=True, default=repr)
    with _lock:
        entry = _loaded.setdefault(key, _Entry())
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


def _with_whole_paths(value: Any) -> Any:
    """The value with whole paths for the files that it names: a path means another file in another folder."""
    if isinstance(value, Mapping):
        return {str(name): _with_whole_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole_paths(item) for item in value]
    if not isinstance(value, str | os.PathLike) or not str(value):
        return value
    path = os.fspath(value)
    try:
        return str(Path(path).absolute()) if isinstance(path, str) and Path(path).exists() else path
    except (OSError, ValueError):
        return path


def _release(key: str, entry: _Entry) -> None:
    with _lock:
        entry.users -= 1
        last = entry.users == 0
        if last and _loaded.get(key) is entry:
            del _loaded[key]
    if last and entry.llama is not None:
        entry.llama.close()
