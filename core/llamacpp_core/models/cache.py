"""The folder where fetched models live, and the checks that keep broken files out of use.

Beside every file lies ``<file>.json`` with its SHA-256, size, modification time and origin. A file is used
when its size and header are right and neither size nor time differ from that record; otherwise its checksum
decides. Files appear in the folder by an atomic rename, under a lock that other processes respect.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from llamacpp_core._checks import require
from llamacpp_core.errors import ModelDownloadError, ModelIntegrityError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models.gguf.header import GGUFHeader, read_gguf_header

__all__ = ["CachedFile", "cache_dir", "locked", "remove_entry", "sha256_of"]

logger = logging.getLogger("llamacpp_core.models")
_PARTIAL = ".partial-"


def cache_dir() -> Path:
    """The folder of fetched models.

    ``$LLAMACPP_CACHE``; else ``llamacpp-integrations/models`` in ``$XDG_CACHE_HOME`` when that is an
    absolute path, as the XDG rules want, in ``~/Library/Caches`` on macOS, in ``%LOCALAPPDATA%`` on
    Windows, in ``~/.cache`` elsewhere. It may not exist yet.
    """
    own = os.environ.get("LLAMACPP_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if xdg and Path(xdg).is_absolute():
        base = Path(xdg)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path.home() / ".cache"
    return base / "llamacpp-integrations" / "models"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Record:
    sha256: str
    size: int
    mtime_ns: int
    origin: str


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of the cache: where it belongs and how it is known to be right.

    Attributes:
        path: Its place.
        origin: What it is made from; a file of another origin is made anew.
        sha256: Its pinned checksum; None when it is made here, by a conversion.
    """

    path: Path
    origin: str
    sha256: str | None = None

    @property
    def _record_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def _read_record(self) -> _Record | None:
        try:
            record = _Record(**json.loads(self._record_path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        pinned_differs = self.sha256 is not None and record.sha256 != self.sha256
        return None if record.origin != self.origin or pinned_differs else record

    def _write_record(self, sha256: str) -> None:
        status = self.path.stat()
        record = _Record(sha256, status.st_size, status.st_mtime_ns, self.origin)
        temporary = self._record_path.with_name(f"{_PARTIAL}{os.getpid()}.json")
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")
        temporary.replace(self._record_path)

    def check(self, *, verify: bool = False) -> GGUFHeader:
        """Reads the header of a usable file.

        Args:
            verify: Compute the checksum even when nothing hints at a change.

        Raises:
            ModelNotFoundError: It is not there.
            ModelLoadError: Its header is broken, or it is truncated.
            ModelIntegrityError: It differs from its checksum, or nothing vouches for it.
        """
        header = read_gguf_header(self.path)
        record = self._read_record()
        expected = record.sha256 if record else self.sha256
        if expected is None:
            raise ModelIntegrityError(f"{self.path} has no record of what it was made from")
        status = self.path.stat()
        unchanged = record is not None and (record.size, record.mtime_ns) == (
            status.st_size,
            status.st_mtime_ns,
        )
        if unchanged and not verify:
            return header
        actual = sha256_of(self.path)
        if actual != expected:
            raise ModelIntegrityError(f"{self.path} has the SHA-256 {actual}, not {expected}")
        if not unchanged:
            with suppress(OSError):
                self._write_record(actual)
        return header

    def ensure(
        self,
        make: Callable[[Path], Path],
        *,
        needed_bytes: int,
        verify: bool = False,
        offline: bool = False,
        force: bool = False,
    ) -> GGUFHeader:
        """Returns the header of the file, making it first when it is missing or broken.

        Args:
            make: Gets an empty folder on the same file system, returns the finished file inside it.
            needed_bytes: Free space to ask for.
            verify: As in :meth:`check`.
            offline: Never make it.
            force: Make it even when it is there.

        Raises:
            ModelDownloadError: It cannot be made, or `offline` forbids it.
            ModelIntegrityError: What was made differs from its checksum.
        """
        problem = "it is to be fetched anew" if force else self._problem(verify=verify)
        if isinstance(problem, GGUFHeader):
            return problem
        if offline:
            raise ModelDownloadError(f"{problem}; fetching it is forbidden here (local_files_only)")
        with locked(self.path.parent):
            if not force:
                problem = self._problem(verify=verify)
                if isinstance(problem, GGUFHeader):
                    return problem
                if self.path.exists():
                    logger.warning("%s; fetching it again", problem)
            return self._make(make, needed_bytes)

    def _problem(self, *, verify: bool) -> GGUFHeader | str:
        try:
            return self.check(verify=verify)
        except (ModelNotFoundError, ModelLoadError, ModelIntegrityError) as error:
            return str(error)

    def _make(self, make: Callable[[Path], Path], needed_bytes: int) -> GGUFHeader:
        folder = self.path.parent
        import shutil
        import tempfile

        _sweep(folder)
        free = shutil.disk_usage(folder).free
        if free < needed_bytes:
            raise ModelDownloadError(
                f"{folder} has {free >> 20:,} MiB free, {needed_bytes >> 20:,} MiB are needed:"
                " make room, or set LLAMACPP_CACHE to a folder elsewhere"
            )
        try:
            with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder, ignore_cleanup_errors=True) as work:
                made = make(Path(work))
                with made.open("rb+") as stream:
                    os.fsync(stream.fileno())
                sha256 = sha256_of(made)
                if self.sha256 not in (None, sha256):
                    raise ModelIntegrityError(
                        f"{made.name} came with the SHA-256 {sha256}, not {self.sha256}"
                    )
                read_gguf_header(made)
                made.replace(self.path)
                self._write_record(sha256)
        except OSError as error:
            if isinstance(error, ModelDownloadError):
                raise
            raise ModelDownloadError(f"cannot write {self.path}: {error.strerror or error}") from error
        return read_gguf_header(self.path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder of the cache against other threads and processes."""
    filelock = require("filelock", "fetching a model")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locks = (
            folder.parent / ".locks"
        )  # never deleted: a lock file unlinked while waited for protects nothing
        locks.mkdir(exist_ok=True)
        lock = filelock.FileLock(locks / f"{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("another process is fetching into %s; waiting for it", folder)
            lock.acquire(poll_interval=0.1)
    except OSError as error:
        raise ModelDownloadError(
            f"cannot write to {folder}: {error.strerror or error}; set LLAMACPP_CACHE to a writable folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def remove_entry(folder: Path) -> int:
    """Deletes a model's folder in the cache; returns the bytes freed."""
    import shutil

    if not folder.is_dir():
        return 0
    with locked(folder):
        freed = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder)
    return freed


def _sweep(folder: Path) -> None:
    """Deletes what processes that died left behind; the caller holds the lock."""
    import shutil

    for leftover in folder.glob(f"{_PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
