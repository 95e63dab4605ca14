"""Models that the whole suite shares; every one comes through the product's own catalog."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from installed import installed

if TYPE_CHECKING:
    from llamacpp_core import Llama

# Before the extension is loaded: one thread per model, because several workers share the cores, and threads
# that wait for one another while something else has the core are many times slower than one.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"

# For --hypothesis-profile=long.
settings.register_profile("long", max_examples=5000)

collect_ignore = [] if installed("ray") else ["ray"]

pytest_plugins = ["adapter_files", "running", "template_counts", "workers"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that use one of the suite's loaded models, so that quick runs can leave them out.

    Tests that show a change of llama.cpp are left out where llama.cpp was compiled without it.
    """
    missing = [item for item in items if _changes(item) and not _changes(item) <= _made()]
    if missing:
        config.hook.pytest_deselected(items=missing)
        items[:] = [item for item in items if item not in missing]
    for item in items:
        if {"llm", "embedder"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("model")


def _changes(item: pytest.Item) -> set[str]:
    return {mark.args[0] for mark in item.iter_markers("changes")}


def _made() -> set[str]:
    from llamacpp_core.native.build_info import build_info

    return set(build_info()["changes"])


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    from llamacpp_core.models import resolve_model

    return resolve_model(CHAT_MODEL, progress=False).path


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    from llamacpp_core.models import resolve_model

    return resolve_model(EMBEDDING_MODEL, progress=False).path


@pytest.fixture(scope="session")
def llm(smollm2_path: Path) -> Iterator[Llama]:
    from llamacpp_core import Llama

    with Llama(CHAT_MODEL, n_ctx=2048) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def embedder(minilm_path: Path) -> Iterator[Llama]:
    from llamacpp_core import Llama

    with Llama(EMBEDDING_MODEL) as loaded:
        yield loaded
