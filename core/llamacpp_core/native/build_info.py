"""Facts about this build of llama.cpp."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from llamacpp_core.native import ffi, lib

__all__ = ["build_info", "system_fingerprint"]


@cache
def build_info() -> dict[str, Any]:
    """Version, CPU features in use, devices with their memory in bytes, changes made to llama.cpp by name."""
    info: dict[str, Any] = json.loads(ffi.string(lib.lc_build_info()))
    return info


def system_fingerprint() -> str:
    """Tells answers of one build from those of another."""
    return f"llama.cpp-{build_info()['llama_cpp']}"
