"""Cases in child processes: what ends one ends no other, and is found."""

from __future__ import annotations

import collections
import dataclasses
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["Count", "Finding", "run_cases"]

LOADED, REFUSED, UNTYPED = 0, 10, 20
CPU_SECONDS, WALL_SECONDS, MEMORY = 30, 240, 6 << 30


@dataclasses.dataclass(frozen=True)
class Finding:
    """A case that should not be: what happened, and its last words."""

    case: str
    what: str
    words: str


@dataclasses.dataclass
class Count:
    """What became of the cases."""

    cases: int = 0
    worked: int = 0
    refused: int = 0
    last_words: str = ""
    findings: list[Finding] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        """One line of numbers."""
        kinds = collections.Counter(finding.what.split()[0] for finding in self.findings)
        found = ", ".join(f"{n} {what}" for what, n in sorted(kinds.items())) or "nothing found"
        return f"{self.cases} cases: {self.worked} worked, {self.refused} were refused; {found}"


def run_cases(
    cases: Iterable[str], run: Callable[[str, Path], None], *, jobs: int = 2, keep: Path | None = None
) -> Count:
    """Runs each case in a fork of this process, which must have no threads.

    Args:
        cases: Names of cases: a name says all that there is to know.
        run: Runs one, with a folder of its own. A typed error of the package is a right answer.
        jobs: How many at once.
        keep: A folder for the names of what was found.
    """
    count = Count()
    running: dict[int, tuple[str, float, tempfile.TemporaryDirectory[str], Path]] = {}
    remaining = iter(cases)
    more = True
    while more or running:
        while more and len(running) < jobs:
            case = next(remaining, None)
            more = case is not None
            if case is not None:
                folder = tempfile.TemporaryDirectory(prefix="fuzz-", dir=_scratch())
                log = Path(folder.name) / "log"
                running[_start(case, run, Path(folder.name), log)] = (case, time.monotonic(), folder, log)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            _end_the_slow(running)
            time.sleep(0.002)
            continue
        if pid in running:
            case, _, folder, log = running.pop(pid)
            _judge(count, case, status, log, keep)
            folder.cleanup()
    return count


def _scratch() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _start(case: str, run: Callable[[str, Path], None], folder: Path, log: Path) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = UNTYPED
    try:
        with log.open("wb", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = _outcome(case, run, folder)
    finally:
        os._exit(code)


def _outcome(case: str, run: Callable[[str, Path], None], folder: Path) -> int:
    from llamacpp_core import LlamaCppError

    try:
        run(case, folder)
    except LlamaCppError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return REFUSED
    except BaseException:
        traceback.print_exc()
        return UNTYPED
    return LOADED


def _end_the_slow(running: dict[int, tuple[str, float, tempfile.TemporaryDirectory[str], Path]]) -> None:
    for pid, (_, start, _, _) in running.items():
        if time.monotonic() - start > WALL_SECONDS:
            os.kill(pid, signal.SIGKILL)


def _judge(count: Count, case: str, status: int, log: Path, keep: Path | None) -> None:
    count.cases += 1
    words = log.read_text(errors="replace")[-2000:].strip()
    code = os.waitstatus_to_exitcode(status)
    if code == LOADED:
        count.worked += 1
        return
    if code == REFUSED:
        count.refused += 1
        count.last_words = words
        return
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        what = "hangs"
    elif code < 0:
        what = f"deaths by {signal.Signals(-code).name}"
    elif code == UNTYPED:
        what = "untyped errors"
    else:
        what = f"exits with {code}"
    count.findings.append(Finding(case, what, words))
    print(f"{what}: {case}\n    {words.splitlines()[-1] if words else ''}", flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        with (keep / "found.txt").open("a") as file:
            file.write(f"{case}\t{what}\t{words.splitlines()[-1] if words else ''}\n")
