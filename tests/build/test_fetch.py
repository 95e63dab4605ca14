from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def fetch(native_script: Callable[[str], ModuleType]) -> ModuleType:
    return native_script("fetch_llama_cpp")


def add(tar: tarfile.TarFile, name: str, data: bytes = b"") -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def make_archive(folder: Path, fetch: ModuleType, *extra: str, header: bool = True) -> object:
    """Writes a small source archive and returns its pin."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "some_package-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "some_package-1.0/setup.py", b"not ours")
        if header:
            add(tar, "some_package-1.0/vendor/llama.cpp/include/llama.h", b"#define LLAMA_H\n")
        add(tar, "some_package-1.0/vendor/llama.cpp/src/llama.cpp", b"int x;\n" * 10_000)
        add(tar, "some_package-1.0/vendor/llama.cpp/.git", b"gitdir: ../../.git/modules\n")
        for name in extra:
            add(tar, name, b"evil")
    return fetch.Pin("some-package", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_pin_is_what_cmake_reads(fetch: ModuleType) -> None:
    pin = fetch.Pin.read()
    assert pin.archive_name == f"llama_cpp_python-{pin.version}.tar.gz"
    assert len(pin.sha256) == 64
    assert pin.sha256 in fetch.PIN_FILE.read_text(encoding="utf-8")


def test_only_llama_cpp_is_unpacked(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path, fetch)
    source = fetch.ensure_source(pin, tmp_path)
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert files == {"include/llama.h", "src/llama.cpp", fetch.STAMP}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_second_build_uses_what_is_there(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = make_archive(tmp_path, fetch)
    source = fetch.ensure_source(pin, tmp_path)
    monkeypatch.setattr(fetch, "unpack", None)
    monkeypatch.setattr(fetch, "download", None)
    assert fetch.ensure_source(pin, tmp_path) == source


def test_half_an_extraction_is_done_again(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path, fetch)
    source = fetch.ensure_source(pin, tmp_path)
    (source / fetch.STAMP).unlink()
    (source / "include/llama.h").write_text("half")
    assert fetch.ensure_source(pin, tmp_path) == source
    assert (source / "include/llama.h").read_text() == "#define LLAMA_H\n"


def test_a_member_that_climbs_out_is_refused(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path / "a" / "b", fetch, "some_package-1.0/vendor/llama.cpp/../../../../../evil")
    with pytest.raises(fetch.FetchError, match="cannot unpack"):
        fetch.ensure_source(pin, tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("evil"))


def test_an_archive_without_llama_cpp(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path, fetch, header=False)
    with pytest.raises(fetch.FetchError, match=r"holds no vendor/llama\.cpp/include/llama\.h"):
        fetch.ensure_source(pin, tmp_path)


def test_the_wrong_archive_names_both_hashes(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path, fetch)
    other = fetch.Pin(pin.package, pin.version, "0" * 64)
    with pytest.raises(fetch.FetchError) as caught:
        fetch.check_hash(tmp_path / pin.archive_name, other)
    for part in (pin.sha256, "0" * 64, "LLAMA_CPP_SOURCE_DIR"):
        assert part in str(caught.value)


def test_a_damaged_download_in_the_cache_is_fetched_again(
    fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = make_archive(tmp_path, fetch)
    good = (tmp_path / pin.archive_name).read_bytes()
    (tmp_path / pin.archive_name).write_bytes(good[:100])
    monkeypatch.setattr(fetch, "download", lambda pin, target: target.write_bytes(good))
    assert (fetch.ensure_source(pin, tmp_path) / "include/llama.h").is_file()


def test_without_pip(fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fetch.FetchError, match="ensurepip"):
        fetch.ensure_source(fetch.Pin.read(), tmp_path)


def test_without_an_index(fetch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    pin = fetch.Pin("no-such-package-anywhere", "1.0", "0" * 64)
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure_source(pin, tmp_path)
    for part in ("could not download", "network", str(tmp_path), "LLAMA_CPP_SOURCE_DIR", "pip said"):
        assert part in str(caught.value)


def test_two_builds_at_once(fetch: ModuleType, tmp_path: Path) -> None:
    pin = make_archive(tmp_path, fetch)
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import fetch_llama_cpp as fetch\n"
        "print(fetch.ensure_source(fetch.Pin('some-package', '1.0', sys.argv[3]), pathlib.Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(fetch.PIN_FILE.parent), str(tmp_path), pin.sha256]
    builds = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = [build.communicate() for build in builds]
    assert [build.returncode for build in builds] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert (Path(outputs[0][0].strip()) / "src/llama.cpp").stat().st_size == 70_000


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/llamacpp-integrations/sources"),
        ("linux", {}, "/h/.cache/llamacpp-integrations/sources"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/h/.cache/llamacpp-integrations/sources"),
        ("darwin", {"XDG_CACHE_HOME": "/x"}, "/h/Library/Caches/llamacpp-integrations/sources"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/llamacpp-integrations/sources"),
        ("win32", {}, "/h/AppData/Local/llamacpp-integrations/sources"),
    ],
)
def test_the_cache_follows_the_platform(
    fetch: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environment: dict[str, str],
    expected: str,
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fetch.sys, "platform", platform)
    monkeypatch.setattr(fetch.Path, "home", lambda: Path("/h"))
    assert fetch.cache_folder().as_posix() == expected


def test_an_override_is_printed_as_it_is(
    fetch: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_CPP_SOURCE_DIR", str(tmp_path))
    assert fetch.main([]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path)


def test_our_archive_holds_what_a_build_reads(fetch: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "bundled" / "llama.cpp"
    wanted = ["LICENSE", "ggml/src/ggml-cuda/mma.cu", "src/llama.cpp", "tools/ui/CMakeLists.txt"]
    wanted += ["vendor/x/LICENSE"]
    unwanted = ["models/big.gguf", "tools/ui/src/app.ts", "tools/mtmd/test-1.jpeg", "docs/page.md"]
    for name in (*wanted, *unwanted):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    for name in fetch.NEEDED:
        if not (source / name).exists():
            (source / name).touch()
    pin = fetch.Pin.read()
    target.mkdir(parents=True)
    (target / "of-another-version").touch()
    fetch.bundle(source, pin, target)
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert set(wanted) <= found
    assert not {*unwanted, "of-another-version"} & found
    assert fetch._is_complete(target, pin)


@pytest.mark.parametrize("is_archive", [False, True])
def test_only_a_build_from_our_archive_uses_what_is_bundled(
    fetch: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_archive: bool,
) -> None:
    monkeypatch.delenv("LLAMA_CPP_SOURCE_DIR", raising=False)
    monkeypatch.setattr(fetch, "BUNDLE", tmp_path / "bundled")
    monkeypatch.setattr(fetch, "ARCHIVE_MARK", tmp_path / "PKG-INFO")
    monkeypatch.setattr(fetch, "ensure_source", lambda pin, folder: tmp_path / "fetched")
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled" / fetch.STAMP).write_text(fetch.Pin.read().sha256, encoding="ascii")
    if is_archive:
        (tmp_path / "PKG-INFO").touch()
    assert fetch.main([]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / ("bundled" if is_archive else "fetched"))
