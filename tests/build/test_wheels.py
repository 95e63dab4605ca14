"""What looks into wheels, what takes compiled modules out of them, and what a source archive leaves out."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pathspec
import pytest

from llamacpp_core.native import _cpu

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "release"
LICENCES = ("x-1.dist-info/licenses/LICENSE", "x-1.dist-info/licenses/llama.cpp/LICENSE")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, RELEASE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path: Path, *names: str, files: dict[str, Path] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
        for name, file in (files or {}).items():
            archive.write(file, name)
    return path


def test_modules_are_taken_from_a_wheel(tmp_path: Path) -> None:
    site = tmp_path / "site"
    native = site / "llamacpp_core" / "native"
    native.mkdir(parents=True)
    (native / "_native_v9.abi3.so").touch()  # of the wheel before
    names = [f"llamacpp_core/native/{name}.abi3.so" for name in ("_cpu", "_native", "_native_v3")]
    path = wheel(tmp_path / "x.whl", *names, "llamacpp_core/native/log.py", "llamacpp_core/__init__.py")
    assert script("use_wheel").unpack(path, site) == names
    assert sorted(found.relative_to(site).as_posix() for found in site.rglob("*") if found.is_file()) == names


@pytest.mark.parametrize("content", [None, "llamacpp_core/__init__.py"])
def test_a_wheel_without_modules_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "x.whl"
    if content:
        wheel(path, content)
    with pytest.raises(SystemExit, match=r"x\.whl"):
        script("use_wheel").unpack(path, tmp_path / "site")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' modules have another form")
def test_a_wheel_of_this_build_is_well_but_for_the_system_it_needs(tmp_path: Path) -> None:
    module = {"x/_cpu.abi3.so": Path(_cpu.__file__)}
    inspect = script("inspect_wheel")
    assert inspect.faults(wheel(tmp_path / "good.whl", *LICENCES, files=module)) == []
    bad = inspect.faults(wheel(tmp_path / "bad.whl", "x.py"))
    assert len([fault for fault in bad if "is missing" in fault]) == len(LICENCES)
    assert "it holds no extension module" in bad


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' modules have another form")
def test_what_a_module_may_not_have(tmp_path: Path) -> None:
    from numpy._core import _multiarray_umath

    other = {"x/a.abi3.so": Path(_multiarray_umath.__file__)}
    faults = script("inspect_wheel").faults(wheel(tmp_path / "x.whl", *LICENCES, files=other))
    assert any(fault.startswith("x/a.abi3.so: it needs lib") for fault in faults)
    assert "x/a.abi3.so: it has a search path of its own" in faults


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' modules have another form")
def test_a_symbol_that_no_library_has_is_a_fault(tmp_path: Path) -> None:
    source, module = tmp_path / "x.c", tmp_path / "x.abi3.so"
    source.write_text("int PyX(void), too_new(void);\nint PyInit_x(void) { return PyX() + too_new(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-s", "-o", str(module), str(source)], check=True)
    faults = script("inspect_wheel").faults(
        wheel(tmp_path / "x.whl", *LICENCES, files={"x/x.abi3.so": module})
    )
    assert faults == ["x/x.abi3.so: no library that it needs has too_new"]


@pytest.fixture
def build_wheel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "inspect_wheel", ModuleType("inspect_wheel"))
    return script("build_wheel")


def test_without_the_stubs_the_build_says_what_to_install(
    build_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --group wheel"):
        build_wheel.glibc_stubs(tmp_path)


def zig(folder: Path, says: str, status: int = 0) -> Path:
    """A package that looks like ziglang, whose compiler says that."""
    program = folder / "ziglang" / "zig"
    program.parent.mkdir()
    program.with_name("__init__.py").touch()
    program.write_text(
        f'#!/bin/sh\nfor last; do :; done\ntouch "$last"\ncat >&2 <<END\n{says}\nEND\nexit {status}\n'
    )
    program.chmod(0o755)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for Linux are made on Linux")
def test_the_stubs_are_those_that_the_linker_names(
    build_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = tmp_path / "o"
    made.mkdir()
    names = ["libc.so.6", "libm.so.6", "libdl.so.2", "libc_nonshared.a"]
    for name in names:
        (made / name).write_text(name)
    says = (
        f"ld.lld -o x {made}/x.o "
        + " ".join(str(made / name) for name in names)
        + f" {made}/libcompiler_rt.a "
    )
    monkeypatch.syspath_prepend(zig(tmp_path, says))
    stubs = build_wheel.glibc_stubs(tmp_path / "work")
    assert sorted(path.name for path in stubs.iterdir()) == sorted([*names, "libc.so", "libm.so", "libdl.so"])
    assert (stubs / "libm.so").read_text() == "libm.so.6"
    assert "libc.so.6 libc_nonshared.a" in (stubs / "libc.so").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for Linux are made on Linux")
@pytest.mark.parametrize(("says", "status"), [("no stubs here", 0), ("broken", 1)])
def test_a_compiler_that_makes_no_stubs_ends_the_build(
    build_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, status: int
) -> None:
    monkeypatch.syspath_prepend(zig(tmp_path, says, status))
    with pytest.raises(SystemExit, match=says):
        build_wheel.glibc_stubs(tmp_path / "work")


def test_a_distribution_for_gpus_differs_in_its_name_alone() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    plain, changed = tomllib.loads(text), tomllib.loads(script("gpu_distribution").renamed(text, "cuda"))
    assert changed["project"].pop("name") == f"{plain['project'].pop('name')}-cuda"
    (extra,) = changed["project"]["optional-dependencies"].pop("all")
    assert extra.replace("-cuda", "") == plain["project"]["optional-dependencies"].pop("all")[0]
    assert extra.startswith("llamacpp-integrations-cuda[")
    assert changed == plain


@pytest.mark.parametrize(("text", "backend"), [("", "metal"), ("[project]\nname = 'other'", "cuda")])
def test_what_is_no_distribution_for_gpus_is_refused(text: str, backend: str) -> None:
    with pytest.raises(SystemExit, match="metal" if not text else "other"):
        script("gpu_distribution").renamed(text, backend)


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for Linux are made on Linux")
def test_what_the_packages_leave_out_of_a_toolkit(tmp_path: Path) -> None:
    libraries = tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libcublas.so.13").write_text("cublas")
    script("cuda_toolkit").complete(tmp_path)
    assert (tmp_path / "lib64" / "libcublas.so").read_text() == "cublas"
    # what it is asked for is found when it is loaded, from the driver's library
    source, module = tmp_path / "x.c", tmp_path / "x.so"
    source.write_text("int cuInit(int); int x(void) { return cuInit(0); }\n")
    command = ["cc", "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", str(module), str(source)]
    subprocess.run([*command, f"-L{libraries / 'stubs'}", "-lcuda"], check=True)
    assert b"libcuda.so.1" in module.read_bytes()


def test_a_source_archive_leaves_out_what_is_built_but_none_of_our_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    left_out = pathspec.GitIgnoreSpec.from_lines(project["tool"]["scikit-build"]["sdist"]["exclude"])
    assert left_out.match_file("build/build.log")
    ours = [
        path.relative_to(ROOT).as_posix()
        for folder in ("core", "docs", "llamacpp_integrations", "native", "notebooks", "release", "tests")
        for path in (ROOT / folder).rglob("*")
    ]
    assert "tests/build/test_wheels.py" in ours
    assert [name for name in ours if left_out.match_file(name)] == []
