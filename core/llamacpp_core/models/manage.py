"""What ``llamacpp models`` does, as functions: list, pull, info, remove."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from llamacpp_core.errors import InvalidParameterError, MissingDependencyError, ModelNotFoundError
from llamacpp_core.models import cache, hub
from llamacpp_core.models.catalog import CatalogEntry, HubSource, find_entry, load_catalog, unknown_model
from llamacpp_core.models.gguf.header import GGUFHeader, read_gguf_header
from llamacpp_core.models.memory import kv_cache_bytes, kv_is_upper_bound, weights_bytes
from llamacpp_core.models.resolve import ResolvedModel, resolve_model
from llamacpp_core.models.wheel_models import cached_files

__all__ = ["ContextMemory", "ListedModel", "ModelFacts", "info", "list_models", "pull", "remove"]

_CONTEXTS = (2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model of the catalog, and whether it is on disk.

    Attributes:
        entry: What the catalog says.
        path: Its file on disk; None when it has to be fetched.
    """

    entry: CatalogEntry
    path: Path | None

    @property
    def cached(self) -> bool:
        """Whether it is on disk."""
        return self.path is not None


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """Memory for one size of context.

    Attributes:
        n_ctx: Tokens of context, of all sequences together.
        kv_bytes: Bytes of the KV cache in f16.
        total_bytes: Weights and KV cache; buffers for computing come on top.
    """

    n_ctx: int
    kv_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its catalog entry and its files describe it; None where neither says.

    Attributes:
        name: As in :class:`ResolvedModel`.
        kind: ``"chat"``, ``"embedding"`` or ``"rerank"``.
        source: Where it comes from.
        license: The license of the weights.
        path: The first file; None when it has not been fetched.
        files: Every file.
        size_bytes: Bytes on disk (or to be fetched).
        architecture: ``"llama"``, ``"bert"``, ...
        model_name: The name in the file.
        n_params: Number of weights.
        quantization: Type of most weights.
        weights_bytes: Bytes of all tensors.
        context_length: Tokens of context it was trained with.
        embedding_size: Width of its vectors.
        n_layers: Number of layers.
        vocab_size: Number of tokens.
        chat_template: Whether the file holds a chat template.
        memory: Memory by size of context, up to the trained one; empty for models without a KV cache.
        memory_is_upper_bound: Whether sliding windows or recurrent layers make the true figures smaller.
        query_prefix: As in :class:`ResolvedModel`.
        document_prefix: As in :class:`ResolvedModel`.
    """

    name: str
    kind: str
    source: str
    license: str | None
    path: Path | None
    files: tuple[Path, ...]
    size_bytes: int
    architecture: str | None = None
    model_name: str | None = None
    n_params: int | None = None
    quantization: str | None = None
    weights_bytes: int | None = None
    context_length: int | None = None
    embedding_size: int | None = None
    n_layers: int | None = None
    vocab_size: int | None = None
    chat_template: bool | None = None
    memory: tuple[ContextMemory, ...] = ()
    memory_is_upper_bound: bool = False
    query_prefix: str = ""
    document_prefix: str = ""


def list_models() -> list[ListedModel]:
    """Every model of the catalog, in its order; touches no network."""
    return [ListedModel(entry, _cached_path(entry)) for entry in load_catalog().values()]


def pull(
    name: str | os.PathLike[str],
    *,
    progress: bool | None = None,
    force: bool = False,
    verify: bool = False,
    dtype: str | None = None,
    token: str | bool | None = None,
) -> ResolvedModel:
    """Fetches a model unless it is on disk; see :func:`resolve_model` for arguments and errors.

    Args:
        name: A catalog name or a Hugging Face address (a path is only checked).
        progress: Show progress on stderr; None for on a terminal only.
        force: Fetch it again even when it is there, which also brings a newer file of the hub.
        verify: Check the whole file against its checksum, where it has one.
        dtype: Type of the weights of a model that is converted here.
        token: Token for the Hugging Face Hub.
    """
    return resolve_model(
        name, progress=progress, force_download=force, verify=verify, dtype=dtype, token=token
    )


def info(name: str | os.PathLike[str]) -> ModelFacts:
    """Describes a model; fetches nothing, so of a model not on disk only what the catalog knows.

    Raises:
        ModelNotFoundError: There is no such model, or a ``hf:`` address that is not on disk.
        ModelLoadError: Its file is not usable.
    """
    entry = find_entry(name) if isinstance(name, str) else None
    if entry is not None and _cached_path(entry) is None:
        return ModelFacts(
            name=entry.name,
            kind=entry.kind,
            source=str(entry.source),
            license=entry.license,
            path=None,
            files=(),
            size_bytes=entry.size,
            quantization=entry.quantization,
            query_prefix=entry.query_prefix,
            document_prefix=entry.document_prefix,
        )
    if (
        isinstance(name, str)
        and name.startswith("hf:")
        and hub.find_in_hub_cache(hub.parse_address(name)) is None
    ):
        raise ModelNotFoundError(f"{name} is not on disk; fetch it with: llamacpp models pull {name}")
    if entry is not None and not isinstance(entry.source, HubSource):
        return _describe(_resolved_from_cache(entry))
    return _describe(resolve_model(name, progress=False, local_files_only=True))


def remove(name: str) -> int:
    """Deletes a fetched model; returns the bytes freed.

    Args:
        name: A catalog name or a Hugging Face address.

    Raises:
        ModelNotFoundError: It is not on disk, or no such model is known.
        InvalidParameterError: It is a path: your own files are not touched.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidParameterError(
            f"name={name!r} is neither a catalog name nor 'hf:owner/repo:file.gguf'", parameter="name"
        )
    entry = find_entry(name)
    if entry is None and not name.startswith("hf:"):
        if Path(name).expanduser().exists():
            raise InvalidParameterError(f"{name} is a file of your own; delete it yourself", parameter="name")
        raise unknown_model(name)
    if entry is not None and not isinstance(entry.source, HubSource):
        freed = cache.remove_entry(cache.cache_dir() / entry.name)
    else:
        address = hub.parse_address(name if entry is None else str(entry.source))
        found = hub.find_in_hub_cache(address)
        freed = hub.remove_from_hub_cache(found) if found is not None else 0
    if not freed:
        raise ModelNotFoundError(f"{name} is not on disk")
    return freed


