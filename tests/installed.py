"""Whether a package is there that cannot be installed everywhere."""

from __future__ import annotations

import importlib.metadata


def installed(distribution: str) -> bool:
    """Asks for the distribution, not for its module: a folder of tests may have the same name."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
