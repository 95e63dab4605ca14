"""The weight type that suits this machine's CPU."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = ["has_bf16", "preferred_dtype"]


@cache
def has_bf16() -> bool:
    """Whether this is an ARM CPU that multiplies bfloat16 in hardware.

    Reads ``/proc/cpuinfo`` on Linux and asks ``sysctl`` on macOS; elsewhere the answer is no.
    """
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "hw.optional.arm.FEAT_BF16"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
        except (OSError, subprocess.SubprocessError):
            return False
        return answer.stdout.strip() == "1"
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return has_bf16_flag(lines)


def has_bf16_flag(lines: list[str]) -> bool:
    """Whether the first processor in the lines of ``/proc/cpuinfo`` has bfloat16 arithmetic."""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "Features":
            return "bf16" in value.split()
    return False


def preferred_dtype() -> str:
    """``"bf16"`` on an ARM CPU that computes with it, else ``"f16"``.

    On x86-64 encoders multiply integers (``native/llama_cpp/encoders``), whatever the file holds.
    """
    return "bf16" if has_bf16() else "f16"
