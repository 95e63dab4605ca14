from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamacpp_core.lowlevel import Context, Model


@pytest.fixture(scope="session")
def model(smollm2_path: Path) -> Iterator[Model]:
    with Model(smollm2_path) as loaded:
        yield loaded


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    with model.create_context(n_ctx=256, n_batch=64, n_ubatch=64, n_threads=1) as made:
        yield made
