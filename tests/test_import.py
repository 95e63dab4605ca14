"""Importing the package is quick and brings in nothing that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

HEAVY = (
    "pydantic",
    "langchain",
    "langchain_core",
    "llama_index",
    "numpy",
    "jinja2",
    "huggingface_hub",
    "gguf",
    "safetensors",
    "tqdm",
    "rich",
    "typer",
    "requests",
    "httpx",
    "filelock",
    "asyncio",
    "concurrent.futures.thread",
    "unittest",
    "multiprocessing",
    "ssl",
    "urllib.request",
)
#: With the interpreter's own; 167 when this was written, in 0.13 s.
MOST_MODULES = 185
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def loaded_modules() -> set[str]:
    code = "import sys, json; import llamacpp_core; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", HEAVY)
def test_import_leaves_out(loaded_modules: set[str], name: str) -> None:
    assert name not in loaded_modules


def test_import_stays_light(loaded_modules: set[str]) -> None:
    # A module costs about a millisecond: the count keeps what a clock on a busy machine cannot.
    assert len(loaded_modules) < MOST_MODULES, sorted(loaded_modules)


def test_import_is_clean_under_warnings_as_errors(run_python: Run) -> None:
    done = run_python("import llamacpp_core", flags=("-W", "error", "-X", "dev"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    import llamacpp_core

    assert llamacpp_core.__version__ == version("llamacpp-integrations")
