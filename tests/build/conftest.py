from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

NATIVE = Path(__file__).parents[2] / "native"


@pytest.fixture(scope="session")
def native_script() -> Callable[[str], ModuleType]:
    """Imports one of the build's scripts, which are no package."""

    def load(name: str) -> ModuleType:
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, NATIVE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def llama_cpp_source(native_script: Callable[[str], ModuleType]) -> Path:
    """The llama.cpp source that the extension is built from."""
    import os

    override = os.environ.get("LLAMA_CPP_SOURCE_DIR")
    fetch = native_script("fetch_llama_cpp")
    return Path(override) if override else fetch.ensure_source(fetch.Pin.read(), fetch.cache_folder())
