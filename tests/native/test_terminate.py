"""An uncaught C++ exception, of whatever library, ends the process as it does without this package."""

from __future__ import annotations

import sys
from ctypes.util import find_library

import pytest
from running import RunPython

# Once in the C++ library that other libraries have, too.
TERMINATE = """
import ctypes
import llamacpp_core.native
ctypes.CDLL("libstdc++.so.6")._ZSt9terminatev()
"""


@pytest.mark.skipif(
    sys.platform != "linux" or find_library("stdc++") is None, reason="the C++ library has another name"
)
def test_no_debugger_is_forked(run_python: RunPython) -> None:
    done = run_python(TERMINATE)
    assert done.returncode == -6
    assert done.stderr.splitlines() == ["terminate called without an active exception"]
