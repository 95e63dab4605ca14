"""Which of a wheel's builds of llama.cpp runs on this CPU.

A wheel holds llama.cpp compiled for several levels of CPUs, as modules beside one another; the fastest one
that this CPU and its operating system allow is imported. A build from source is one module, made for the
machine that built it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from llamacpp_core.native import _cpu

__all__ = ["FORCE", "Level", "choose", "import_native", "level_in_use"]

FORCE = "LLAMACPP_CPU"
"""The environment variable that names a level."""

_MODULE = "llamacpp_core.native._native"


@dataclass(frozen=True, slots=True)
class Level:
    """A choice among builds for several levels of CPUs.

    Attributes:
        name: The level, as ``"v3"``; "" for a build from source, which has none.
        why: Why it is this one.
        complaint: What was asked for and could not be had; empty if all is well.
    """

    name: str
    why: str
    complaint: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.name else self.why


def choose(levels: Mapping[str, Collection[str]], offered: Collection[str], wanted: str = "") -> Level:
    """Chooses a level.

    Args:
        levels: What each level needs of the CPU, the lowest level first; empty for a build from source.
        offered: The features that this CPU and its operating system offer.
        wanted: The level that the user asks for; "" for the highest that can run.

    Returns:
        The level and why; the lowest level where none can run, since what it lacks is told elsewhere.
    """
    if not levels:
        complaint = f"{FORCE}={wanted} has no effect: this build from source is for one kind of CPU"
        return Level("", "built from source for one kind of CPU", complaint if wanted else "")
    lacking = {name: [one for one in needed if one not in offered] for name, needed in levels.items()}
    usable = [name for name, missing in lacking.items() if not missing] or [next(iter(levels))]
    best = usable[-1]
    if wanted in usable:
        return Level(wanted, f"{FORCE}={wanted} asks for it")
    above = next((f"{name} needs {', '.join(lacking[name])}" for name in _above(best, levels)), "")
    why = "the highest that this CPU and its system allow" + (f"; {above}" if above else "")
    if wanted in levels:
        what = f"needs {', '.join(lacking[wanted])}, which this CPU lacks or its system hides"
        return Level(best, why, f"{FORCE}={wanted} {what}: {best} is used")
    if wanted:
        return Level(best, why, f"{FORCE}={wanted} is none of {', '.join(levels)}: {best} is used")
    return Level(best, why)


def _above(level: str, levels: Mapping[str, object]) -> list[str]:
    names = list(levels)
    return names[names.index(level) + 1 :]


@cache
def level_in_use() -> Level:
    """The level whose module this process uses."""
    return choose(_cpu.levels(), _cpu.offered(), os.environ.get(FORCE, ""))


def import_native() -> ModuleType:
    """Imports the module of the level in use, under the name that it has in every build.

    Raises:
        ImportError: It cannot be loaded.
    """
    level = level_in_use()
    if level.complaint:
        warnings.warn(level.complaint, RuntimeWarning, stacklevel=2)
    if level.name == next(iter(_cpu.levels()), ""):  # the lowest one has the plain name
        return importlib.import_module(_MODULE)
    path = str(_module_file(level.name))
    loader = importlib.machinery.ExtensionFileLoader(_MODULE, path)
    spec = importlib.util.spec_from_file_location(_MODULE, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    loader.exec_module(module)
    return module


def _module_file(level: str) -> Path:
    """The module of a level, beside the one that tells about CPUs."""
    here = Path(str(_cpu.__file__))
    return here.with_name(here.name.replace("_cpu", f"_native_{level}", 1))
