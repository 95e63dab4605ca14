"""Cases in child processes: what ends one ends no other, and is found."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

__all__ = ["Count", "Finding", "import_for", "run_cases"]

WORKED, REFUSED, UNTYPED = "worked", "refused", "untyped"
WALL_SECONDS, MEMORY = 120, 6 << 30

Run = Callable[[str, Path], None]


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


@dataclasses.dataclass
class _Child:
    """A fork that works through some cases; its journal has a line as each begins and as each ends."""

    cases: list[str]
    folder: tempfile.TemporaryDirectory[str]
    since: float
    n_lines: int = 0

    @property
    def path(self) -> Path:
        return Path(self.folder.name)

    def journal(self) -> list[str]:
        try:
            return (self.path / "journal").read_text().splitlines()
        except FileNotFoundError:
            return []

    def is_slow(self, now: float) -> bool:
        """Whether nothing began or ended for too long."""
        n_lines = len(self.journal())
        if n_lines != self.n_lines:
            self.n_lines, self.since = n_lines, now
        return now - self.since > WALL_SECONDS


def import_for(case: str, run: Run) -> None:
    """Imports what a case imports, so that no child has to: one of them tries it before."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's threads would not be in a fork
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with (
                tempfile.TemporaryDirectory(prefix="fuzz-", dir=_scratch()) as folder,
                contextlib.suppress(BaseException),
            ):
                run(case, Path(folder))
            with os.fdopen(writing, "w") as names:
                names.write("\n".join(sys.modules))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as names:
        for name in names.read().split():
            with contextlib.suppress(Exception):  # some have a place in sys.modules only
                importlib.import_module(name)
    os.waitpid(pid, 0)


def run_cases(
    cases: Iterable[str], run: Run, *, jobs: int = 2, per_child: int = 1, keep: Path | None = None
) -> Count:
    """Runs cases in forks of this process, which must have no threads.

    Args:
        cases: Names of cases: a name says all that there is to know.
        run: Runs one, with a folder of its own. A typed error of the package is a right answer.
        jobs: How many children at once.
        per_child: Cases that a child runs, one after the other; those after one that ends it go to another.
        keep: A folder for the names of what was found.
    """
    count = Count()
    running: dict[int, _Child] = {}
    left: list[list[str]] = []
    chunks = _chunks(cases, per_child)
    awake, looked = 0.0, time.monotonic()  # seconds without those in which this process was stopped, too
    while True:
        awake, looked = awake + min(time.monotonic() - looked, 1), time.monotonic()
        while len(running) < jobs and (chunk := left.pop() if left else next(chunks, None)):
            folder = tempfile.TemporaryDirectory(prefix="fuzz-", dir=_scratch())
            child = _Child(chunk, folder, awake)
            running[_start(child, run)] = child
        if not running:
            return count
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            child = running.pop(pid)
            if rest := _judge(count, child, os.waitstatus_to_exitcode(status), keep):
                left.append(rest)
            child.folder.cleanup()
        elif pid == 0:
            for number, child in running.items():
                if child.is_slow(awake):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.01)


def _chunks(cases: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for case in cases:
        chunk.append(case)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _scratch() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _start(child: _Child, run: Run) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with (child.path / "log").open("wb", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with (child.path / "journal").open("a", buffering=1) as journal:
            for case in child.cases:
                journal.write("begin\n")
                os.truncate(child.path / "log", 0)
                os.lseek(1, 0, os.SEEK_SET)
                outcome, words = _outcome(case, run, child.path)
                journal.write(f"{outcome}\t{words}\n")
        code = 0
    finally:
        os._exit(code)


def _outcome(case: str, run: Run, folder: Path) -> tuple[str, str]:
    from llamacpp_core import LlamaCppError

    try:
        run(case, folder)
    except LlamaCppError as error:
        return REFUSED, " ".join(f"{type(error).__name__}: {error}".split())
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        words = " ".join(str(error).split())[:300] if not isinstance(error, RecursionError) else ""
        return UNTYPED, f"{type(error).__name__}: {words} ({where})"
    return WORKED, ""


def _judge(count: Count, child: _Child, code: int, keep: Path | None) -> list[str]:
    """Counts what a child has done; returns the cases that it has not begun."""
    ended = [line for line in child.journal() if line != "begin"]
    for case, line in zip(child.cases, ended, strict=False):
        outcome, _, words = line.partition("\t")
        count.cases += 1
        if outcome == WORKED:
            count.worked += 1
        elif outcome == REFUSED:
            count.refused += 1
            count.last_words = words
        else:
            _found(count, Finding(case, "untyped errors", words), keep)
    if len(ended) == len(child.cases):
        return []
    count.cases += 1
    what = f"exits with {code}"
    if code == -signal.SIGKILL:
        what = "hangs"
    elif code < 0:
        what = f"deaths by {signal.Signals(-code).name}"
    lines = (child.path / "log").read_text(errors="replace").strip().splitlines()
    _found(count, Finding(child.cases[len(ended)], what, lines[-1] if lines else ""), keep)
    return child.cases[len(ended) + 1 :]


def _found(count: Count, finding: Finding, keep: Path | None) -> None:
    count.findings.append(finding)
    print(f"{finding.what}: {finding.case}\n    {finding.words}", flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        with (keep / "found.txt").open("a") as file:
            file.write(f"{finding.case}\t{finding.what}\t{finding.words}\n")
