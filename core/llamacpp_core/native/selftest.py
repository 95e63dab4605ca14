"""Whether llama.cpp multiplies right on this CPU, found out in another process.

The code that multiplies is chosen by the compiler, the CPU and the operating system together, and a mistake
in any of them ends the process or gives wrong numbers. Every type of weights is multiplied once in each kind
of memory that a model's weights may lie in, and compared with plain arithmetic. In a process of its own, a
crash becomes a sentence that says what to do.

``python -m llamacpp_core.native.selftest`` prints the outcome; its exit status is 1 when something is wrong.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llamacpp_core.native import lib, text
from llamacpp_core.native.cpu_check import REBUILD, Fault, refusal
from llamacpp_core.native.failures import last_report

__all__ = ["SelfTest", "run_selftest"]

#: Mean squared error over mean square: rounding the inputs to 8 bits gives up to 1e-4, wrong code about 1.
TOLERANCE = 5e-4
_TIMEOUT_S = 120.0
#: A word that begins each line that the other process prints about a product.
_BEGINS, _ENDS = "begins", "ends"
#: Kind of memory, as llama.cpp names it, and the build option that does without it.
_WITHOUT = {"AMX": "LLAMACPP_AMX", "CPU_REPACK": "GGML_CPU_REPACK"}
_WINDOWS_FAULTS = {0xC0000005: "an access violation", 0xC000001D: "an illegal instruction"}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the self-test found.

    Attributes:
        n_right: Products that were computed right.
        faults: What is wrong, one for each kind of fault.
    """

    n_right: int
    faults: tuple[Fault, ...]


def run_selftest(command: Sequence[str] | None = None, *, timeout_s: float = _TIMEOUT_S) -> SelfTest:
    """Multiplies matrices of every type in another process, which takes some seconds.

    Args:
        command: The program to run in place of this module; the number of the first product is added to it.
        timeout_s: Seconds that the other process may take.

    Returns:
        How many products were right, and what is wrong.
    """
    if (reason := refusal()) is not None:
        return SelfTest(0, (reason,))
    n_right, first = 0, 0
    faults: dict[tuple[str, str], list[str]] = {}
    while True:
        outcome = _Outcome.of(_run([*(command or _command()), str(first)], timeout_s))
        n_right += outcome.n_right
        for product, what in outcome.faults:
            type_name, _, memory = product.partition(" in ")
            faults.setdefault((memory.removesuffix(" memory"), what), []).append(type_name)
        if outcome.n_begun == 0 or not outcome.died:
            break
        first += outcome.n_begun  # the rest may be well
    return SelfTest(n_right, tuple(_fault(*kind, names) for kind, names in faults.items()))


def _command() -> list[str]:
    return [sys.executable, "-P", "-m", "llamacpp_core.native.selftest", "--products"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one run of the other process came to: its faults are (product, what happened)."""

    n_begun: int
    n_right: int
    died: bool
    faults: list[tuple[str, str]]

    @classmethod
    def of(cls, done: tuple[int | None, str, str]) -> _Outcome:
        status, printed, complaint = done
        n_begun = n_right = 0
        running = ""
        faults = []
        for line in printed.splitlines():
            word, _, rest = line.partition(" ")
            if word == _BEGINS:
                n_begun, running = n_begun + 1, rest
            elif word == _ENDS:
                error, _, message = rest.partition(" ")
                if message:
                    faults.append((running, f"failed ({message})"))
                elif float(error) <= TOLERANCE:
                    n_right += 1
                else:
                    faults.append((running, f"was off by {float(error) ** 0.5:.0%}"))
                running = ""
        died = status != 0
        if died:
            faults.append((running, f"ended with {_end(status, complaint)}"))
        return cls(n_begun, n_right, died, faults)


def _run(command: list[str], timeout_s: float) -> tuple[int | None, str, str]:
    """Exit status, None if it was ended for taking too long, and what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_WAIT_POLICY": "passive",  # a build with OpenMP would spin between these small products
    }
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as process:
        try:
            printed, complaint = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, complaint = process.communicate()
            return None, printed, complaint
    return process.returncode, printed, complaint


def _end(status: int | None, complaint: str) -> str:
    """How the process ended, in words."""
    last = complaint.strip().splitlines()[-1:]
    said = f" ({last[0]})" if last else ""
    if status is None:
        return f"no result in time{said}"
    if status < 0:
        try:
            return signal.Signals(-status).name + said
        except ValueError:
            return f"signal {-status}{said}"
    return _WINDOWS_FAULTS.get(status, f"exit status {status}") + said


def _fault(memory: str, what: str, names: list[str]) -> Fault:
    if not any(names):
        return Fault(f"the self-test {what} before it multiplied anything", f"compile again: {REBUILD}")
    option = _WITHOUT.get(memory, "GGML_NATIVE")
    return Fault(
        f"multiplying {', '.join(names)} matrices in {memory} memory {what}",
        f'compile llama.cpp without that code: CMAKE_ARGS="-D{option}=OFF" {REBUILD}',
    )


def _multiply(first: int) -> Iterator[str]:
    """Multiplies in this process, from one product on; tells of each before and after."""
    for index in range(first, lib.lc_selftest_count()):
        yield f"{_BEGINS} {text(lib.lc_selftest_name(index))}"
        error = lib.lc_selftest_run(index)
        yield f"{_ENDS} {error}" + (f" {_one_line(last_report()['message'])}" if math.isnan(error) else "")


def _one_line(message: str) -> str:
    return " ".join(message.split()) or "no message"


def _no_core_dump() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main(arguments: Sequence[str]) -> int:
    """Runs the self-test and prints its outcome; returns the exit status."""
    if arguments[:1] == ["--products"]:
        _no_core_dump()
        for line in _multiply(int(arguments[1])):
            print(line, flush=True)
        return 0
    found = run_selftest()
    for fault in found.faults:
        print(f"This build of llama.cpp does not work on this CPU. {fault}", file=sys.stderr)
    print(f"{found.n_right} kinds of matrix products are right on this CPU")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
