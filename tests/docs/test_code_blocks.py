"""Every Python block of the README and of the pages in docs/ runs; blocks of a page share their names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed import installed

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if not {"_build", "notebooks"} & set(page.relative_to(ROOT / "docs").parts)
    ),
]

# Blocks that cannot run here: they have `<!-- not executed: reason -->` in front of them.
NOT_EXECUTED = {
    "docs/how-to/choose-a-model.md": 1,  # the Hugging Face Hub
    "docs/how-to/gpu.md": 1,  # a GPU
    "docs/how-to/lora.md": 2,
    "docs/how-to/server.md": 2,  # a server runs until it is stopped
    "docs/migrating-from-llama-cpp-python.md": 1,  # the projector of a large model
    "docs/migrating-to-langchain-classes.md": 3,  # other packages' classes, beside ours
}
# Pages about packages that cannot be installed everywhere.
NEEDS = {"docs/how-to/ray.md": "ray"}
# Commands that change the environment; what else a shell block says is run.
SET_UP = re.compile(
    r"(\. |CMAKE_ARGS=\S+ )?(pip install|make|\.venv/bin/|py-spy|python -m)\b.*|\. \S+/activate"
)
LANGUAGES = {
    "bash",
    "c",
    "json",
    "pycon",
    "python",
    "sh",
    "text",
    "toml",
    "",
    "{eval-rst}",
    "{image}",
    "{toctree}",
}

RUNNER = """
import ast, asyncio, inspect, json, sys

page, blocks = json.load(sys.stdin)
names = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for line, source in blocks:
        code = compile("\\n" * line + source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            async def finish(): await result
            runner.run(finish())
"""


@dataclass(frozen=True)
class Block:
    language: str
    line: int  # of the text before the block's first line
    source: str
    marked: bool


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    start = language = None
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"\s*(`{3,}|:{3,})(\S*).*", line)
        if not fence:
            continue
        if start is None:
            start, language = number, fence[2]
        elif not fence[2]:
            before = next((text for text in reversed(lines[: start - 1]) if text.strip()), "")
            source = "\n".join(lines[start : number - 1]) + "\n"
            found.append(
                Block(language or "", start, source, bool(re.match(r"<!-- not executed: .+ -->", before)))
            )
            start = None
    assert start is None, f"{page}: a block does not end"
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    cluster = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return os.environ | cluster | {"PATH": paths, "PYTHONWARNINGS": "default", "COLUMNS": "100"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_only_known_languages_and_marks(page: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= LANGUAGES
    marked = sum(block.marked for block in found)
    assert marked == NOT_EXECUTED.get(name_of(page), 0)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_fits_into_its_column(page: Path) -> None:
    wide = [
        line
        for block in blocks(page)
        if block.language in ("python", "sh", "bash")
        for line in block.source.splitlines()
        if len(line) > 90
    ]
    assert wide == []


def test_the_list_of_marks_is_complete() -> None:
    assert set(NOT_EXECUTED) <= set(map(name_of, PAGES))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language == "python" for b in blocks(page))], ids=name_of
)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    needed = NEEDS.get(name_of(page), "pytest")
    if not installed(needed):
        pytest.skip(f"{needed} is not installed")
    run = [
        (block.line, block.source)
        for block in blocks(page)
        if block.language == "python" and not block.marked
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([name_of(page), run]),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def commands() -> list[str]:
    lines = [
        line.split(" #")[0].strip()
        for page in PAGES
        for block in blocks(page)
        if block.language in ("sh", "bash") and not block.marked
        for line in block.source.splitlines()
    ]
    return sorted({line for line in lines if line and not SET_UP.fullmatch(line)})


@pytest.mark.parametrize("command", commands())
def test_shell_commands_run(command: str, tmp_path: Path) -> None:
    assert command.startswith("llamacpp "), "a command that no test can run: mark its block"
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
