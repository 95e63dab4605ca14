"""How many threads may compute at once: the cores that this process may use, not all that there are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from llamacpp_core.native import lib

__all__ = ["cpu_quota", "default_threads", "usable_cores"]

_CPUS = Path("/sys/devices/system/cpu")


def default_threads() -> int:
    """Threads for one model when nobody says how many: one for each physical core that may be used.

    llama.cpp counts the cores of the whole machine. Here the CPUs that this process is bound to (taskset,
    a cpuset, a batch system) and the CPU time that its container gets (a quota in cgroup v2 or v1, rounded
    up) count too: more threads than that would wait for each other at every step of a computation.
    """
    limits = [int(lib.lc_math_cores())]
    if (cores := usable_cores()) is not None:
        limits.append(cores)
    if (quota := cpu_quota()) is not None:
        limits.append(math.ceil(quota))
    return max(1, min(limits))


def usable_cores(cpus: Path = _CPUS) -> int | None:
    """Physical cores among the CPUs that this process may run on; None where the system does not tell.

    Args:
        cpus: The folder in which Linux describes the CPUs.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        try:
            cores.add((cpus / f"cpu{cpu}" / "topology" / "thread_siblings").read_text("ascii"))
        except (OSError, ValueError):
            return len(allowed)
    return len(cores) or None


def cpu_quota(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float | None:
    """CPUs' worth of time that the cgroups of this process allow it; None without a limit.

    Args:
        root: Where the cgroups are mounted.
        membership: The file that names this process's cgroups.
    """
    try:
        lines = membership.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # version 2
            for folder in _upwards(root, path):
                found += _ratio(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for mount in {root / controllers, root / "cpu"}:
                for folder in _upwards(mount, path):
                    found += _ratio(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
    return min(found, default=None)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and those above it; a container may see its own cgroup as the top."""
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount and mount in folder.parents:
        folder = folder.parent
        yield folder


def _ratio(*files: Path) -> list[float]:
    """Quota over period, both in one file or each in its own; empty without a limit."""
    try:
        words = " ".join(file.read_text("ascii") for file in files).split()
        quota, period = int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):
        return []  # no such cgroup, or "max"
    return [quota / period] if quota > 0 and period > 0 else []
