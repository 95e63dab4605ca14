"""Runs a build and shows how far it is, in one line that moves.

What it prints goes into a file, whose end is shown if it fails:
``python native/build_progress.py LOG COMMAND [ARGUMENT ...]``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

_STEP = re.compile(r"\[(\d+)/(\d+)\] (?:\w+ )*?(\S+)$")
_WIDTH = 78
_SECONDS_BETWEEN_LINES = 20.0  # where lines cannot move


def progress(lines: Iterable[str], clock: Callable[[], float], *, moves: bool) -> Iterator[str]:
    """What to write for the lines that a build prints.

    Args:
        lines: The build's output; Ninja's steps in it begin with "[3/120]".
        clock: Seconds, from any beginning.
        moves: A line can be written over by the next; else there is one every 20 seconds.
    """
    start = shown = clock()
    for line in lines:
        step = _STEP.search(line.rstrip())
        now = clock()
        if step is None or (not moves and now - shown < _SECONDS_BETWEEN_LINES):
            continue
        shown = now
        done, total, what = int(step[1]), int(step[2]), step[3].rpartition("/")[2].removesuffix(".o")
        minutes, seconds = divmod(int(now - start), 60)
        text = f"{done:4}/{total} {100 * done // total:3}% {minutes}:{seconds:02} {what}"[:_WIDTH]
        yield f"\r{text:<{_WIDTH}}" if moves else text + "\n"
    if moves and shown > start:
        yield "\r" + " " * _WIDTH + "\r"


def _logged(lines: Iterable[str], log: IO[str]) -> Iterator[str]:
    for line in lines:
        log.write(line)
        yield line


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    path = Path(arguments[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            arguments[1:],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for text in progress(_logged(process.stdout, log), time.monotonic, moves=sys.stderr.isatty()):
            sys.stderr.write(text)
            sys.stderr.flush()
    if process.returncode != 0:
        end = path.read_text(encoding="utf-8").splitlines()[-40:]
        print(*end, f"The build failed; {path} has all of its output.", sep="\n", file=sys.stderr)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
