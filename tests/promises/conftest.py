"""The chat templates that come with the pinned llama.cpp, each driven with SmolLM2's weights."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from promises.requests_per_template import Answers, ask_everything

from llamacpp_core import Llama

CHAT_MODEL = "smollm2-135m-instruct"


def source_folder() -> Path:
    """The llama.cpp that this project is built from."""
    override = os.environ.get("LLAMA_CPP_SOURCE_DIR")
    if override:
        return Path(override)
    script = Path(__file__).parents[2] / "native" / "fetch_llama_cpp.py"
    spec = importlib.util.spec_from_file_location("fetch_llama_cpp_for_templates", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The dataclass in it looks its own module up.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: Path = module.ensure_source(module.Pin.read(), module.cache_folder())
    return found


TEMPLATES = {path.stem: path for path in sorted((source_folder() / "models" / "templates").glob("*.jinja"))}


@pytest.fixture(scope="session", params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> str:
    """The name of a template."""
    return str(request.param)


@pytest.fixture(scope="session")
def source(template: str) -> str:
    """The template's text."""
    return TEMPLATES[template].read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def engine(source: str, smollm2_path: Path) -> Iterator[Llama]:
    """SmolLM2 behind the template, opened once for all tests of that template."""
    with Llama(CHAT_MODEL, chat_template=source, n_ctx=4096, n_parallel=1, warmup=False) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def answers(engine: Llama) -> Answers:
    """What the model answers to all requests of these tests; one after the other, for prompts begin alike."""
    return ask_everything(engine)
