"""A wheel's builds for several levels of CPUs: the right one is chosen, and a wrong wish is a warning."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llamacpp_core.native import _cpu, cpu_level
from llamacpp_core.native.build_info import build_info
from llamacpp_core.native.cpu_level import choose

Run = Callable[..., "subprocess.CompletedProcess[str]"]

LEVELS = {
    "v2": ["sse3", "ssse3", "sse4_1", "sse4_2", "popcnt"],
    "v3": ["sse4_2", "avx", "avx2", "fma", "f16c"],
    "v4": ["avx2", "avx512f", "avx512bw"],
    "vnni": ["avx2", "avx512f", "avx512bw", "avx512_vnni"],
}
V2 = {"sse3", "ssse3", "sse4_1", "sse4_2", "popcnt", "lzcnt"}
V3 = V2 | {"avx", "avx2", "fma", "f16c"}
V4 = V3 | {"avx512f", "avx512bw"}


@pytest.mark.parametrize(
    ("offered", "expected", "above"),
    [
        (V2, "v2", "v3 needs avx, avx2, fma, f16c"),
        (V2 | {"avx", "f16c"}, "v2", "v3 needs avx2, fma"),  # Sandy Bridge
        (V3, "v3", "v4 needs avx512f, avx512bw"),
        (V3 | {"avx_vnni", "avx512_vnni"}, "v3", "v4 needs avx512f, avx512bw"),
        (V4, "v4", "vnni needs avx512_vnni"),
        (V4 | {"avx512_vnni"}, "vnni", "allow"),
    ],
)
def test_the_highest_level_that_the_cpu_offers(offered: set[str], expected: str, above: str) -> None:
    level = choose(LEVELS, offered)
    assert (level.name, level.complaint) == (expected, "")
    assert level.why.endswith(above)


def test_a_level_is_forced() -> None:
    level = choose(LEVELS, V4, "v3")
    assert str(level) == "v3: LLAMACPP_CPU=v3 asks for it"
    assert level.complaint == ""


def test_a_level_that_cannot_run_falls_back() -> None:
    level = choose(LEVELS, V3, "vnni")
    assert level.name == "v3"
    assert level.complaint == (
        "LLAMACPP_CPU=vnni needs avx512f, avx512bw, avx512_vnni, which this CPU lacks or its system hides: "
        "v3 is used"
    )


def test_a_level_that_does_not_exist_falls_back() -> None:
    level = choose(LEVELS, V3, "x86-64-v3")
    assert level.name == "v3"
    assert level.complaint == "LLAMACPP_CPU=x86-64-v3 is none of v2, v3, v4, vnni: v3 is used"


def test_a_cpu_below_all_levels_gets_the_lowest_whose_lack_is_told_elsewhere() -> None:
    assert choose(LEVELS, {"sse3"}).name == "v2"
    assert choose(LEVELS, {"sse3"}, "v3").name == "v2"


def test_a_build_from_source_has_no_levels() -> None:
    assert choose({}, V4).name == ""
    assert choose({}, V4).complaint == ""
    assert "has no effect" in choose({}, V4, "v3").complaint


def test_this_process_says_what_it_uses() -> None:
    level = cpu_level.level_in_use()
    assert level.name == ("" if not _cpu.levels() else level.name)
    info = build_info()
    assert (info["cpu_level"], info["cpu_level_why"]) == (level.name, level.why)


def test_levels_need_ever_more() -> None:
    needs = [set(needed) for needed in _cpu.levels().values()]
    assert all(lower < higher for lower, higher in itertools.pairwise(needs))


SHOWN = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from llamacpp_core.native.build_info import build_info
info = build_info()
print(info["cpu_level"], "|", info["cpu_level_why"])
for one in caught:
    print(one.category.__name__, one.message)
"""


def test_a_wish_that_cannot_be_had_is_a_warning(run_python: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMACPP_CPU", "z80")
    done = run_python(SHOWN)
    assert done.returncode == 0, done.stderr
    _, complaint = done.stdout.splitlines()
    assert complaint.startswith("RuntimeWarning LLAMACPP_CPU=z80 ")


@pytest.mark.parametrize("name", ["v2", "v3", "v4", "vnni", "amx"])
def test_each_level_that_can_run_does(run_python: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    needed = _cpu.levels().get(name)
    monkeypatch.setenv("LLAMACPP_CPU", name)
    done = run_python(SHOWN)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if needed is not None and set(needed) <= set(_cpu.offered()):
        assert lines == [f"{name} | LLAMACPP_CPU={name} asks for it"]
    else:  # a build from source, or a CPU that lacks something
        assert lines[1].startswith(f"RuntimeWarning LLAMACPP_CPU={name} ")


SECOND = """
import sys, types
stub = types.ModuleType("llamacpp_core.native._cpu")
stub.__file__ = sys.argv[1]
stub.levels = lambda: {"low": ["sse3"], "high": ["sse3"]}
stub.missing = lambda: []
stub.offered = lambda: ["sse3"]
sys.modules[stub.__name__] = stub
from llamacpp_core.native import _native, lib
from llamacpp_core.native.build_info import build_info
print(_native.__file__, _native.__name__, sys.modules[_native.__name__] is _native)
print(build_info()["cpu_level"])
"""


def test_a_higher_level_is_a_file_beside_the_others(run_python: Run, tmp_path: Path) -> None:
    from llamacpp_core.native import _native

    suffix = Path(_native.__file__).name.partition(".")[2]
    module = tmp_path / f"_native_high.{suffix}"
    shutil.copyfile(_native.__file__, module)
    done = run_python(SECOND, str(tmp_path / f"_cpu.{suffix}"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{module} llamacpp_core.native._native True", "high"]
