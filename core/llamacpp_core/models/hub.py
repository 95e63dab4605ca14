"""GGUF files on the Hugging Face Hub, through ``huggingface_hub`` and in its own cache.

A file that is already in the hub's cache is used without asking the network whether there is a newer one;
`force_download` asks. Its rules for tokens, endpoints and offline mode (``HF_TOKEN``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``) apply.
"""

from __future__ import annotations

import fnmatch
import inspect
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamacpp_core._checks import require
from llamacpp_core._checks import shown as shown_value
from llamacpp_core._checks import text as checked_text
from llamacpp_core.errors import InvalidParameterError, ModelDownloadError, ModelNotFoundError
from llamacpp_core.models.hub_errors import translated
from llamacpp_core.models.progress import shown

__all__ = [
    "HubAddress",
    "HubFiles",
    "fetch_from_hub",
    "find_in_hub_cache",
    "listed",
    "make_address",
    "parse_address",
    "remove_from_hub_cache",
    "select_files",
    "split_names",
]

logger = logging.getLogger("llamacpp_core.models")
_ADDRESS = re.compile(r"hf:(?P<repo>[^/:@\s]+/[^/:@\s]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<pattern>[^:]+))?")
_REPO = re.compile(r"[^/:@\s]+/[^/:@\s]+")
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_GLOB_CHARACTERS = frozenset("*?[")
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Which files of which repository.

    Attributes:
        repo: ``owner/name``.
        pattern: A file name, a glob, or a quantisation such as ``Q4_K_M``.
        revision: Branch, tag or commit; None for the main branch.
    """

    repo: str
    pattern: str = "*.gguf"
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}:{self.pattern}"

    @property
    def globbed(self) -> bool:
        """Whether the pattern can match several names."""
        return bool(_GLOB_CHARACTERS.intersection(self.pattern))


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of one model on disk, all parts of a split one in order.

    Attributes:
        address: What was asked for.
        paths: Where they are.
        names: Their names in the repository.
        downloaded: Whether the hub was asked for them just now.
    """

    address: HubAddress
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    downloaded: bool = False


