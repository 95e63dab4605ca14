"""Running small programs in a process of their own, and waiting for the engine to come to rest."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llamacpp_core import Llama

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Runs a program in a fresh interpreter: ``run_python(code, *arguments, flags=[...], env={...})``."""

    def run(code: str, *arguments: str, flags: tuple[str, ...] = (), **settings: object) -> object:
        command = [sys.executable, *flags, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, **settings)  # type: ignore[call-overload]

    return run  # type: ignore[return-value]


def wait_until_idle(llm: Llama, seconds: float = 5.0) -> None:
    """Waits until no request is in the engine; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while llm.n_active:
        assert time.monotonic() < deadline, f"{llm.n_active} request(s) still in the engine"
        time.sleep(0.005)


@pytest.fixture
def idle(llm: Llama) -> Callable[[], None]:
    """Asserts that the shared engine comes to rest and still answers."""

    def check() -> None:
        wait_until_idle(llm)
        answer = llm("The capital of France is", max_tokens=2, temperature=0)
        assert "Paris" in answer["choices"][0]["text"]

    return check


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> object:
    """A test that uses the shared engine leaves no request in it."""
    yield
    if "llm" in request.fixturenames:
        wait_until_idle(request.getfixturevalue("llm"))
