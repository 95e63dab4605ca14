"""The LoRA adapters of a loaded model: by which names requests call them, and how they come and go.

Each has a number of its own, which no later one gets. Prompts are cached by adapters and scales, so a name
that is given to another file never meets what the first one computed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import (
    InvalidParameterError,
    ModelAllocationError,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedCapabilityError,
)
from llamacpp_core.native import ffi, lib
from llamacpp_core.native.failures import error_from_report, last_report
from llamacpp_core.native.log import collect_errors

if TYPE_CHECKING:
    from llamacpp_core.engine.engine import Engine

__all__ = ["AdapterFiles", "Adapters", "LoraInfo"]


@dataclasses.dataclass(frozen=True, slots=True)
class LoraInfo:
    """A loaded LoRA adapter.

    Attributes:
        name: What requests call it.
        path: Its file.
        scale: How strongly it applies where a request names it without a scale; of one that was given when
            the model was loaded, also where a request names no adapters.
        size_bytes: Memory that it takes.
        at_start: It was given when the model was loaded.
        number: Its number in the engine.
        digest: The SHA-256 of what was loaded.
    """

    name: str
    path: str
    scale: float
    size_bytes: int
    at_start: bool
    number: int = dataclasses.field(repr=False)
    digest: bytes = dataclasses.field(repr=False, default=b"")


class AdapterFiles:
    """The content of files that are about to be loaded, to be asked afterwards whether it still is that.

    Args:
        paths: The files.

    Attributes:
        digests: The SHA-256 of each.

    Raises:
        ModelNotFoundError: One is not there.
        ModelLoadError: One cannot be read.
    """

    def __init__(self, *paths: str | os.PathLike[str]) -> None:
        self._paths = paths
        # Some file systems give a file other numbers each time it is opened: those say nothing.
        self._steady = [_same_facts(_facts_of(path), _facts_of(path)) for path in paths]
        self._seen = [_seen(path) for path in paths]
        self.digests = [digest for digest, _ in self._seen]

    def check(self) -> None:
        """Says that what was loaded since is what was there at first.

        Raises:
            ModelLoadError: A file was written to, or another one came into its place, if only for a while.
        """
        for path, (digest, facts), steady in zip(self._paths, self._seen, self._steady, strict=True):
            now, its_facts = _seen(path)
            if now != digest or not steady <= _same_facts(facts, its_facts):
                raise ModelLoadError(
                    f"{path} was changed while it was loaded: load it when nobody writes to it",
                    path=str(path),
                )


_FACTS = ("st_dev", "st_ino", "st_ctime_ns", "st_mtime_ns")


def _same_facts(one: os.stat_result, other: os.stat_result) -> set[str]:
    """The facts in which two looks at a file agree."""
    return {name for name in _FACTS if getattr(one, name) == getattr(other, name)}


def _facts_of(path: str | os.PathLike[str]) -> os.stat_result:
    try:
        with Path(path).open("rb") as file:
            return os.fstat(file.fileno())
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | os.PathLike[str], error: OSError) -> ModelLoadError | ModelNotFoundError:
    if isinstance(error, FileNotFoundError):
        return ModelNotFoundError(f"no such LoRA adapter: {path}")
    return ModelLoadError(f"{path}: the LoRA adapter cannot be read: {error}", path=str(path))


def _seen(path: str | os.PathLike[str]) -> tuple[bytes, os.stat_result]:
    """A file's SHA-256, and facts that tell it from others with the same content."""
    try:
        with Path(path).open("rb") as file:
            facts = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest, facts


