"""Optional dependencies of this subpackage, imported where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from llamacpp_core.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, purpose: str, extra: str = "models") -> ModuleType:
    """Import `module`.

    Raises:
        MissingDependencyError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingDependencyError(
            f'{purpose} needs {missing}: pip install "llamacpp-integrations[{extra}]"', name=missing
        ) from error
