"""The pool: who waits for a model, which one is unloaded, when."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from llamacpp_core._checks import number, shown, unknown_name
from llamacpp_core.engine.threads import Timer
from llamacpp_core.errors import (
    EngineClosedError,
    ForkedProcessError,
    InvalidParameterError,
    ModelAllocationError,
)
from llamacpp_core.llama.pool.models import Entry, PooledModel, read_budget, read_model

if TYPE_CHECKING:
    from llamacpp_core.llama.llama import Llama

__all__ = ["ModelPool"]

#: Seconds that a model waits for memory before models in use take nobody new, so that their users can end.
_PATIENCE = 2.0

_SECONDS = number(0, threading.TIMEOUT_MAX)


class ModelPool:
    """Models that share a budget of memory.

    A model is loaded when somebody uses it. When it does not fit, models that nobody uses are unloaded, the
    one that was unused for longest first; models in use stay, and whoever needs their memory waits. Any
    number of threads may use a pool.

    What a model takes is measured when it is loaded: the growth of the process, and the KV cache, which is
    reserved then and becomes resident as it fills. Before its first time it is estimated from the file.
    Where the context length is not given, it is such that the cache takes half the budget at most.

    Args:
        models: By name a model, as for :class:`~llamacpp_core.Llama`, or a dict of that class's arguments
            with ``model``.
        budget: Memory for all models, in bytes or like "8GiB" or "500MB". None: no bound.
        keep_alive: Seconds after its last use when a model is unloaded; 0 at once. None: never.

    Raises:
        InvalidParameterError: An argument cannot work; names the model.

    Example:
        >>> pool = ModelPool({"small": "smollm2-135m-instruct"}, budget="2GiB")  # doctest: +SKIP
        >>> with pool, pool.use("small") as llm:
        ...     llm.create_completion("Tea is")
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any] | str | os.PathLike[str]],
        *,
        budget: str | int | None = None,
        keep_alive: float | None = None,
    ) -> None:
        self._closed = True  # until everything below has worked
        if not isinstance(models, Mapping) or not models:
            raise InvalidParameterError(
                f"models must be a dict from names to models, got {shown(models)}", parameter="models"
            )
        self._budget = None if budget is None else read_budget(budget)
        self._keep_alive = None if keep_alive is None else float(_SECONDS("keep_alive", keep_alive))
        self._entries = {name: read_model(name, given) for name, given in models.items()}
        self._changed = threading.Condition()
        self._queue: list[tuple[float, Entry]] = []  # who waits for memory, and since when
        self._loading: Entry | None = None
        self._timer: threading.Timer | None = None
        self._pid = os.getpid()
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its models."""
        return tuple(self._entries)

    @property
    def budget(self) -> int | None:
        """Memory for all models, in bytes; None for no bound."""
        return self._budget

    def info(self) -> dict[str, PooledModel]:
        """What is known of each model, by name."""
        with self._changed:
            return {
                name: PooledModel(
                    loaded=entry.llama is not None,
                    loading=entry.loading,
                    users=entry.users,
                    bytes=entry.footprint.known,
                    last_used=entry.last_used,
                )
                for name, entry in self._entries.items()
            }

    @contextlib.contextmanager
    def use(self, name: str, timeout: float | None = None) -> Iterator[Llama]:
        """A loaded model, which stays loaded for the length of the block.

        Loads it if need be, and waits until there is memory for it. A thread that holds one model and asks
        for another waits for ever if both do not fit at once: use one after the other, or set ``timeout``.

        Args:
            name: One of :attr:`names`.
            timeout: Seconds to wait for memory at most; None for no bound.

        Raises:
            InvalidParameterError: There is no such model.
            ModelAllocationError: It does not fit into the budget, or not within ``timeout``.
            EngineClosedError: The pool was closed.
            LlamaCppError: As :class:`~llamacpp_core.Llama` does.
        """
        entry = self._entry(name)
        deadline = None if timeout is None else time.monotonic() + float(_SECONDS("timeout", timeout))
        thread = threading.get_ident()
        llama = self._enter(entry, deadline)
        try:
            yield llama
        finally:
            self._leave(entry, thread)

    def unload(self, name: str) -> bool:
        """Unloads a model that nobody uses.

        Returns:
            Whether it is not in memory now; False while somebody uses or loads it.
        """
        entry = self._entry(name)
        with self._changed:
            if entry.threads or entry.loading:
                return False
            llama = self._take_out(entry)
        self._shut(llama)
        return True

    def close(self) -> None:
        """Unloads all models; what they are working on ends with an error. Can be repeated.

        A model that is being loaded is closed when it is there, and whoever waits for it gets
        :class:`~llamacpp_core.EngineClosedError`.
        """
        if self._closed or self._pid != os.getpid():
            return
        with self._changed:
            self._closed = True
            taken = [self._take_out(entry) for entry in self._entries.values()]
            if self._timer is not None:
                self._timer.cancel()
            self._changed.notify_all()
        self._shut(*taken)
        with self._changed:
            while self._loading is not None:
                self._changed.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and any(e.llama is not None for e in self._entries.values()):
            warnings.warn(
                f"{self!r} was not closed: use `with` or call close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()

    def __repr__(self) -> str:
        loaded = [name for name, entry in self._entries.items() if entry.llama is not None]
        return f"<ModelPool of {len(self._entries)} models, loaded: {', '.join(loaded) or 'none'}>"

    def _entry(self, name: str) -> Entry:
        if self._pid != os.getpid():
            raise ForkedProcessError("this pool was made before a fork: make another one in the child")
        if name not in self._entries:
            raise unknown_name(str(name), self._entries, "model")
        return self._entries[name]

    # A use: wait, load, leave

    def _enter(self, entry: Entry, deadline: float | None) -> Llama:
        with self._changed:
            entry.users += 1
        try:
            entry.footprint.estimate(self._budget)
            while True:
                with self._changed:
                    victims = self._wait(entry, deadline)
                    llama = entry.hold()
                llama = llama or self._load(entry, victims)
                if llama is not None:
                    return llama
        except BaseException:
            self._leave(entry, None)
            raise

    def _wait(self, entry: Entry, deadline: float | None) -> list[Llama | None]:
        """Waits until the model is there, or may be loaded; then returns what has to be closed before."""
        turn = (time.monotonic(), entry)
        self._queue.append(turn)
        try:
            while True:
                if self._closed:
                    raise EngineClosedError("the pool is closed: make a new ModelPool")
                # Who holds the model already must not wait for those who wait for its memory.
                may = self._is_next(entry, turn) or threading.get_ident() in entry.threads
                if entry.llama is not None and may:
                    return []
                if entry.llama is None and self._loading is None and may:
                    victims = self._room_for(entry)
                    if victims is not None:
                        self._loading, entry.loading = entry, True
                        return [self._take_out(victim) for victim in victims]
                left = _PATIENCE if deadline is None else min(_PATIENCE, deadline - time.monotonic())
                if left <= 0:
                    raise ModelAllocationError(
                        f"{entry.name}: other models of the pool were in use for too long to make room for it"
                    )
                self._changed.wait(left)
        finally:
            self._queue.remove(turn)
            self._changed.notify_all()

    def _is_next(self, entry: Entry, turn: tuple[float, Entry]) -> bool:
        """Whether nobody waits for long, and longer, for a model that is not there."""
        patience = min(time.monotonic() - _PATIENCE, turn[0])
        return not any(
            since < patience and other is not entry and other.llama is None for since, other in self._queue
        )

    def _room_for(self, entry: Entry) -> list[Entry] | None:
        """The idle models to unload, longest unused first; None while models in use leave no room."""
        if self._budget is None:
            return []
        need = entry.footprint.needed
        if need > self._budget:
            raise ModelAllocationError(
                f"{entry.name} takes {need / 2**20:.0f} MiB, the budget is {self._budget / 2**20:.0f} MiB: "
                "use a smaller n_ctx or n_parallel, a smaller model, or a larger budget"
            )
        free = self._budget - sum(e.footprint.needed for e in self._entries.values() if e.llama is not None)
        victims = []
        for idle in sorted((e for e in self._entries.values() if e.is_free), key=lambda e: e.idle_since):
            if free >= need:
                break
            victims.append(idle)
            free += idle.footprint.needed
        return victims if free >= need else None

    def _load(self, entry: Entry, victims: list[Llama | None]) -> Llama | None:
        """Loads the model for this thread; nobody else loads meanwhile, so that it can be measured.

        Returns:
            The model; None where its estimate was too low, so that it waits again for what it takes.
        """
        llama = None
        try:
            self._shut(*victims)
            llama = entry.footprint.load()
            with self._changed:
                if not self._closed and self._fits(entry):
                    entry.llama, llama = llama, None
                return entry.hold()
        finally:
            self._shut(llama)
            with self._changed:
                self._loading, entry.loading = None, False
                self._changed.notify_all()

    def _fits(self, entry: Entry) -> bool:
        loaded = [e for e in self._entries.values() if e is entry or e.llama is not None]
        return self._budget is None or sum(e.footprint.needed for e in loaded) <= self._budget

    def _leave(self, entry: Entry, thread: int | None) -> None:
        llama = None
        with self._changed:
            entry.users -= 1
            if thread is not None:
                entry.threads.remove(thread)
            entry.idle_since, entry.last_used = time.monotonic(), time.time()
            if entry.is_unused and self._keep_alive is not None and not self._closed:
                llama = self._take_out(entry) if not self._keep_alive else None
                self._set_timer()
            self._changed.notify_all()
        self._shut(llama)

    # Unloading

    def _take_out(self, entry: Entry) -> Llama | None:
        llama, entry.llama = entry.llama, None
        return llama

    def _shut(self, *taken: Llama | None) -> None:
        for llama in taken:
            if llama is not None:
                llama.close()

    def _set_timer(self) -> None:
        """Sees to it that somebody looks after the idle models when the first of them is due."""
        idle = [entry.idle_since for entry in self._entries.values() if entry.is_unused]
        if self._timer is None and idle and self._keep_alive and not self._closed:
            wait = max(0.0, min(idle) + self._keep_alive - time.monotonic())
            self._timer = Timer(wait, _unload_unused, [weakref.ref(self)])
            self._timer.name, self._timer.daemon = "llamacpp-pool", True
            self._timer.start()

    def _unload_unused(self) -> None:
        with self._changed:
            self._timer = None
            due = time.monotonic() - (self._keep_alive or 0)
            unused = [
                entry for entry in self._entries.values() if entry.is_unused and entry.idle_since <= due
            ]
            taken = [self._take_out(entry) for entry in unused]
            self._set_timer()
            self._changed.notify_all()
        self._shut(*taken)


def _unload_unused(pool: weakref.ref[ModelPool]) -> None:
    if (found := pool()) is not None:
        found._unload_unused()
