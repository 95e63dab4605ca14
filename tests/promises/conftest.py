"""The chat templates that come with the pinned llama.cpp, each driven with SmolLM2's weights."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promises.requests_per_template import Answers, ask_everything

from llamacpp_core import Llama

CHAT_MODEL = "smollm2-135m-instruct"
COUNTED = {
    "test_forced_calls": "forced",
    "test_named_call": "named",
    "test_call_after_reasoning": "forced after reasoning",
    "test_generic_calls": "generic fallback",
    "test_schema": "schema",
    "test_native_calls_are_read_back": "auto",
    "test_text_of_callers_makes_no_control_tokens": "injection",
    "test_rendering_equals_the_reference": "rendering",
    "test_unusual_conversations": "unusual conversations",
}
_passed: dict[str, int] = {}
_seen: dict[str, int] = {}


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    name = COUNTED.get(getattr(item, "originalname", ""))
    if name is None or (report.when != "call" and report.passed):
        return
    _seen[name] = _seen.get(name, 0) + 1
    _passed[name] = _passed.get(name, 0) + bool(report.passed)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _seen:
        terminalreporter.section("promises, over all templates")
    for name in COUNTED.values():
        if name in _seen:
            terminalreporter.write_line(f"{name}: {_passed[name]}/{_seen[name]}")
