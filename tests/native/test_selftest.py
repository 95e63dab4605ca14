"""The self-test passes here, and turns what goes wrong elsewhere into a sentence."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from llamacpp_core.native import _cpu, lib, selftest, text
from llamacpp_core.native.selftest import SelfTest, run_selftest

# Tells of four products like the real one, from the number given on, and dies or errs in some.
CHILD = """
import os, signal, sys
{outcomes}
names = ["q4_0 in CPU memory", "q4_0 in AMX memory", "q8_0 in AMX memory", "f16 in CPU memory"]
for name in names[int(sys.argv[1]):]:
    print("begins", name, flush=True)
    outcome = outcomes.get(name, "1e-5")
    if callable(outcome):
        outcome()
    print("ends", outcome, flush=True)
"""


def run_child(tmp_path: Path, outcomes: str, timeout_s: float = 60) -> SelfTest:
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(outcomes=f"outcomes = {outcomes}"), encoding="utf-8")
    return run_selftest([sys.executable, str(script)], timeout_s=timeout_s)


def test_every_product_is_right_on_this_cpu() -> None:
    found = run_selftest()
    assert found.faults == ()
    assert found.n_right == lib.lc_selftest_count()
    names = [text(lib.lc_selftest_name(index)) for index in range(found.n_right)]
    assert {"f32 in CPU memory", "q4_0 in CPU memory", "q8_0 in CPU memory", "q4_K in CPU memory"} <= set(
        names
    )
    assert {"f16 in CPU memory", "bf16 in CPU memory", "iq1_m in CPU memory", "mxfp4 in CPU memory"} <= set(
        names
    )
    assert len(set(names)) == len(names)


def test_the_threshold_tells_rounding_from_mistakes() -> None:
    names = [text(lib.lc_selftest_name(index)) for index in range(lib.lc_selftest_count())]
    exact = lib.lc_selftest_run(names.index("f32 in CPU memory"))
    rounded = lib.lc_selftest_run(names.index("q4_0 in CPU memory"))
    assert exact < 1e-10 < rounded < selftest.TOLERANCE / 5


def test_a_product_that_does_not_exist_fails() -> None:
    assert math.isnan(lib.lc_selftest_run(lib.lc_selftest_count()))
    assert "no such product" in selftest.last_report()["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals end no process there")
def test_a_crash_becomes_a_sentence(tmp_path: Path) -> None:
    die = "lambda: os.kill(os.getpid(), signal.SIGSEGV)"
    found = run_child(tmp_path, f'{{"q4_0 in AMX memory": {die}, "q8_0 in AMX memory": {die}}}')
    assert found.n_right == 2  # the others are tried all the same
    (fault,) = found.faults
    assert fault.what == "multiplying q4_0, q8_0 matrices in AMX memory ended with SIGSEGV"
    assert 'CMAKE_ARGS="-DLLAMACPP_AMX=OFF" pip install' in fault.advice


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        ('"0.25"', "was off by 50%"),
        ('"inf"', "was off by inf%"),
        ('"nan out of memory"', "failed (out of memory)"),
        ("lambda: sys.exit('odd')", "ended with exit status 1 (odd)"),
    ],
)
def test_other_faults(tmp_path: Path, outcome: str, what: str) -> None:
    found = run_child(tmp_path, f'{{"q4_0 in CPU memory": {outcome}}}')
    assert found.n_right == 3
    (fault,) = found.faults
    assert fault.what == f"multiplying q4_0 matrices in CPU memory {what}"
    assert "-DGGML_NATIVE=OFF" in fault.advice


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    found = run_child(tmp_path, '{"f16 in CPU memory": lambda: __import__("time").sleep(600)}', timeout_s=2)
    (fault,) = found.faults
    assert fault.what == "multiplying f16 matrices in CPU memory ended with no result in time"


def test_one_that_never_begins() -> None:
    found = run_selftest([sys.executable, "-c", "raise SystemExit(3)"])
    (fault,) = found.faults
    assert fault.what == "the self-test ended with exit status 3 before it multiplied anything"


def test_a_cpu_that_cannot_run_it_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cpu, "missing", lambda: ["avx2"])
    monkeypatch.setattr(subprocess, "Popen", None)
    (fault,) = run_selftest().faults
    assert "avx2" in fault.what


def test_the_command_prints_the_outcome() -> None:
    command = [sys.executable, "-m", "llamacpp_core.native.selftest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "right on this CPU" in done.stdout


def test_the_command_fails_with_the_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_cpu, "missing", lambda: ["avx2"])
    assert selftest.main([]) == 1
    assert "pip install" in capsys.readouterr().err
