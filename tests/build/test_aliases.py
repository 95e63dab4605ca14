"""The packages under the frameworks' own names build, and are the same classes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import llamacpp_core

ALIASES = Path(__file__).parents[2] / "release" / "aliases"


@pytest.mark.parametrize(
    ("name", "module", "ours", "one"),
    [
        ("langchain-llamacpp", "langchain_llamacpp", "langchain", "ChatLlamaCpp"),
        ("llama-index-llms-llamacpp", "llama_index.llms.llamacpp", "llama_index", "LlamaCpp"),
        (
            "llama-index-embeddings-llamacpp",
            "llama_index.embeddings.llamacpp",
            "llama_index",
            "LlamaCppEmbedding",
        ),
    ],
)
def test_an_alias(tmp_path: Path, name: str, module: str, ours: str, one: str) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w"]
    subprocess.run(
        [*command, str(tmp_path), str(ALIASES / name)], check=True, env={**os.environ, "CMAKE_ARGS": ""}
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
        needs = re.findall(r"Requires-Dist: (.*)", archive.read(metadata).decode())
    assert needs == [f"llamacpp-integrations[{ours.replace('_', '-')},models]=={llamacpp_core.__version__}"]
    code = f"import {module} as alias, llamacpp_integrations.{ours} as ours\nassert alias.{one} is ours.{one}"
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.append({str(site)!r})\n{code}"], check=True)
