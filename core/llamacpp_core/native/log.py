"""Brings llama.cpp's log records to the logger ``llamacpp_core.llama_cpp``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from llamacpp_core.native import ffi, lib

__all__ = ["collect_errors", "drain", "drain_errors", "logger", "set_native_level"]

logger = logging.getLogger("llamacpp_core.llama_cpp")

# ggml_log_level: DEBUG 1, INFO 2, WARN 3, ERROR 4
_TO_PYTHON = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


_level = 0
_collectors: list[list[str]] = []


def set_native_level() -> None:
    """Lets the native layer drop at once what the logger would not show.

    Errors are always kept: they explain why a model could not be loaded.
    """
    global _level
    level = logger.getEffectiveLevel()
    if level != _level:
        _level = level
        lib.lc_log_set_level(min(4, max(1, level // 10)))


def _next() -> tuple[int, str] | None:
    record = ffi.new("lc_log_record *")
    if lib.lc_log_next(record) != 1:
        return None
    text = bytes(ffi.buffer(record.text, record.size)).decode("utf-8", "replace")
    return _TO_PYTHON.get(record.level, logging.INFO), text


def drain() -> None:
    """Hands all waiting records to the logger."""
    while lib.lc_log_pending() and (record := _next()):
        if record[0] >= logging.ERROR:
            for collected in list(_collectors):
                collected.append(record[1])
        # A handler that raises must not end the thread that brings the results.
        with contextlib.suppress(Exception):
            logger.log(record[0], "%s", record[1])


def drain_errors() -> list[str]:
    """Like :func:`drain`, and returns the texts of the errors among the records."""
    with collect_errors() as errors:
        pass
    return errors


@contextlib.contextmanager
def collect_errors() -> Iterator[list[str]]:
    """The texts of errors that are logged inside the block, whichever thread brings them here."""
    errors: list[str] = []
    _collectors.append(errors)
    try:
        yield errors
        drain()
    finally:
        _collectors[:] = [other for other in _collectors if other is not errors]