class Adapters:
    """The adapters of one engine. For any number of threads.

    Args:
        engine: The engine.
        given: Path, scale, bytes and digest of the adapters that it was opened with, in their order.
    """

    def __init__(self, engine: Engine, given: Sequence[Mapping[str, Any]]) -> None:
        self._engine = engine
        self.lock = threading.Lock()
        self._coming: set[str] = set()
        self._all: tuple[LoraInfo, ...] = tuple(
            LoraInfo(
                Path(one["path"]).stem,
                one["path"],
                one["scale"],
                one["bytes"],
                True,
                number,
                one["digest"],
            )
            for number, one in enumerate(given)
        )

    def __iter__(self) -> Iterator[LoraInfo]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of all."""
        return frozenset(one.number for one in self._all)

    @property
    def defaults(self) -> dict[int, float]:
        """The scales of a request that names no adapters, by number."""
        return {one.number: one.scale for one in self._all if one.at_start}

    def find(self, number: int) -> LoraInfo | None:
        """The adapter of a number; None if it was unloaded."""
        return next((one for one in self._all if one.number == number), None)

    def digest(self, number: int) -> bytes:
        """The SHA-256 of an adapter's file as it was loaded; empty where there is no such adapter."""
        one = self.find(number)
        return b"" if one is None else one.digest

    def load(self, path: str, name: str, scale: float, check: Callable[[str], object]) -> LoraInfo:
        """Loads an adapter beside the running requests.

        Args:
            path: The file.
            name: What requests are to call it.
            scale: How strongly it applies where they give no scale.
            check: Raises if the file could do harm to llama.cpp.

        Raises:
            InvalidParameterError: There is one of this name.
            ModelNotFoundError: There is no such file.
            ModelLoadError: It is damaged or not an adapter for this model, or was changed meanwhile.
            ModelAllocationError: It does not fit into memory.
            UnsupportedCapabilityError: This build has llama.cpp without the changes that it needs.
        """
        with self._coming_as(name):
            files = AdapterFiles(path)
            check(path)
            size = ffi.new("uint64_t *")
            with collect_errors() as reasons:
                number = lib.lc_adapter_load(self._engine._core.native, os.fsencode(path), size)
                report = last_report() if number < 0 else None
            if report is not None:
                raise _load_error(report, reasons, path)
            try:
                files.check()
            except BaseException:
                lib.lc_adapter_unload(self._engine._core.native, number)
                raise
            loaded = LoraInfo(name, path, scale, int(size[0]), False, number, files.digests[0])
            with self.lock:
                self._all = (*self._all, loaded)
        return loaded

    @contextmanager
    def _coming_as(self, name: str) -> Iterator[None]:
        with self.lock:
            if name in self._coming or any(one.name == name for one in self._all):
                raise InvalidParameterError(
                    f"name: there is a LoRA adapter {name!r} already: unload it first, or give another name",
                    parameter="name",
                )
            self._coming.add(name)
        try:
            yield
        finally:
            self._coming.discard(name)

    def unload(self, one: LoraInfo) -> None:
        """Takes an adapter out; requests that have begun end with it, and then its memory is freed.

        Raises:
            UnsupportedCapabilityError: It was given when the model was loaded.
        """
        if one.at_start:
            raise UnsupportedCapabilityError(
                f"name: the adapter {one.name!r} was given when the model was loaded and stays as long as "
                "it: requests can leave it out with lora={}",
                parameter="name",
            )
        with self.lock:
            self._all = tuple(other for other in self._all if other.number != one.number)
        if lib.lc_adapter_unload(self._engine._core.native, one.number) < 0:
            report = last_report()
            if report["type"] != "invalid_request":  # else another thread was faster
                raise error_from_report(report)

    def hold(self, numbers: Iterable[int]) -> Any:
        """Keeps adapters in memory for as long as the result lives.

        Raises:
            InvalidParameterError: One of them was unloaded.
        """
        wanted = list(numbers)
        if not wanted:
            return None
        made = lib.lc_adapter_hold_new(self._engine._core.native, ffi.new("int32_t[]", wanted), len(wanted))
        if made == ffi.NULL:
            report = last_report()
            if report["type"] == "invalid_request":
                raise InvalidParameterError(report["message"], parameter="lora")
            raise error_from_report(report)
        return ffi.gc(made, lib.lc_adapter_hold_free)


def _load_error(report: dict[str, Any], log: list[str], path: str) -> Exception:
    if report["type"] == "not_supported":
        return UnsupportedCapabilityError(report["message"], parameter="path")
    if report["type"] == "closed":
        return error_from_report(report)
    reason = "; ".join(dict.fromkeys(log)) or report["message"]
    if report["type"] == "out_of_memory" or "allocate" in reason:
        return ModelAllocationError(f"{path}: not enough memory for the LoRA adapter ({reason})", path=path)
    return ModelLoadError(f"{path} is not a LoRA adapter for this model: {reason}", path=path)
