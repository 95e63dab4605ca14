"""Work that makes very many objects, and no circles of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Puts Python's garbage collector off while the block runs, in all threads.

    What is no longer referred to is freed all the same; the collector would look through all that is alive
    again and again, and find nothing. Blocks may overlap in several threads; where the collector is off
    already it stays off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
