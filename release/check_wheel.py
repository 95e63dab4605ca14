"""Installs a wheel as a user would, without a compiler, and runs the demo and the tests of the core on it.

``make wheel-check`` runs it with the wheels in ``dist/``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "cli,langchain,llama-index,models"
TESTS = ("tests/native", "tests/engine", "tests/lowlevel", "tests/response", "tests/llama/test_chat.py")
TESTS += (
    "tests/llama/test_completion.py",
    "tests/llama/test_embeddings.py",
    "tests/cli/test_bench_doctor.py",
)
FIRST_TOKEN = """
import time
start = time.perf_counter()
import llamacpp_core.native
imported = time.perf_counter()
from llamacpp_core import Llama
with Llama("smollm2-135m-instruct", progress=False) as llm:
    next(iter(llm.create_completion("Once upon a time", max_tokens=8, stream=True)))
    first = time.perf_counter()
    print(llm.info.cpu_level)
print(f"import {imported - start:.2f} s, first token after {first - start:.2f} s")
"""


def check(wheel: Path, folder: Path) -> None:
    """Installs ``wheel`` in a fresh environment in ``folder`` and uses it.

    Raises:
        subprocess.CalledProcessError: A step failed.
    """
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    # Only this environment's programs are found, so no compiler; and no modules of the checkout.
    without = {"PATH": str(python.parent), "CC": "no-compiler", "CXX": "no-compiler", "PYTHONSAFEPATH": "1"}
    environment = {**os.environ, **without}

    def run(*command: str) -> None:
        shown = ["-c ..."] if command[0] == "-c" else [*command[:6], *(["..."] if len(command) > 6 else [])]
        print("$", *shown, flush=True)
        subprocess.run([str(python), *command], env=environment, cwd=ROOT, check=True)

    start = time.perf_counter()
    run("-m", "pip", "install", "-q", "--only-binary", ":all:", f"{wheel}[{EXTRAS}]")
    installed = time.perf_counter()
    run("-c", FIRST_TOKEN)
    seconds = time.perf_counter() - start
    print(
        f"installed in {installed - start:.1f} s; first token {seconds:.1f} s after the beginning", flush=True
    )
    run("-m", "llamacpp_core.native.selftest")
    run("-m", "llamacpp_integrations.demo")
    run("-m", "pip", "install", "-q", "--upgrade", "pip>=25.1")  # the first that knows groups
    run("-m", "pip", "install", "-q", "--group", "test", f"{wheel}[all]")
    run("-m", "pytest", "-q", "-m", "not network and not browser", "-p", "no:cacheprovider", *TESTS)


def main(arguments: list[str]) -> int:
    """Checks the newest of the wheels that are named; returns the exit status."""
    wheels = [Path(argument).resolve() for argument in arguments if Path(argument).is_file()]
    if not wheels:
        sys.exit("There is no wheel to check: run `make wheel` first, or name one with WHEEL=PATH.")
    wheel = max(wheels, key=lambda path: path.stat().st_mtime)
    with tempfile.TemporaryDirectory(prefix="wheel-check-") as folder:
        try:
            check(wheel, Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"{wheel.name} failed: exit status {error.returncode}", file=sys.stderr)
            return 1
    print(f"{wheel.name} works")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
