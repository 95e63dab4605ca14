"""Runs ``scenario.py`` on a module that was compiled with a sanitizer: ``make asan`` and ``make tsan``.

The interpreter itself is not compiled with the sanitizer, so its runtime is loaded before everything else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: The exit status after a report.
REPORTED = 66


@dataclass(frozen=True)
class Watcher:
    """What watches the scenario.

    Attributes:
        n_threads: Threads of each model.
        library: The sanitizer's runtime.
        env: Further variables of the environment.
    """

    n_threads: int
    library: str
    env: dict[str, str] = field(default_factory=dict)


# Python's own allocator would hide writes beyond its objects.
PLAIN_MALLOC = {"PYTHONMALLOC": "malloc"}

WATCHERS = {
    # No search for leaks: the interpreter frees little at its end, and tests/engine/test_memory_growth.py
    # watches what the engine holds.
    "asan": Watcher(
        n_threads=2,
        library="libasan.so",
        env={
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:check_initialization_order=1"
            f":strict_init_order=1:abort_on_error=0:exitcode={REPORTED}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:exitcode={REPORTED}",
            **PLAIN_MALLOC,
        },
    ),
    # ggml is compiled without the sanitizer, which sees what its threads copy with memcpy() and not the
    # atomic variables by which they wait for one another: several would do nothing but cause reports.
    "tsan": Watcher(
        n_threads=1,
        library="libtsan.so",
        env={
            "TSAN_OPTIONS": f"suppressions={HERE / 'thread.supp'}:history_size=4:exitcode={REPORTED}"
            ":second_deadlock_stack=1"
        },
    ),
}


def _preloaded(library: str) -> str:
    """The runtime, and libstdc++: when it starts, the runtime looks there for the functions that throw."""
    compiler = os.environ.get("CC", "cc")
    paths = []
    for name in (library, "libstdc++.so.6"):
        asked = [compiler, f"-print-file-name={name}"]
        paths.append(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    return ":".join(paths)


def main() -> int:
    """Runs the scenario; returns its exit status, which is not 0 after a report."""
    name = sys.argv[1]
    watcher = WATCHERS[name]
    env = {**os.environ, **watcher.env, "LD_PRELOAD": _preloaded(watcher.library)}
    scenario = [str(HERE / "scenario.py"), str(ROOT / "build" / name), str(watcher.n_threads)]
    command = [sys.executable, *scenario]
    if setarch := shutil.which("setarch"):
        # The runtime needs addresses that a kernel with much randomness gives to others.
        command = [setarch, "--addr-no-randomize", *command]
    return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
