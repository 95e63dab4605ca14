from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
# In a process of its own, over sockets in a folder with a short name: no port is opened.
RUNNER = """
import sys, tempfile
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
with tempfile.TemporaryDirectory(prefix="nb") as sockets:
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=sockets + "/k")
    NotebookClient(notebook, km=kernel, timeout=400).execute()
nbformat.write(notebook, sys.argv[2])
"""
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_there_are_seven() -> None:
    assert len(NAMES) == 7
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_say_the_same(name: str) -> None:
    assert cells(stored(name)) == cells(jupytext.read(FOLDER / f"{name}.py")), "run `make notebooks`"


def test_make_notebooks_gives_these_files() -> None:
    paired = runpy.run_path(str(FOLDER.parent / "docs" / "pair_notebooks.py"))["paired"]
    for name in NAMES:
        assert (FOLDER / f"{name}.ipynb").read_text("utf-8") == paired(FOLDER / f"{name}.py"), (
            "run `make notebooks`"
        )


@pytest.mark.parametrize("name", NAMES)
def test_no_outputs_are_stored(name: str) -> None:
    code = [cell for cell in stored(name).cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs(name: str, tmp_path: Path) -> None:
    folder, executed = tmp_path / "work", tmp_path / "executed.ipynb"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(FOLDER / f"{name}.ipynb"), str(executed)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [out for cell in nbformat.read(executed, as_version=4).cells for out in cell.get("outputs", [])]
    assert outputs
    assert [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"] == []
    assert list(folder.iterdir()) == [], "a notebook leaves no files behind"