def _cached_path(entry: CatalogEntry) -> Path | None:
    if isinstance(entry.source, HubSource):
        try:
            found = hub.find_in_hub_cache(hub.make_address(entry.source.repo, entry.source.file, None))
        except MissingDependencyError:
            return None
        return found.paths[0] if found is not None else None
    files = cached_files(entry, entry.source)
    return next((file.path for file in files if file.path.is_file()), None)


def _resolved_from_cache(entry: CatalogEntry) -> ResolvedModel:
    path = _cached_path(entry)
    dtype = (
        path.stem.rpartition("-")[2] if path is not None and getattr(entry.source, "convert", None) else None
    )
    return resolve_model(entry.name, progress=False, local_files_only=True, dtype=dtype)


def _describe(model: ResolvedModel) -> ModelFacts:
    headers = [read_gguf_header(file) for file in model.files]
    header = headers[0]
    weights = weights_bytes(*headers)
    return ModelFacts(
        name=model.name,
        kind="embedding" if model.embedding else "rerank" if model.rerank else "chat",
        source=model.source,
        license=model.license,
        path=model.path,
        files=model.files,
        size_bytes=sum(header.file_size for header in headers),
        architecture=header.architecture,
        model_name=header.name,
        n_params=sum(header.n_params for header in headers),
        quantization=header.file_type,
        weights_bytes=weights,
        context_length=header.context_length,
        embedding_size=header.embedding_size,
        n_layers=header.block_count,
        vocab_size=header.vocab_size,
        chat_template=bool(header.chat_templates),
        memory=tuple(_memory(header, weights)),
        memory_is_upper_bound=kv_is_upper_bound(header),
        query_prefix=model.query_prefix,
        document_prefix=model.document_prefix,
    )


def _memory(header: GGUFHeader, weights: int) -> list[ContextMemory]:
    trained = header.context_length or 0
    sizes = sorted({n for n in _CONTEXTS if n < trained} | ({trained} if trained else set()))
    rows = ((n_ctx, kv_cache_bytes(header, n_ctx)) for n_ctx in sizes)
    return [ContextMemory(n_ctx, kv, weights + kv) for n_ctx, kv in rows if kv]
