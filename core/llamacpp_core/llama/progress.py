"""Progress bars: on stderr, only for what takes long, and only where somebody looks."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from llamacpp_core._checks import boolean

__all__ = ["LoadProgress", "batch_progress"]

#: Loading that takes less than this many seconds shows nothing.
PATIENCE = 1.0


def _wanted(progress: bool | None) -> bool:
    if progress is None:
        return sys.stderr is not None and sys.stderr.isatty()
    return boolean("progress", progress)


def _bar(**settings: Any) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(file=sys.stderr, leave=False, **settings)


class LoadProgress:
    """Shows how far a model is loaded, once it takes noticeably long."""

    def __init__(self, name: str, progress: bool | None) -> None:
        self._name = name
        self._wanted = _wanted(progress)
        self._start = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Callable[[float], None]:
        return self._update

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _update(self, fraction: float) -> None:
        if not self._wanted or time.monotonic() - self._start < PATIENCE:
            return
        if self._bar is None:
            self._bar = _bar(desc=f"loading {self._name}", total=100, unit="%")
            self._wanted = self._bar is not None
        if self._bar is not None:
            self._bar.update(round(100 * fraction) - self._bar.n)


def _nothing(_n: int) -> None:
    pass


@contextlib.contextmanager
def batch_progress(total: int | None, progress: bool | None) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items that are finished; None for a total that is not known."""
    bar = _bar(desc="embedding", total=total, unit="text") if _wanted(progress) else None
    try:
        yield _nothing if bar is None else bar.update
    finally:
        if bar is not None:
            bar.close()
