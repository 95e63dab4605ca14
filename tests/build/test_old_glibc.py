"""What wheels bring along for systems with an older glibc."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="about glibc")

MISSING = Path(__file__).parents[2] / "native" / "old_glibc" / "missing.c"


class _Time(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("old_glibc") / "missing.so"
    command = ["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(MISSING)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("clock", [time.CLOCK_MONOTONIC, time.CLOCK_REALTIME])
def test_a_wait_ends_at_its_time(missing: ctypes.CDLL, clock: int) -> None:
    mutex, condition = (
        ctypes.create_string_buffer(64),
        ctypes.create_string_buffer(64),
    )  # zeros are their beginning
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    for _ in range(3):  # at some of which nanoseconds are carried
        until = time.clock_gettime_ns(clock) + 400_000_000
        deadline = _Time(until // 10**9, until % 10**9)
        status = missing.pthread_cond_clockwait(condition, mutex, clock, ctypes.byref(deadline))
        assert status == errno.ETIMEDOUT
        assert time.clock_gettime_ns(clock) >= until - 10_000_000
    libc.pthread_mutex_unlock(mutex)


def test_random_numbers_differ(missing: ctypes.CDLL) -> None:
    missing.arc4random.restype = ctypes.c_uint32
    assert len({missing.arc4random() for _ in range(8)}) > 1


def test_threads_are_always_expected(missing: ctypes.CDLL) -> None:
    assert ctypes.c_char.in_dll(missing, "__libc_single_threaded").value == b"\0"


def test_the_cpu_is_one_of_ours(missing: ctypes.CDLL) -> None:
    cpu = ctypes.c_uint(10**6)
    assert missing.getcpu(ctypes.byref(cpu), None) == 0
    assert cpu.value in os.sched_getaffinity(0)


def test_no_program_starts_in_another_folder(missing: ctypes.CDLL) -> None:
    assert missing.posix_spawn_file_actions_addchdir_np(None, b"/") == errno.ENOSYS
