"""Rooms of pure Python work without the native module, so their tests need no build (``make test-pure``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import llamacpp_core

CORE = Path(llamacpp_core.__file__).parent
PURE = ("errors.py", "_checks.py", "types/*.py", "display/*.py", "grammar/*.py", "models/**/*.py")


def test_pure_rooms_import_without_the_native_module(run_python: Callable[..., object]) -> None:
    files = {path for pattern in PURE for path in CORE.glob(pattern)}
    names = [".".join(path.relative_to(CORE.parent).with_suffix("").parts) for path in files]
    assert len(names) > 50
    blocked = "import sys; sys.modules['llamacpp_core.native'] = None"
    imports = "\n".join(f"import {name.removesuffix('.__init__')}" for name in sorted(names))
    done = run_python(f"{blocked}\n{imports}")
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
