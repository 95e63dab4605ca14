"""A lock that the child of a fork finds free."""

from __future__ import annotations

import os
import threading

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock for what a forked child may use too, or its garbage collector comes by.

    Another thread may hold the parent's lock at the fork, and is not there in the child to give it back. What
    the lock guards is left as it was: in a state that each of its steps leaves usable.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    @property
    def here(self) -> threading.Lock:
        """The lock of this process, for a ``with``, which is one step of C at each end for Ctrl-C."""
        return self._locks.setdefault(os.getpid(), threading.Lock())
