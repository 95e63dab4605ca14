from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_custom_sampling_loop(smollm2_path: Path) -> None:
    text, entropies = load("custom_sampling_loop").generate(
        str(smollm2_path), "The lighthouse keeper opened", 12
    )
    assert text
    assert len(entropies) == 12
    assert 0 < min(entropies) < max(entropies) < 11


def test_contrastive_decoding_prefers_the_document(smollm2_path: Path) -> None:
    example = load("contrastive_decoding")
    assert "blue" in example.answer(str(smollm2_path), 0.0)
    assert "green" in example.answer(str(smollm2_path), 1.0)


@pytest.mark.parametrize("name", ["custom_sampling_loop", "contrastive_decoding"])
def test_examples_run_as_programs(smollm2_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), str(smollm2_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 50