def parse_address(text: str) -> HubAddress:
    """Parses ``hf:owner/repo[@revision][:file-or-glob.gguf]``.

    A last part without ``.gguf`` and wildcards is a quantisation: ``hf:owner/repo:Q4_K_M``.

    Raises:
        InvalidParameterError: It has another form.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise InvalidParameterError(
            f"model={shown_value(text)} is not of the form 'hf:owner/repo:file.gguf'"
            " (a glob such as *Q4_K_M.gguf will do; @revision may follow the repository)",
            parameter="model",
        )
    return make_address(match["repo"], match["pattern"], match["revision"])


_MAX_REPO = 96  # the hub's own limit


def make_address(repo: str, pattern: str | None, revision: str | None) -> HubAddress:
    """An address from its parts; see :func:`parse_address`.

    Raises:
        InvalidParameterError: The repository is not ``owner/name``, or the pattern is empty.
    """
    if not isinstance(repo, str) or len(repo) > _MAX_REPO or not _REPO.fullmatch(repo):
        raise InvalidParameterError(
            f"repo_id={shown_value(repo)} is not of the form 'owner/name'", parameter="repo_id"
        )
    if pattern is not None and not checked_text("filename", pattern).strip():
        raise InvalidParameterError("filename is empty; name a .gguf file or a glob", parameter="filename")
    if revision is not None:
        checked_text("revision", revision)
    return HubAddress(repo, _as_pattern(pattern or "*.gguf"), revision)


def _as_pattern(pattern: str) -> str:
    if pattern.lower().endswith(".gguf") or _GLOB_CHARACTERS.intersection(pattern):
        return pattern
    return f"*{pattern}*.gguf"


def select_files(names: Iterable[str], address: HubAddress) -> tuple[str, ...]:
    """Chooses the file, or all parts of the split model, that the pattern means.

    An exact match wins over one in another case. Projectors for images (``mmproj``) and importance matrices
    are chosen only by a pattern that names them.

    Args:
        names: Every file name in the repository.
        address: What is wanted.

    Raises:
        ModelNotFoundError: Nothing matches, several models match, or a part is missing.
    """
    ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
    pattern = address.pattern
    matches = [name for name in ggufs if name == pattern or fnmatch.fnmatchcase(name, pattern)]
    if not matches:
        matches = [name for name in ggufs if fnmatch.fnmatchcase(name.lower(), pattern.lower())]
    plain = [name for name in matches if not _is_side_file(name) or not address.globbed]
    matches = plain or matches if "mmproj" not in pattern.lower() else matches
    groups = {_split_key(name) for name in matches}
    if len(groups) == 1:
        return _all_parts(matches[0], ggufs, address)
    if groups:
        raise ModelNotFoundError(f"{address} matches {len(groups)} models; name one of: {listed(matches)}")
    found = f"the repository has: {listed(ggufs)}" if ggufs else "the repository has no GGUF file at all"
    raise ModelNotFoundError(f"{address} matches no file; {found}")


def _is_side_file(name: str) -> bool:
    base = name.lower().rpartition("/")[2]
    return "mmproj" in base or "imatrix" in base


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first of them when they are many."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _split_key(name: str) -> tuple[str, str]:
    match = _SPLIT.fullmatch(name)
    return (name, "") if match is None else (match["stem"], match["count"])


def split_names(name: str) -> tuple[str, ...]:
    """The names of all parts of a split model, from that of any part; of a whole model just its own."""
    match = _SPLIT.fullmatch(name)
    if match is None:
        return (name,)
    suffix = name[-5:]
    total = int(match["count"])
    return tuple(f"{match['stem']}-{part:05d}-of-{match['count']}{suffix}" for part in range(1, total + 1))


def _all_parts(name: str, ggufs: Sequence[str], address: HubAddress) -> tuple[str, ...]:
    parts = split_names(name)
    missing = sorted(set(parts).difference(ggufs))
    if missing or not parts:
        raise ModelNotFoundError(
            f"{address} is split into {len(parts)} files, and these are missing: {listed(missing)}"
        )
    return parts


def find_in_hub_cache(
    address: HubAddress, *, cache_dir: Path | None = None, local_dir: Path | None = None
) -> HubFiles | None:
    """The wanted files when all of them are on disk already; touches no network.

    Of several models on disk that match a glob none is taken: the hub decides.
    """
    folder = local_dir or _snapshot(address, cache_dir)
    if folder is None or not folder.is_dir():
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf") if path.is_file()]
    try:
        chosen = select_files(names, address)
    except ModelNotFoundError:
        return None
    return HubFiles(address, tuple(folder / name for name in chosen), chosen)


def _snapshot(address: HubAddress, cache_dir: Path | None) -> Path | None:
    """The folder of a cached revision, by the layout the hub's documentation describes."""
    if cache_dir is None:
        cache_dir = Path(require("huggingface_hub.constants", "the Hugging Face Hub").HF_HUB_CACHE)
    folder = cache_dir / f"models--{address.repo.replace('/', '--')}"
    revision = address.revision or "main"
    try:
        commit = (folder / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    return folder / "snapshots" / commit if commit else None


def fetch_from_hub(
    address: HubAddress,
    *,
    cache_dir: Path | None = None,
    local_dir: Path | None = None,
    token: str | bool | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    progress: bool | None = None,
) -> HubFiles:
    """Returns the wanted files, downloading what is missing.

    Args:
        address: What is wanted.
        cache_dir: The hub's cache; None for its own rule (``HF_HUB_CACHE``, ``HF_HOME``).
        local_dir: Put the files into this folder instead, under their own names.
        token: An access token; None for the hub's own rules.
        force_download: Fetch even what is there.
        local_files_only: Touch no network.
        progress: Show a bar; None for on a terminal only. (Versions of the client before 1.0 decide alone.)

    Raises:
        ModelNotFoundError: No such repository, revision or file, or several models match.
        ModelDownloadError: The network, the token or the offline mode prevents it.
        MissingDependencyError: ``huggingface_hub`` is not installed.
    """
    hub = require("huggingface_hub", f"{address} (the Hugging Face Hub)")
    for module in ("constants", "errors", "utils"):
        require(f"huggingface_hub.{module}", f"{address} (the Hugging Face Hub)")
    if not force_download:
        cached = find_in_hub_cache(address, cache_dir=cache_dir, local_dir=local_dir)
        if cached is not None:
            return cached
    offline = local_files_only or bool(hub.constants.HF_HUB_OFFLINE)
    if offline:
        why = "local_files_only" if local_files_only else "HF_HUB_OFFLINE"
        raise ModelDownloadError(
            f"{address} is to be fetched from the Hugging Face Hub, and {why} forbids it"
        )
    options: dict[str, Any] = {"revision": address.revision, "token": token, "force_download": force_download}
    options |= {"cache_dir": cache_dir, "local_dir": local_dir}
    if "tqdm_class" in inspect.signature(hub.hf_hub_download).parameters:
        options["tqdm_class"] = _bar_class(hub, progress)

    def download(names: tuple[str, ...]) -> HubFiles:
        logger.info("fetching %s from %s", ", ".join(names), address.repo)
        paths = tuple(Path(hub.hf_hub_download(address.repo, name, **options)) for name in names)
        return HubFiles(address, paths, names, downloaded=True)

    with translated(address, hub):
        if not address.globbed:
            try:
                return download(split_names(address.pattern))
            except hub.errors.EntryNotFoundError as error:
                if isinstance(error, hub.errors.LocalEntryNotFoundError):
                    raise
        names = hub.HfApi(token=token).list_repo_files(address.repo, revision=address.revision)
        return download(select_files(names, address))


def _bar_class(hub: Any, progress: bool | None) -> type[Any]:
    show = shown(progress)

    class Bar(hub.utils.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"disable": not show}))

    return Bar


def remove_from_hub_cache(files: HubFiles) -> int:
    """Deletes these files from the hub's cache, and their data unless another revision uses it.

    Returns:
        The bytes freed.
    """
    freed = 0
    for path in files.paths:
        data = path.resolve()
        size = data.stat().st_size
        path.unlink()
        repo = next((parent.parent for parent in path.parents if parent.name == "snapshots"), None)
        if data == path:
            freed += size
        elif repo is not None and not any(link.resolve() == data for link in _links(repo)):
            data.unlink()
            freed += size
    return freed


def _links(repo: Path) -> list[Path]:
    return [link for link in (repo / "snapshots").rglob("*.gguf") if link.is_symlink()]
