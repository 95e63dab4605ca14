"""Installs CUDA's compiler and libraries, as the package index has them, where a build finds them.

``python release/cuda_toolkit.py FOLDER``, then build with ``CMAKE_ARGS="-DGGML_CUDA=ON
-DCMAKE_CUDA_COMPILER=FOLDER/bin/nvcc"``. No GPU or driver is needed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TOOLKIT = "cuda-toolkit[cccl,crt,cublas,cudart,nvcc,nvvm]==13.0.2"


def complete(folder: Path) -> None:
    """Adds what the packages leave out of a toolkit and a linker asks for.

    Args:
        folder: The toolkit's, with ``lib`` in it, which nvcc calls ``lib64``. Its libraries get their names
            without a version, and an empty one stands in for the driver's, which a machine without a GPU has
            not.

    Raises:
        subprocess.CalledProcessError: There is no compiler to make the empty library.
    """
    libraries = folder / "lib"
    (folder / "lib64").symlink_to("lib")
    for library in libraries.glob("lib*.so.*"):
        plain = libraries / f"{library.name.partition('.so')[0]}.so"
        plain.unlink(missing_ok=True)
        plain.symlink_to(library.name)
    stubs = libraries / "stubs"
    stubs.mkdir(exist_ok=True)
    command = [
        "cc",
        "-shared",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        str(stubs / "libcuda.so"),
        "-xc",
        "/dev/null",
    ]
    subprocess.run(command, check=True)


def main(arguments: list[str]) -> int:
    """Installs into the folder that is named; returns the exit status."""
    (name,) = arguments or [""]
    if not name:
        sys.exit("usage: python release/cuda_toolkit.py FOLDER")
    folder = Path(name).resolve()
    with tempfile.TemporaryDirectory(dir=folder.parent) as packages:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--only-binary",
            ":all:",
            "--target",
            packages,
        ]
        subprocess.run([*command, TOOLKIT], check=True)
        (found,) = Path(packages).glob("nvidia/cu*")
        found.rename(folder)
    complete(folder)
    print(f"{TOOLKIT} is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
