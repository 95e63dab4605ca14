"""Brings llama.cpp's log records to the logger ``llamacpp_core.llama_cpp``."""

from __future__ import annotations

import logging

from llamacpp_core._ffi import ffi, lib

__all__ = ["drain", "drain_errors", "logger", "set_native_level"]

logger = logging.getLogger("llamacpp_core.llama_cpp")

# ggml_log_level: DEBUG 1, INFO 2, WARN 3, ERROR 4
_TO_PYTHON = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


def set_native_level() -> None:
    """Lets the native layer drop at once what the logger would not show.

    Errors are always kept: they explain why a model could not be loaded.
    """
    level = logger.getEffectiveLevel()
    lib.lc_log_set_level(min(4, max(1, level // 10)))


def _next() -> tuple[int, str] | None:
    level, size = ffi.new("int32_t *"), ffi.new("size_t *")
    text = lib.lc_log_next(level, size)
    if text == ffi.NULL:
        return None
    return _TO_PYTHON.get(level[0], logging.INFO), bytes(ffi.buffer(text, size[0])).decode("utf-8", "replace")


def drain() -> None:
    """Hands all waiting records to the logger."""
    while lib.lc_log_pending() and (record := _next()):
        logger.log(record[0], "%s", record[1])


def drain_errors() -> list[str]:
    """Like :func:`drain`, and returns the texts of the errors among the records."""
    errors = []
    while lib.lc_log_pending() and (record := _next()):
        logger.log(record[0], "%s", record[1])
        if record[0] >= logging.ERROR:
            errors.append(record[1])
    return errors
