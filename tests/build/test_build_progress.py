"""The line that moves while llama.cpp is compiled."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

NATIVE = Path(__file__).parents[2] / "native"

OUTPUT = [
    "Preparing metadata: started\n",
    "  [1/200] Building C object ggml/src/ggml.dir/ggml.c.o\n",
    "  warning: [3] is no step\n",
    "  [100/200] Building CXX object CMakeFiles/_native.dir/engine.cpp.o\n",
    "  [200/200] Linking CXX shared module _native.abi3.so\n",
]


@pytest.fixture
def module(native_script: Callable[[str], ModuleType]) -> ModuleType:
    return native_script("build_progress")


def test_each_step_takes_the_line_of_the_one_before(module: ModuleType) -> None:
    clock = itertools.count(0, 40).__next__
    first, half, end, cleared = module.progress(OUTPUT, clock, moves=True)
    assert first.rstrip() == "\r   1/200   0% 1:20 ggml.c"
    assert half.rstrip() == "\r 100/200  50% 2:40 engine.cpp"
    assert end.rstrip() == "\r 200/200 100% 3:20 _native.abi3.so"
    assert len({len(text) for text in (first, half, end)}) == 1
    assert cleared.strip() == ""


def test_where_lines_stay_there_are_few(module: ModuleType) -> None:
    clock = itertools.count(0, 7).__next__
    lines = [f"[{number}/60] Building C object a{number}.c.o\n" for number in range(1, 61)]
    shown = list(module.progress(lines, clock, moves=False))
    assert len(shown) == 20
    assert all(text.endswith("\n") for text in shown)


def test_a_build_that_prints_no_steps_shows_nothing(module: ModuleType) -> None:
    assert list(module.progress(["up to date\n"], lambda: 0.0, moves=True)) == []


@pytest.mark.parametrize(
    ("code", "status"), [("print('[1/2] Building a.c.o')", 0), ("raise SystemExit('no')", 1)]
)
def test_a_failure_shows_the_end_of_the_output(tmp_path: Path, code: str, status: int) -> None:
    log = tmp_path / "logs" / "build.log"
    done = subprocess.run(
        [sys.executable, str(NATIVE / "build_progress.py"), str(log), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert log.read_text(encoding="utf-8").strip() in ("[1/2] Building a.c.o", "no")
    assert ("The build failed" in done.stderr) == bool(status)
    assert ("no\n" in done.stderr) == bool(status)
