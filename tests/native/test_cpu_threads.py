"""How many threads compute: the cores that may be used, not those that there are."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.native import cpu_threads
from llamacpp_core.native.cpu_threads import cpu_quota, default_threads, usable_cores


def membership(folder: Path, text: str) -> Path:
    file = folder / "membership"
    file.write_text(text, encoding="ascii")
    return file


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")


def test_quota_of_cgroup_v2_is_the_least_on_the_way_up(tmp_path: Path) -> None:
    write(tmp_path / "cpu.max", "max 100000\n")
    write(tmp_path / "pod" / "cpu.max", "150000 100000\n")
    write(tmp_path / "pod" / "box" / "cpu.max", "400000 100000\n")
    assert cpu_quota(tmp_path, membership(tmp_path, "0::/pod/box\n")) == 1.5
    assert cpu_quota(tmp_path, membership(tmp_path, "0::/elsewhere\n")) is None


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_quota_of_cgroup_v1(tmp_path: Path, mount: str) -> None:
    # a container sees its own cgroup as the top, under the path that it has outside
    write(tmp_path / mount / "cpu.cfs_quota_us", "50000\n")
    write(tmp_path / mount / "cpu.cfs_period_us", "100000\n")
    text = "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n"
    assert cpu_quota(tmp_path, membership(tmp_path, text)) == 0.5


@pytest.mark.parametrize("text", ["", "nonsense", "0::/", "1:cpu:/", "0::/../.."])
def test_no_quota(tmp_path: Path, text: str) -> None:
    write(tmp_path / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu" / "cpu.cfs_period_us", "100000\n")
    write(tmp_path / "cpu.max", "max 100000\n")
    assert cpu_quota(tmp_path, membership(tmp_path, text)) is None
    assert cpu_quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds no process to CPUs")
def test_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cpu in range(8):
        write(tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings", f"{3 << cpu // 2 * 2:02x}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 6, 7})
    assert usable_cores(tmp_path) == 3
    assert usable_cores(tmp_path / "missing") == 5


def test_the_least_limit_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_threads, "lib", SimpleNamespace(lc_math_cores=lambda: 96))
    for cores, quota, expected in [
        (None, None, 96),
        (8, None, 8),
        (8, 2.5, 3),
        (8, 0.25, 1),
        (128, 200.0, 96),
    ]:
        monkeypatch.setattr(cpu_threads, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(cpu_threads, "cpu_quota", lambda quota=quota: quota)
        assert default_threads() == expected


def test_a_model_is_loaded_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from llamacpp_core.engine.load import options

    monkeypatch.setattr(options, "default_threads", lambda: 7)
    arguments = {"n_ctx": 256, "n_parallel": 1, "embedding": False}
    assert ["--threads", "7"] in LoadOptions().flags("model.gguf", **arguments)  # type: ignore[arg-type]
    assert ["--threads", "2"] in LoadOptions(n_threads=2).flags("model.gguf", **arguments)  # type: ignore[arg-type]
