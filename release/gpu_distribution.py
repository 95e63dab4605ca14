"""Names this checkout's distribution for the GPUs that it is built for, as ``llamacpp-integrations-cuda``.

``python release/gpu_distribution.py cuda`` changes ``pyproject.toml``. The modules keep their names: such a
wheel is installed in place of the plain one. The workflow that builds wheels for GPUs runs it in a checkout
of its own.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

NAME = "llamacpp-integrations"
BACKENDS = ("cuda", "vulkan")
_IN_QUOTES = re.compile(rf'"{NAME}(?=["\[])')


def renamed(text: str, backend: str) -> str:
    """``pyproject.toml`` with the distribution's name for ``backend``, also where its extras refer to it.

    Args:
        text: The file's content.
        backend: One of BACKENDS.

    Raises:
        SystemExit: There is no such backend, or the distribution has another name already.
    """
    if backend not in BACKENDS:
        sys.exit(f"there is no backend {backend!r}: choose from {', '.join(BACKENDS)}")
    before = tomllib.loads(text)
    if before["project"]["name"] != NAME:
        sys.exit(f"pyproject.toml names {before['project']['name']}, not {NAME}: use a fresh checkout")
    return _IN_QUOTES.sub(f'"{NAME}-{backend}', text)


def main(arguments: list[str]) -> int:
    """Renames this checkout's distribution; returns the exit status."""
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    (backend,) = arguments or [""]
    path.write_text(renamed(path.read_text(encoding="utf-8"), backend), encoding="utf-8")
    print(f"{path.name} names {NAME}-{backend}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
