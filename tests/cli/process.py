"""What the tests of the command share; imported as ``cli.process``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

MAIN = "from llamacpp_integrations.cli import main; main()"
COMMAND = (sys.executable, "-W", "error::ResourceWarning", "-c", MAIN)


class Done(NamedTuple):
    """How a call of the command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def assert_error(done: Done, status: int, *parts: str) -> None:
    """One line on stderr, nothing on stdout."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
