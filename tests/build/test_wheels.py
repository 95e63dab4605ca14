"""What looks into wheels, and what takes compiled modules out of them."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from llamacpp_core.native import _cpu

RELEASE = Path(__file__).parents[2] / "release"
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


@pytest.fixture
def no_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_wheel", ModuleType("inspect_wheel"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_without_the_compiler_the_build_says_what_to_install(no_zig: None, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("build_wheel", RELEASE / "build_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(SystemExit, match="pip install --group wheel"):
        module.zig_compiler(tmp_path)
