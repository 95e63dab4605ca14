"""Whether sound GGUF files are a model that can be loaded for inference."""

from __future__ import annotations

from collections.abc import Sequence

from llamacpp_core.errors import ModelLoadError
from llamacpp_core.models.gguf.header import GGUFHeader
from llamacpp_core.models.metadata import metadata_problem

__all__ = ["check_loadable"]

_OTHER_TYPES = {
    "adapter": "it is a LoRA adapter: load it beside its base model",
    "mmproj": "it is an image or audio projector: load it beside its language model",
    "imatrix": "it is an importance matrix for quantising, not a model",
}


def check_loadable(headers: Sequence[GGUFHeader]) -> None:
    """Check that these files are one whole model.

    Args:
        headers: The header of every file, in order.

    Raises:
        ModelLoadError: They are something else, or do not belong together.
    """
    first = headers[0]
    path = str(first.path)
    if first.type in _OTHER_TYPES or first.architecture == "clip":
        reason = _OTHER_TYPES.get(first.type, _OTHER_TYPES["mmproj"])
        raise ModelLoadError(f"{path} is not a model: {reason}", path=path)
    if first.architecture is None:
        raise ModelLoadError(f"{path} is not a model: its metadata names no general.architecture", path=path)
    for key, value in first.metadata.items():
        if problem := metadata_problem(key, value):
            raise ModelLoadError(f"{path} cannot be loaded: its {key} is wrong: {problem}", path=path)
    if first.split_count != len(headers):
        raise ModelLoadError(
            f"{path} is part {first.split_no + 1} of a model split into {first.split_count} files:"
            " give the first one under its original name (…-00001-of-…), with the others beside it",
            path=path,
        )
    for number, header in enumerate(headers):
        if header.split_count != len(headers) or header.split_no != number:
            raise ModelLoadError(
                f"{header.path} says it is part {header.split_no + 1} of {header.split_count}, its name says"
                f" {number + 1} of {len(headers)}",
                path=str(header.path),
            )
    if not any(header.tensors for header in headers):
        raise ModelLoadError(f"{path} holds a vocabulary but no weights", path=path)
