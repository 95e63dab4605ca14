"""Runs LlamaIndex's own tests with this package's classes in place of LlamaIndex's mocks.

    python tests/llama_index/upstream/run.py                     # fetches the tests of the installed version
    python tests/llama_index/upstream/run.py --source CHECKOUT   # takes them from a checkout of llama_index
    python tests/llama_index/upstream/run.py --plain             # with LlamaIndex's mocks, to compare

The tests stay in a temporary folder. They need ``pip install openai`` beside this project's test group.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/run-llama/llama_index"

#: Where language or embedding models take part. The rest of the suite is about stores, readers and parsers.
FOLDERS = (
    "agent",
    "chat_engine",
    "embeddings",
    "evaluation",
    "extractors",
    "indices",
    "ingestion",
    "llms",
    "memory",
    "multi_modal_llms",
    "playground",
    "postprocessor",
    "program",
    "prompts",
    "query_engine",
    "query_pipeline",
    "question_gen",
    "response_synthesizers",
    "retrievers",
    "selectors",
    "token_predictor",
)
#: About the mocks themselves, which are replaced.
LEFT_OUT = ("tests/llms/test_mock.py",)


def fetch(folder: Path) -> Path:
    """Clones the tests of the installed version and nothing else."""
    version = importlib.metadata.version("llama-index-core")
    target = folder / "llama_index"
    clone = ["git", "clone", "--quiet", "--depth=1", "--filter=blob:none", "--sparse", f"--branch=v{version}"]
    subprocess.run([*clone, REPOSITORY, str(target)], check=True)
    subprocess.run(["git", "-C", str(target), "sparse-checkout", "set", "llama-index-core/tests"], check=True)
    return target


def main() -> int:
    """Runs the tests; returns pytest's exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a checkout of llama_index")
    parser.add_argument("--plain", action="store_true", help="use LlamaIndex's own mocks")
    parser.add_argument("arguments", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.source or fetch(folder)
        shutil.copytree(source / "llama-index-core" / "tests", folder / "run" / "tests")
        tests = [f"tests/{entry}" for entry in FOLDERS if (folder / "run" / "tests" / entry).is_dir()]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir=.",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--ignore={entry}" for entry in LEFT_OUT]
        command += ["--asyncio-mode=auto", "-W", "ignore", "--timeout=60"]
        if not options.plain:
            command += ["-p", "injected_mocks"]
        paths = [str(folder / "run"), str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.call([*command, *tests, *options.arguments], cwd=folder / "run", env=environment)


if __name__ == "__main__":
    sys.exit(main())
