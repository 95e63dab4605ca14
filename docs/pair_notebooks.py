"""Writes notebooks/*.ipynb from their .py, without outputs: ``make notebooks``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"


def paired(source: Path) -> str:
    """The text of a notebook; a cell's id comes from its text, so that the same text gives the same file."""
    notebook = jupytext.read(source)
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        cell["id"] = f"{name}-{number}" if name in seen else name
        seen.add(name)
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.py")):
        path.with_suffix(".ipynb").write_text(paired(path), "utf-8")
