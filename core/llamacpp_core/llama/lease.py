"""One loaded model for all objects that ask for the same one.

The adapters of LangChain and LlamaIndex hold leases: a chat model and an embedding model of the same file
and options share its weights. A lease that is released frees the memory if it was the last one. One that
became garbage leaves the model for its ``linger`` seconds, so that code that makes an object for each call
loads once; see :mod:`llamacpp_core.llama.lingering` for what frees it.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamacpp_core.llama import lingering
from llamacpp_core.llama.lingering import Shared, loaded, lock
from llamacpp_core.llama.llama import Llama

__all__ = ["Lease", "lease"]


class Lease:
    """A share of a loaded model; given back by :meth:`release`, or when it is garbage.

    Attributes:
        llama: The model.
    """

    llama: Llama

    def __init__(self, key: str, linger: float = 0.0) -> None:
        # From here on Ctrl-C can come anywhere: a share that is nobody's is garbage, and given back as such.
        user = object()
        self._key, self._user = key, user
        self._finalizer = weakref.finalize(self, _release, key, user, linger)
        with lock:
            self._entry = loaded.setdefault(key, Shared())
            self._entry.users.add(user)
            if linger:
                lingering.watch()

    def release(self) -> None:
        """Gives the share back; the last one closes the model. Can be repeated."""
        if self._finalizer.detach() is not None:
            _release(self._key, self._user, 0.0)


def lease(
    model: str | os.PathLike[str],
    *,
    progress: bool | None = None,
    linger: float = 0.0,
    **load_options: Any,
) -> Lease:
    """Loads a model, or shares it when it is loaded with the same options in this process.

    Args:
        model: As for :class:`~llamacpp_core.Llama`.
        progress: Show progress on stderr. None: on a terminal only.
        linger: Seconds for which the model stays when this lease is garbage and was the last one.
        load_options: As for :class:`~llamacpp_core.Llama`.

    Raises:
        LlamaCppError: As :class:`~llamacpp_core.Llama` does.
    """
    options = {name: value for name, value in load_options.items() if value is not None}
    named = _with_whole_paths([os.fspath(model), options])
    share = Lease(json.dumps([os.getpid(), named], sort_keys=True, default=repr), linger)
    entry = share._entry
    try:
        with entry.loading:
            if entry.llama is None or entry.llama._closed:  # somebody closed it by .client
                lingering.make_room()
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


def _release(key: str, user: object, linger: float) -> None:
    # May run in the garbage collector, wherever that is: it takes no lock that it may already hold.
    with lock:
        entry = loaded.get(key)
        if entry is None or user not in entry.users:
            return
        entry.users.discard(user)
        if entry.users:
            return
        if linger and entry.llama is not None:
            lingering.leave(entry, linger)
            return
        del loaded[key]
    if entry.llama is not None:
        entry.llama.close()
