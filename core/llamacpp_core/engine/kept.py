"""What is worth remembering about the last few of many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from llamacpp_core.engine.process_lock import ProcessLock

__all__ = ["Kept"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A bounded memory for threads: those used last are kept.

    Args:
        most: How many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = ProcessLock()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._values)

    def clear(self) -> None:
        """Forgets all."""
        with self._lock.here:
            self._values.clear()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key; made without the lock where there is none, so that it may be made twice."""
        with self._lock.here:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock.here:
            self._values[key] = made
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return made
