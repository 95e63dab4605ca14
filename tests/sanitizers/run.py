"""Runs ``scenario.py`` on a module that was compiled with a sanitizer: ``make asan`` and ``make tsan``.

The interpreter itself is not compiled with the sanitizer, so its runtime is loaded before everything else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

SANITIZERS = {
    "address": {
        "library": "libasan.so",
        "build": "asan",
        "n_threads": 2,
        # No search for leaks: the interpreter frees little at its end, and tests/engine/test_memory_growth.py
        # watches what the engine holds. Python's own allocator would hide writes beyond its objects.
        "env": {
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:check_initialization_order=1"
            ":strict_init_order=1:abort_on_error=0:exitcode=66",
            "PYTHONMALLOC": "malloc",
        },
    },
    "thread": {
        "library": "libtsan.so",
        "build": "tsan",
        # ggml is compiled without the sanitizer, which sees what its threads copy with memcpy() and not the
        # atomic variables by which they wait for one another: several would do nothing but cause reports.
        "n_threads": 1,
        "env": {
            "TSAN_OPTIONS": f"suppressions={HERE / 'thread.supp'}:history_size=4:exitcode=66"
            ":second_deadlock_stack=1",
        },
    },
}


def _file_of(compiler: str, library: str) -> str:
    """Where the compiler finds a library."""
    asked = [compiler, f"-print-file-name={library}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Runs the scenario; returns its exit status, which is not 0 after a report."""
    chosen = SANITIZERS[sys.argv[1]]
    compiler = os.environ.get("CC", "cc")
    # The runtime looks for the functions that throw when it starts, so libstdc++ has to be there by then.
    preloaded = ":".join(_file_of(compiler, name) for name in (str(chosen["library"]), "libstdc++.so.6"))
    env = {**os.environ, **chosen["env"], "LD_PRELOAD": preloaded}  # type: ignore[dict-item]
    command = [sys.executable, str(HERE / "scenario.py"), str(ROOT / "build" / str(chosen["build"]))]
    command.append(str(chosen["n_threads"]))
    if setarch := shutil.which("setarch"):
        # The runtime needs addresses that a kernel with much randomness gives to others.
        command = [setarch, "--addr-no-randomize", *command]
    return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
