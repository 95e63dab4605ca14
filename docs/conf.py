"""How Sphinx builds these pages: ``make docs``."""

from __future__ import annotations

import atexit
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupyter_client
from sphinx.pycode import ModuleAnalyzer
from traitlets import CaselessStrEnum, default

import llamacpp_core
import llamacpp_integrations.langchain
import llamacpp_integrations.llama_index
import llamacpp_integrations.ray.app  # noqa: F401 - pydantic cannot build these while autodoc imports

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
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# ref.python: several classes of this project have the same name, each in its own module.
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]

# Notebooks run once, and again when their code changes. `-D nb_execution_mode=off` shows them bare.
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_render_image_options = {"alt": "plot"}
nb_execution_cache_path = str(Path(__file__).parent / "_build" / ".jupyter_cache")

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # a class's attributes as one list
napoleon_custom_sections = [(f"{kind} arguments", "params_style") for kind in ("Key", "Sampling", "Model")]
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


class SocketKernelManager(jupyter_client.AsyncKernelManager):
    """Lets kernels talk over sockets in a folder: no port is opened, about which kernels would warn."""

    transport = CaselessStrEnum(["tcp", "ipc"], default_value="ipc")

    @default("ip")
    def _ip_default(self) -> str:
        folder = tempfile.mkdtemp(prefix="nb")  # a short name: the names of sockets are limited
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return f"{folder}/k"


def name_sections(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Gives LangChain's sections of arguments names that napoleon can read, before it reads them."""
    for i, line in enumerate(lines):
        if found := re.fullmatch(r"Key init args(?: \((\w+)\))?:", line):
            lines[i] = f"{(found[1] or 'key').capitalize()} arguments:"


def add_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Lists the fields of a pydantic class that autodoc does not: described ones, and those of our mixins."""
    fields = getattr(obj, "__pydantic_fields__", {}) if what == "class" else {}
    listed = {}
    for cls in obj.__mro__ if fields else ():
        if not cls.__module__.startswith("llamacpp"):
            continue
        documented = ModuleAnalyzer.for_module(cls.__module__).find_attr_docs()
        for key in cls.__annotations__:
            comment = documented.get((cls.__name__, key), []) if cls is not obj else []
            text = (
                " ".join(" ".join([fields[key].description or "", *comment]).split()) if key in fields else ""
            )
            if text:
                listed.setdefault(key, text)
    if listed:
        lines += ["", "**Fields**", "", *(f"- ``{key}``: {text}" for key, text in listed.items()), ""]


def short_signature(
    app: Any,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    obj: Any,
    options: Any,  # noqa: ARG001
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Leaves the fields out of the signature of a pydantic class: they are listed below it."""
    if what == "class" and hasattr(obj, "__pydantic_fields__"):
        first = "" if obj.__module__.startswith("llamacpp_integrations.llama_index") else "*, "
        return f"({first}model=None, llama=None, **fields)", None
    return signature, returns


def setup(app: Any) -> None:
    """Connects the hooks."""
    copy_notebooks()
    if sys.platform != "win32":
        jupyter_client.AsyncKernelManager = SocketKernelManager
    app.connect("autodoc-process-docstring", name_sections, priority=100)
    app.connect("autodoc-process-docstring", add_fields, priority=900)
    app.connect("autodoc-process-signature", short_signature)
