"""Loaded models that are shared by key, and those of them that stay for a while although nobody uses them.

A thread frees a model when its time is over, the oldest when there are more than a few of them, and
:func:`make_room` frees some before another model is loaded, when they hold much of the memory that is left.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import queue
import threading
import time

from llamacpp_core.engine.load.memory import available_memory
from llamacpp_core.engine.threads import Thread
from llamacpp_core.llama.llama import Llama
from llamacpp_core.llama.running import is_busy

__all__ = ["MOST", "Shared", "leave", "loaded", "lock", "make_room", "watch"]

_log = logging.getLogger("llamacpp_core.llama.lease")

#: Models that stay although nobody uses them, at most.
MOST = 3
#: The part of the free memory that they may hold when another model is loaded.
_SHARE = 0.5
#: Seconds after which to look again at a model that is due and still busy.
_AGAIN = 1.0

lock = threading.RLock()  # reentrant: the garbage collector may release a lease wherever it is held
loaded: dict[str, Shared] = {}
_wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # the garbage collector may put something into it
_watcher: threading.Thread | None = None


class Shared:
    """A model and who uses it.

    Attributes:
        llama: The model, once it is loaded.
        users: A mark for each lease.
        loading: Held by who loads it.
        until: When to free it, once nobody uses it: seconds of the monotonic clock.
        pid: The process that loaded it.
    """

    def __init__(self) -> None:
        self.llama: Llama | None = None
        self.users: set[object] = set()
        self.loading = threading.Lock()
        self.until = math.inf
        self.pid = os.getpid()


def leave(entry: Shared, seconds: float) -> None:
    """Lets a model without users stay for so long; the caller holds the lock."""
    entry.until = time.monotonic() + seconds
    _wake.put(None)


def watch() -> None:
    """Sees to it that there is a thread that frees models; the caller holds the lock."""
    global _watcher
    if _watcher is None:
        _watcher = Thread(target=_free_when_due, name="llamacpp-lingering", daemon=True)
        _watcher.start()


def make_room() -> None:
    """Frees models that nobody uses while they hold much of the memory that is left."""
    with lock:
        unused = _unused()
    free = available_memory() if unused else None
    if free is None:
        return
    held = sum(_bytes(llama) for _, _, llama in unused)
    for until, key, llama in unused:
        if held <= free * _SHARE:
            return
        if _take(key, until):
            size = _bytes(llama)
            llama.close()
            held, free = held - size, free + size


def _bytes(llama: Llama) -> int:
    return llama.info.size_bytes + llama.info.prompt_cache.slot_bytes


def _unused() -> list[tuple[float, str, Llama]]:
    """When each model without users is due, its key, and the model; the first first."""
    pid = os.getpid()
    found = [
        (entry.until, key, entry.llama)
        for key, entry in loaded.items()
        if not entry.users and entry.llama is not None and entry.pid == pid
    ]
    return sorted(found, key=lambda one: one[0])


def _take(key: str, until: float) -> bool:
    """Takes a model out of those that can be shared, unless somebody used it meanwhile; whether it did."""
    with lock:
        entry = loaded.get(key)
        if entry is None or entry.users or entry.until != until:
            return False
        del loaded[key]
        return True


def _free_when_due() -> None:
    global _watcher
    while True:
        with lock:
            if not loaded:
                _watcher = None
                return
            unused = _unused()
        now = time.monotonic()
        wait = threading.TIMEOUT_MAX
        for i, (until, key, llama) in enumerate(unused):
            if until > now and i >= len(unused) - MOST:
                wait = min(wait, until - now)
            elif is_busy(llama):  # with a request that outlives the object that made it
                wait = min(wait, _AGAIN)
            elif _take(key, until):
                _close(llama)
                wait = 0.0
        with contextlib.suppress(queue.Empty):
            _wake.get(timeout=wait)


def _close(llama: Llama) -> None:
    try:
        llama.close()
    except Exception:
        _log.exception("%r could not be closed", llama)


@atexit.register
def _free_all() -> None:
    with lock:
        unused = _unused()
    for until, key, llama in unused:
        if _take(key, until):
            _close(llama)


def _forget_the_thread() -> None:
    global _wake, _watcher
    _wake, _watcher = queue.SimpleQueue(), None
    lock.release()


if hasattr(os, "register_at_fork"):  # threads stay in the parent, and nobody holds the lock in the child
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=_forget_the_thread)
