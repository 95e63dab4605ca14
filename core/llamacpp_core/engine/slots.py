"""What an engine's slots remember, written to files of llama.cpp's and read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llamacpp_core.errors import EngineError
from llamacpp_core.native import lib
from llamacpp_core.native.failures import error_from_report, last_report

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine

__all__ = ["restore_slot", "save_slot"]


def save_slot(engine: Engine, slot: int, task: int, path: str, *, timeout_s: int = 60) -> int:
    """Writes what a task has left in a slot to a file.

    Args:
        engine: The engine.
        slot: The slot, as the ``Final`` of the task names it.
        task: The task, in the same way.
        path: The file.
        timeout_s: How many seconds the slot may be busy.

    Returns:
        How many tokens it holds.

    Raises:
        EngineError: The slot was busy for too long or has something else, or the file cannot be written.
    """
    return _checked(lib.lc_slot_save(engine._core.native, slot, task, os.fsencode(path), timeout_s))


def restore_slot(engine: Engine, slot: int, path: str, *, timeout_s: int = 60) -> int:
    """Reads a file of :func:`save_slot` into a slot; returns how many tokens it holds.

    llama.cpp trusts the file that it reads: check it before.

    Raises:
        EngineError: The slot was busy for too long, or the file does not fit.
    """
    return _checked(lib.lc_slot_restore(engine._core.native, slot, os.fsencode(path), timeout_s))


def _checked(n_tokens: int) -> int:
    if n_tokens < 0:
        report = last_report()
        raise error_from_report(report) if report["type"] == "closed" else EngineError(report["message"])
    return int(n_tokens)
