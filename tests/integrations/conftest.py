"""Both frameworks at once: what they do on their own account passes."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Lets pass what LlamaIndex and its dependencies warn about."""
    config.addinivalue_line("filterwarnings", "ignore::pydantic.warnings.PydanticDeprecationWarning")
