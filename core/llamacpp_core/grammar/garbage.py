"""Work that makes very many objects, and no circles of them."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]

_lock = threading.RLock()  # reentrant: Ctrl-C can come anywhere
_inside = 0  # blocks that put the collector off


@contextmanager
def uncollected() -> Iterator[None]:
    """Puts Python's garbage collector off while the block runs, in all threads.

    What is no longer referred to is freed all the same; the collector would look through all that is alive
    again and again, and find nothing. Blocks may overlap in several threads: the last one to end puts the
    collector on again. Where it was off before, it stays off; who puts it off while a block runs does so
    until the block ends.
    """
    global _inside
    takes_part = False
    try:
        with _lock:
            takes_part = _inside > 0 or gc.isenabled()
            if takes_part:
                _inside += 1
                gc.disable()
        yield
    finally:
        if takes_part:
            with _lock:
                _inside = max(_inside - 1, 0)
                if _inside == 0:
                    gc.enable()


def _begin_anew() -> None:
    """In the child of a fork: the threads whose blocks were running are not in it."""
    global _inside, _lock
    _lock = threading.RLock()
    if _inside > 0:
        _inside = 0
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
