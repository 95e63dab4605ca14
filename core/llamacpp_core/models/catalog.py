"""The models that have a short name: ``catalog.toml`` as typed entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from llamacpp_core.errors import ModelNotFoundError

__all__ = [
    "CatalogEntry",
    "HubSource",
    "ModelKind",
    "WheelSource",
    "find_entry",
    "load_catalog",
    "unknown_model",
]

ModelKind = Literal["chat", "embedding", "rerank"]


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A model inside a package, fetched by name with the package client.

    Attributes:
        requirement: ``name==version``.
        wheel_sha256: Checksum of the wheel.
        wheel_size: Bytes of the wheel.
        member: Path of the model file inside it.
        member_sha256: Checksum of that file.
        member_size: Bytes of that file.
        convert: ``"bert"`` when the member is safetensors of a BERT model to be converted to GGUF.
    """

    requirement: str
    wheel_sha256: str
    wheel_size: int
    member: str
    member_sha256: str
    member_size: int
    convert: Literal["bert"] | None = None

    def __str__(self) -> str:
        return f"package {self.requirement}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A GGUF file on the Hugging Face Hub; nothing is pinned.

    Attributes:
        repo: ``owner/name``.
        file: File name in the repository.
    """

    repo: str
    file: str

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.file}"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One named model.

    Attributes:
        name: Its short name.
        kind: ``"chat"``, ``"embedding"`` or ``"rerank"``.
        description: One line.
        license: The license of the weights.
        upstream: The original model's name.
        parameters: Size class, such as ``"135M"``.
        quantization: Type of the weights.
        size: Bytes on disk, rounded where nothing pins them.
        source: Where it is fetched.
        query_prefix: What its authors put in front of a query.
        document_prefix: What its authors put in front of a document.
        max_tokens: Where the reference implementation cuts an embedding model's input; None for the
            context it was trained with.
    """

    name: str
    kind: ModelKind
    description: str
    license: str
    upstream: str
    parameters: str
    quantization: str
    size: int
    source: WheelSource | HubSource
    query_prefix: str = ""
    document_prefix: str = ""
    max_tokens: int | None = None


@cache
def load_catalog(path: Path | None = None) -> Mapping[str, CatalogEntry]:
    """Reads the catalog.

    Args:
        path: A file laid out like the one in this package; None for that one.

    Returns:
        The entries by name, in the order of the file.
    """
    import tomllib

    text = (path or Path(__file__).with_name("catalog.toml")).read_text("utf-8")
    return {name: _entry(name, table) for name, table in tomllib.loads(text).items()}


def _entry(name: str, table: dict[str, Any]) -> CatalogEntry:
    source = dict(table.pop("source"))
    kind = source.pop("type")
    return CatalogEntry(
        name, source=WheelSource(**source) if kind == "wheel" else HubSource(**source), **table
    )


def find_entry(name: str) -> CatalogEntry | None:
    """The entry of that name, in any case; None when there is none."""
    return load_catalog().get(name.lower())


def unknown_model(name: str) -> ModelNotFoundError:
    """The error for a string that is not a path, a catalog name or an ``hf:`` address."""
    names = list(load_catalog())
    near = _near(name.lower(), names)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if name.startswith(("http://", "https://")):
        hint = " Download the file and give its path, or write hf:owner/repo:file.gguf."
    elif name.count("/") == 1 and " " not in name and not near:
        hint = f" For a Hugging Face repository write 'hf:{name}:*Q4_K_M.gguf'."
    return ModelNotFoundError(
        f"no model {name!r}: it is neither a file nor a catalog name nor 'hf:owner/repo:file.gguf'.{hint}"
        f" The catalog has: {', '.join(names)}"
    )


def _near(wanted: str, names: list[str]) -> list[str]:
    """Up to three names that resemble `wanted`, as a whole or in their beginning."""
    from difflib import SequenceMatcher

    def likeness(name: str) -> float:
        parts = (name, name[: len(wanted)])
        return max(SequenceMatcher(None, wanted, part, autojunk=False).ratio() for part in parts)

    return [name for name in sorted(names, key=likeness, reverse=True)[:3] if likeness(name) >= 0.7]
