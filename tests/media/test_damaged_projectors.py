"""Projectors of strangers that ended the process: each is refused when it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media_files import audio_projector, image_projector

from llamacpp_core import Llama, ModelLoadError
from llamacpp_core.models.loadable import check_companion

pytestmark = pytest.mark.changes("media")

I32 = 26
#: Numbers in an embedding of the chat model.
WIDTH = 576


def set_entry(file: Any, key: str, value: Any) -> None:
    next(entry for entry in file.entries if entry.key == key).value = value


def set_tensor(file: Any, name: str, **changes: Any) -> None:
    tensor = next(tensor for tensor in file.tensors if tensor.name == name)
    for field, value in changes.items():
        setattr(tensor, field, value)


def picture() -> Any:
    return image_projector("pixtral", WIDTH)


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any], None], str]] = {
    "of another kind": (
        picture,
        lambda file: set_entry(file, "clip.projector_type", "mlp"),
        "lacks a tensor",
    ),
    "and without its width": (
        lambda: image_projector("idefics3", WIDTH),
        lambda file: set_entry(file, "clip.projector_type", "mlp"),
        "lacks a tensor",
    ),
    "integer weights": (picture, lambda file: set_tensor(file, "mm.1.weight", type=I32), "type I32"),
    "an empty tensor": (
        picture,
        lambda file: set_tensor(file, "mm.1.weight", shape=[WIDTH, 0], data=b""),
        "holds nothing",
    ),
    "no layers": (
        lambda: audio_projector(WIDTH),
        lambda file: set_entry(file, "clip.audio.block_count", 0),
        "block_count is 0",
    ),
    "a huge stack": (
        lambda: audio_projector(WIDTH),
        lambda file: set_entry(file, "clip.audio.projector.stack_factor", 2**30),
        "at most 1024",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_projectors_that_cannot_work(smollm2_path: Path, tmp_path: Path, case: str) -> None:
    make, damage, message = CASES[case]
    file = make()
    damage(file)
    path = tmp_path / "bad.gguf"
    path.write_bytes(file.pack())
    with pytest.raises(ModelLoadError, match=message):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, mmproj=path)


def test_kinds_without_layers_pass_the_gate(tmp_path: Path) -> None:
    file = picture()
    set_entry(file, "clip.vision.block_count", 0)
    kind = next(entry for entry in file.entries if entry.key == "clip.projector_type")
    kind.key, kind.value = "clip.vision.projector_type", "gemma4uv"
    path = tmp_path / "unified.gguf"
    path.write_bytes(file.pack())
    assert check_companion(path, "projector").architecture == "clip"
