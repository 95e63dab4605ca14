"""A build for another CPU is refused by a sentence, before its first instruction."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from llamacpp_core.native import _cpu, cpu_check

CPU = Path(__file__).parents[2] / "native" / "cpu"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

REFUSED = """
import sys, types
stub = types.ModuleType("llamacpp_core.native._cpu")
stub.missing = lambda: ["avx512f", "avx512_vnni"]
stub.levels = dict
stub.offered = list
sys.modules[stub.__name__] = stub
import llamacpp_core
from llamacpp_core import Llama, LlamaCppError, ModelLoadError
assert "llamacpp_core._native" not in sys.modules
for load in (lambda: Llama(sys.argv[1]), lambda: Llama(sys.argv[1], vocab_only=True)):
    try:
        load()
    except ModelLoadError as error:
        print(error)
try:
    import llamacpp_core.lowlevel
except LlamaCppError as error:
    print(error)
assert "llamacpp_core._native" not in sys.modules
"""


def test_this_cpu_has_what_the_build_needs() -> None:
    assert _cpu.missing() == []
    assert cpu_check.refusal() is None
    assert set(_cpu.required()) <= cpu_check.cpu_features()


def test_a_model_on_another_cpu_raises(run_python: Run, smollm2_path: Path) -> None:
    done = run_python(REFUSED, str(smollm2_path))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "avx512f, avx512_vnni" in line
        assert "compile it on this machine: pip install" in line


def build(folder: Path, march: str) -> Path:
    """The module as a build for `march` makes it."""
    compiler = shutil.which("cc")
    include = sysconfig.get_paths()["include"]
    if compiler is None or not (Path(include) / "Python.h").exists():
        pytest.skip("needs a C compiler and Python's headers")
    folder.mkdir()
    flags = [compiler, "-O2", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    required = subprocess.run(
        [*flags, f"-march={march}", "-c", str(CPU / "required.c"), "-o", str(folder / "required.o")],
        capture_output=True,
        check=False,
    )
    if required.returncode != 0:
        pytest.skip(f"the compiler does not know {march}")
    sources = [str(CPU / "module.c"), str(folder / "required.o")]
    subprocess.run(
        [*flags, "-shared", f"-I{include}", *sources, "-o", str(folder / "_cpu.abi3.so")], check=True
    )
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for x86-64")
@pytest.mark.parametrize(
    ("march", "some"),
    [
        ("x86-64", set()),
        ("haswell", {"avx2", "fma", "f16c", "bmi2"}),
        ("icelake-server", {"avx512f", "avx512_vnni"}),
        ("sapphirerapids", {"avx512f", "avx512_bf16", "avx512_fp16", "avx_vnni"}),
        ("bdver4", {"xop", "fma4", "tbm"}),
    ],
)
def test_missing_is_what_the_system_does_not_list(tmp_path: Path, march: str, some: set[str]) -> None:
    folder = build(tmp_path / march, march)
    code = "import _cpu; print(','.join(_cpu.required())); print(','.join(_cpu.missing()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    required, missing = ({name for name in line.split(",") if name} for line in done.stdout.split("\n")[:2])
    assert some <= required
    assert not {"amx_tile", "amx_int8"} & required  # llama.cpp asks before it uses them
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = set(next(line for line in text.splitlines() if line.startswith("flags")).split())
    linux_names = {"sse3": "pni", "lzcnt": "abm", "apx_f": "apx"}
    assert missing == {name for name in required if linux_names.get(name, name) not in flags}
