"""A warning when generation becomes many times slower than it was."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from llamacpp_core.engine.process_lock import ProcessLock

__all__ = ["SpeedWatch"]

_log = logging.getLogger("llamacpp_core.llama")

#: Warn when generation takes this many times as long as it did at best.
_COLLAPSE = 5.0
#: Fewer tokens tell nothing about the speed.
_TOKENS = 16
#: Seconds between two warnings.
_QUIET = 600.0


class _Run:
    """A request that runs. Whoever runs it has the only reference, so one that Ctrl-C ends is forgotten."""

    __slots__ = ("__weakref__", "number")

    def __init__(self) -> None:
        self.number = 0  # where it began alone, how many had begun by then


class SpeedWatch:
    """Compares the speed of requests that ran alone with the best so far.

    Only requests with about as much text behind them are compared, since attention costs more the more there
    is, and only those that shared the engine with no other.

    Args:
        n_threads: Threads of the model, for the warning.
        n_active: How many requests the engine has now.
    """

    def __init__(self, n_threads: int, n_active: Callable[[], int]) -> None:
        self._n_threads = n_threads
        self._n_active = n_active
        self._lock = ProcessLock()
        self._best: dict[int, float] = {}
        self._begun = 0
        self._running: weakref.WeakSet[_Run] = weakref.WeakSet()
        self._warned = -_QUIET

    def begin(self) -> _Run:
        """Notes that a request begins.

        Returns:
            What :meth:`end` needs to know; the request runs for as long as it lives.
        """
        others = self._n_active() > 1
        run = _Run()
        with self._lock.here:
            self._begun += 1
            self._running.add(run)
            run.number = self._begun if len(self._running) == 1 and not others else 0
        return run

    def end(self, run: _Run, timings: Mapping[str, Any] | None) -> None:
        """Notes that a request has ended.

        Args:
            run: What :meth:`begin` gave.
            timings: llama.cpp's timings; None if it did not run to its end.
        """
        others = self._n_active() > 0
        with self._lock.here:
            self._running.discard(run)
            alone = run.number == self._begun and not others
            if not alone or not timings or timings.get("predicted_n", 0) < _TOKENS:
                return
            speed = float(timings["predicted_per_second"])
            size = sum(int(timings.get(name, 0)) for name in ("cache_n", "prompt_n", "predicted_n"))
            kind = size.bit_length()
            best = self._best.get(kind, speed)
            self._best[kind] = max(best, speed)
            now = time.monotonic()
            if speed * _COLLAPSE > best or now - self._warned < _QUIET:
                return
            self._warned = now
        self._warn(best, speed)

    def _warn(self, best: float, speed: float) -> None:
        advice = "pass a smaller n_threads" if self._n_threads > 1 else "end some of them"
        _log.warning(
            "generation fell from %.0f to %.1f tokens a second with n_threads=%d: other programs take the "
            "CPU's cores away, and threads that wait for one another are slower than fewer threads; %s",
            best,
            speed,
            self._n_threads,
            advice,
        )
