"""Progress bars: tqdm on stderr, shown on a terminal or on request."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from types import TracebackType
from typing import Any

from llamacpp_core._checks import boolean

__all__ = ["ProgressBar", "shown"]


def shown(progress: bool | None) -> bool:
    """Whether to show bars: as asked, else when stderr is a terminal."""
    if progress is not None:
        return boolean("progress", progress)
    return sys.stderr is not None and sys.stderr.isatty()


class ProgressBar:
    """A bar, or nothing at all.

    Args:
        description: What is going on.
        total: Number of units; None if it is not known.
        unit: ``"B"`` for bytes, else a word.
        progress: As in :func:`shown`.
        patience: Seconds that it may take before the bar is shown; such a bar goes when it has ended.
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        *,
        unit: str = "B",
        progress: bool | None = None,
        patience: float = 0.0,
    ) -> None:
        self._bar: Any = None
        self._settings = {
            "desc": description,
            "total": total,
            "unit": unit,
            "unit_scale": unit == "B",
            "unit_divisor": 1024,
            "leave": not patience,
        }
        self._total = total
        self._done = 0
        self._wanted = shown(progress)
        self._from = time.monotonic() + patience
        self._show()

    def _show(self) -> None:
        if self._bar is not None or not self._wanted or time.monotonic() < self._from:
            return
        try:
            tqdm = import_module("tqdm.auto").tqdm
        except ImportError:
            self._wanted = False
        else:
            self._bar = tqdm(file=sys.stderr, initial=self._done, **self._settings)

    def advance(self, units: int = 1) -> None:
        """Counts `units` more as done."""
        self.move_to(self._done + units)

    def move_to(self, done: int) -> None:
        """Counts `done` units as done in all; never goes back or beyond the total."""
        self._show()
        done = done if self._total is None else min(done, self._total)
        if self._bar is not None and done > self._done:
            self._bar.update(done - self._done)
        self._done = max(done, self._done)

    def __enter__(self) -> ProgressBar:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the bar, complete or where it stopped."""
        if self._bar is not None:
            if kind is None and self._total is not None:
                self.move_to(self._total)
            self._bar.close()
