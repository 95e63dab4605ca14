"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import llamacpp_core

ROOT = Path(__file__).resolve().parents[1]

project = "llamacpp-integrations"
author = "the llamacpp-integrations authors"
version = release = llamacpp_core.__version__
html_title = f"llamacpp-integrations {release}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "examples", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

# Notebooks run once; their outputs are kept until the code changes. `-D nb_execution_mode=off` shows them bare.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_cache_path = str(Path(__file__).parent / "_build" / ".jupyter_cache")

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 96
python_use_unqualified_type_names = True


def copy_notebooks() -> None:
    """Puts the notebooks where Sphinx finds them: it reads nothing outside of its folder."""
    target = Path(__file__).parent / "notebooks"
    target.mkdir(exist_ok=True)
    sources = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for old in set(target.glob("*.ipynb")) - {target / source.name for source in sources}:
        old.unlink()
    for source in sources:
        copy = target / source.name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            shutil.copyfile(source, copy)


def add_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Lists the described fields of a pydantic class at the end of its docstring."""
    if what != "class":
        return
    fields = getattr(obj, "__pydantic_fields__", {})
    described = {
        key: field.description
        for key, field in fields.items()
        if field.description and key in obj.__annotations__
    }
    if described:
        lines += ["", "**Fields**", ""]
        lines += [f"- ``{key}``: {' '.join(text.split())}" for key, text in described.items()]
        lines.append("")


def setup(app: Any) -> None:
    """Connects the hooks."""
    copy_notebooks()
    app.connect("autodoc-process-docstring", add_fields)
