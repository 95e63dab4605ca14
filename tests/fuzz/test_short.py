"""Short runs of the machines that look for what breaks the package (``make fuzz`` runs them for long)."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from installed import installed

ROOT = Path(__file__).parents[2]


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz", *arguments, "--jobs", "2"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="cases run in forks")
def test_sound_files_of_every_kind_work(tmp_path: Path) -> None:
    from_kinds = "import fuzz.gguf_files; print(*fuzz.gguf_files.FILES, sep='\\n')"
    kinds = subprocess.run(
        [sys.executable, "-c", from_kinds], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for kind in kinds.stdout.splitlines():
        done = fuzz("gguf", "--case", f"{kind}:-1", "--keep", str(tmp_path))
        assert "1 worked" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="cases run in forks")
def test_damaged_files_are_errors(tmp_path: Path) -> None:
    done = fuzz("gguf", "--cases", "140", "--seed", "20261129", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout


def test_a_request_that_ctrl_c_ends_before_it_begins_is_no_failure() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        from fuzz.storm import Storm
    finally:
        sys.path.remove(str(ROOT))
    storm = object.__new__(Storm)
    storm.counts, storm.failures, storm.lock = collections.Counter(), [], threading.Lock()
    block = storm.checked(7, "whole")
    block.__enter__()
    del block  # as Ctrl-C does that comes before the block's first step
    assert storm.failures == []
    assert storm.counts == {"interrupted": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks and no timers that interrupt")
def test_storm() -> None:
    command = [sys.executable, "-m", "fuzz.storm", "--requests", "400", "--seed", "20261129"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="cases run in forks")
@pytest.mark.parametrize(
    ("machine", "n"), [("templates", 300), ("media", 300), ("grammars", 300), ("states", 6)]
)
def test_other_machines(tmp_path: Path, machine: str, n: int) -> None:
    done = fuzz(machine, "--cases", str(n), "--seed", "20261129", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout


@pytest.mark.skipif(not installed("atheris"), reason="atheris has packages for Linux on x86-64 only")
@pytest.mark.parametrize(
    "target", ["answers", "files", "grammars", "patterns", "schemas", "states", "templates"]
)
def test_guided(tmp_path: Path, target: str) -> None:
    run = [sys.executable, "-m", "fuzz.guided", target, "--inputs", "300", "--seed", "20261129"]
    done = subprocess.run(
        [*run, "--seconds", "200", "--keep", str(tmp_path / "found")],
        cwd=ROOT,
        env={**os.environ, "LLAMACPP_CACHE": str(tmp_path / "models")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout
    assert len(list((tmp_path / "fuzz" / target).iterdir())) > 1
