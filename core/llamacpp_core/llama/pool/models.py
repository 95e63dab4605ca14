"""What a pool knows of each of its models, and how it reads its arguments."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import shown
from llamacpp_core.errors import InvalidParameterError, LlamaCppError
from llamacpp_core.llama.pool.footprint import Footprint

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["Entry", "PooledModel", "read_budget", "read_model"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?|)B?\s*", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class PooledModel:
    """What a pool knows of one of its models.

    Attributes:
        loaded: It is in memory.
        loading: It is on its way there.
        users: Blocks that use it or wait for it.
        bytes: Memory that it takes at most; of a model that was never loaded an estimate from its file, and
            None where that is not there yet.
        last_used: When its last use ended, in seconds since the epoch; None before that.
    """

    loaded: bool
    loading: bool
    users: int
    bytes: int | None
    last_used: float | None


class Entry:
    """A model of the pool; changed with the pool's lock held."""

    def __init__(self, name: str, footprint: Footprint) -> None:
        self.name = name
        self.footprint = footprint
        self.llama: Llama | None = None
        self.loading = False
        self.users = 0  # who has it or waits for it
        self.threads: list[int] = []  # of those who have it, where they got it
        self.idle_since = 0.0  # of the monotonic clock
        self.last_used: float | None = None

    @property
    def is_free(self) -> bool:
        """Whether it is loaded and nobody has it; somebody may wait for it, and for others."""
        return self.llama is not None and not self.threads

    @property
    def is_unused(self) -> bool:
        """Whether it is loaded and nobody has it or waits for it."""
        return self.llama is not None and not self.users

    def hold(self) -> Llama | None:
        """Gives it to this thread, if it is there."""
        if self.llama is not None:
            self.threads.append(threading.get_ident())
        return self.llama


def read_model(name: Any, given: Any) -> Entry:
    """A model of the pool, from what the pool was given under a name.

    Raises:
        InvalidParameterError: It cannot be loaded so; names the model.
    """
    if not isinstance(name, str) or not name:
        raise InvalidParameterError(
            f"the name of a model must be text, got {shown(name)}", parameter="models"
        )
    try:
        return Entry(name, Footprint(given if isinstance(given, Mapping) else {"model": given}))
    except LlamaCppError as error:
        raise InvalidParameterError(f"models[{name!r}]: {error}", parameter=f"models[{name!r}]") from None


def read_budget(budget: Any) -> int:
    """A budget in bytes, from a number or a text like "8GiB".

    Raises:
        InvalidParameterError: It is neither.
    """
    found = _SIZE.fullmatch(budget) if isinstance(budget, str) else None
    if found is not None:
        unit = found[2][:1].upper() + found[2][1:].lower()
        size = int(float(found[1]) * _UNITS[unit])
    elif isinstance(budget, int) and not isinstance(budget, bool):
        size = budget
    else:
        size = 0
    if size <= 0:
        raise InvalidParameterError(
            f"budget must be a number of bytes, or like '8GiB', got {shown(budget)}", parameter="budget"
        )
    return size
