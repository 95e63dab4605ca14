"""Facts about this build of llama.cpp."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from llamacpp_core.native import ffi, lib
from llamacpp_core.native.cpu_level import level_in_use

__all__ = ["build_info", "system_fingerprint"]


@cache
def build_info() -> dict[str, Any]:
    """Version, CPU features in use, devices with their memory in bytes, changes made to llama.cpp by name.

    ``cpu_level`` is the level of CPUs that a wheel's module was chosen for ("" for a build from source), and
    ``cpu_level_why`` says why.
    """
    info: dict[str, Any] = json.loads(ffi.string(lib.lc_build_info()))
    level = level_in_use()
    return {**info, "cpu_level": level.name, "cpu_level_why": level.why}


def system_fingerprint() -> str:
    """Tells answers of one build from those of another."""
    return f"llama.cpp-{build_info()['llama_cpp']}"
