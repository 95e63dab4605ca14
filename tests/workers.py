"""Which tests stay on one worker when ``pytest -n`` runs several: those that share what they loaded."""

from __future__ import annotations

import re
from typing import Any

import pytest

_TEMPLATE = re.compile(r"tests/promises/.*\[([^\]]+)\]$")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps tests of a chat template together, those of a cluster, and otherwise those of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatIsShared(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            template = _TEMPLATE.match(nodeid)
            if nodeid.startswith("tests/ray/"):
                return "a cluster"
            return f"template {template[1]}" if template else nodeid.split("::")[0]

    return ByWhatIsShared(config, log)
