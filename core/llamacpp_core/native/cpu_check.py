"""Whether this CPU can run llama.cpp as it was compiled, asked before any of its code is loaded.

A build takes what the building machine's CPU has. Where another machine runs it, or the same one under a
hypervisor that hides a feature, the first such instruction would end the process.
"""

from __future__ import annotations

from dataclasses import dataclass

from llamacpp_core.errors import ModelLoadError
from llamacpp_core.native import _cpu

__all__ = ["REBUILD", "Fault", "Refusal", "cpu_features", "missing_features", "refusal"]

REBUILD = "pip install --force-reinstall --no-deps . (in a checkout)"
"""How to compile llama.cpp again, for the machine that this runs on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that this build of llama.cpp cannot do on this CPU.

    Attributes:
        what: What happened.
        advice: What to do about it.
    """

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}"


def cpu_features() -> frozenset[str]:
    """The features of this CPU that a compiler makes use of, as Linux names them (``"avx2"``, ``"asimddp"``).

    Only those that the operating system lets programs use. Empty on a kind of CPU that is not known here.
    """
    return frozenset(_cpu.offered())


def missing_features() -> list[str]:
    """What llama.cpp was compiled for and this CPU, or the system on it, does not offer."""
    return _cpu.missing()


def refusal() -> Fault | None:
    """Why llama.cpp cannot run on this CPU, and what to do; None if it can."""
    missing = missing_features()
    if not missing:
        return None
    return Fault(
        f"llama.cpp was compiled for a CPU with {', '.join(missing)}, which this machine's CPU lacks or its "
        "operating system or hypervisor hides",
        f'compile it on this machine: {REBUILD}; or for several at once, with CMAKE_ARGS="-DGGML_NATIVE=OFF" '
        "before that command, for what x86-64 CPUs have since 2013",
    )


class Refusal:
    """Stands in for ``ffi`` and ``lib`` where llama.cpp cannot run: whatever is asked of it raises.

    Modules that read our constants when they are imported get a number that means nothing, so that the
    package can be imported, and the error arises where a model is loaded.

    Args:
        reason: The message of the error.

    Raises:
        ModelLoadError: On each use.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.startswith("LC_"):
            return -1
        raise ModelLoadError(self._reason)
