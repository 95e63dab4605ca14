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
_loaded: dict[str, _Shared] = {}


class _Shared:
    def __init__(self) -> None:
        self.llama: Llama | None = None
        self.users: set[object] = set()
        self.loading = threading.Lock()


class Lease:
    """A share of a loaded model; given back by :meth:`release`, or when it is garbage.

    Attributes:
        llama: The model.
    """

    llama: Llama

    def __init__(self, key: str) -> None:
        # From here on Ctrl-C can come anywhere: a share that is nobody's is garbage, and given back as such.
        user = object()
        self._finalizer = weakref.finalize(self, _release, key, user)
        with _lock:
            self._entry = _loaded.setdefault(key, _Shared())
            self._entry.users.add(user)

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
    share = Lease(json.dumps([os.getpid(), named], sort_keys=True, default=repr))
    entry = share._entry
    try:
        with entry.loading:
            if entry.llama is None:
                entry.llama = Llama(model, progress=progress, **options)
            share.llama = entry.llama
    except BaseException:
        share.release()
        raise
    return share


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


def _release(key: str, user: object) -> None:
    with _lock:
        entry = _loaded.get(key)
        if entry is None or user not in entry.users:
            return
        entry.users.discard(user)
        if entry.users:
            return
        del _loaded[key]
    if entry.llama is not None:
        entry.llama.close()
