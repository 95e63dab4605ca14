"""Builds a wheel for x86-64 Linux with a module for each level of CPUs, and inspects it (`make wheel`).

The system's compiler binds it to a glibc and a libstdc++ as new as those that are installed here: auditwheel
finds out which, and names the wheel so. Nothing is tuned to the building machine. ``--compiler zig`` takes
Clang, libc++ and the stubs of glibc 2.28 from the ``ziglang`` package instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import inspect_wheel

ROOT = Path(__file__).resolve().parent.parent
GLIBC = "2.28"
PLATFORM = f"manylinux_{GLIBC.replace('.', '_')}_x86_64"
OPTIONS = (
    "-DLLAMACPP_CPU_LEVELS=ON",
    "-DCMAKE_BUILD_TYPE=Release",
)


def zig_compiler(folder: Path) -> dict[str, str]:
    """Writes small programs that call Zig's compiler for the old glibc; returns the environment for them."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("ziglang is missing: pip install --group wheel")
    zig = Path(spec.submodule_search_locations[0]) / "zig"
    folder.mkdir(parents=True, exist_ok=True)
    target = f"-target x86_64-linux-gnu.{GLIBC}"
    programs = {"cc": f"cc {target}", "c++": f"c++ {target}", "ar": "ar", "ranlib": "ranlib"}
    for name, arguments in programs.items():
        path = folder / f"zig-{name}"
        text = f'#!/bin/sh\nexec "{zig}" {arguments} "$@"\n'
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
    cmake = [
        f"-DCMAKE_AR={folder / 'zig-ar'}",
        f"-DCMAKE_RANLIB={folder / 'zig-ranlib'}",
        "-DLLAMACPP_ZIG=ON",
    ]
    return {
        "CC": str(folder / "zig-cc"),
        "CXX": str(folder / "zig-c++"),
        "CMAKE_ARGS": " ".join([*OPTIONS, *cmake]),
        "CCACHE_COMPILERTYPE": "clang",
    }


def build(work: Path, compiler: dict[str, str]) -> Path:
    """Builds the wheel in ``work``; returns it, not yet named for its platform."""
    raw = work / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    command = [sys.executable, str(ROOT / "native" / "build_progress.py"), str(work / "build.log")]
    command += [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    command += ["-w", str(raw)]
    environment = {
        **os.environ,
        **compiler,
        "SKBUILD_BUILD_DIR": str(work / "build"),
    }
    if subprocess.run([*command, str(ROOT)], env=environment, check=False).returncode != 0:
        sys.exit(1)
    return next(raw.glob("*.whl"))


def name_for_platform(wheel: Path, platform: str, out: Path) -> Path:
    """Has auditwheel name the wheel for the platform, if it can run there; returns the result in ``out``."""
    named = wheel.parent / "named"
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", platform]
    subprocess.run([*command, "-w", str(named), str(wheel)], check=True)
    out.mkdir(parents=True, exist_ok=True)
    (result,) = named.glob("*.whl")
    return Path(shutil.copy(result, out))


def main() -> int:
    """Builds and inspects the wheel; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compiler", choices=("zig", "system"), default="system")
    parser.add_argument("--platform", default="manylinux_2_35_x86_64", help="of the system compiler")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheel")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "wheel", help="folder to build in")
    options = parser.parse_args()
    work = options.work.resolve() / options.compiler
    compiler, platform = {"CMAKE_ARGS": " ".join(OPTIONS)}, options.platform
    if options.compiler == "zig":
        compiler, platform = zig_compiler(work / "bin"), PLATFORM
    wheel = name_for_platform(build(work, compiler), platform, options.out.resolve())
    return inspect_wheel.main([str(wheel)])


if __name__ == "__main__":
    sys.exit(main())
