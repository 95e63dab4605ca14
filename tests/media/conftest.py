from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from media_files import audio_projector, image_projector

from llamacpp_core import Llama

#: Numbers in an embedding of the chat model.
WIDTH = 576
MAKERS = {
    "mlp": lambda: image_projector("mlp", WIDTH, side=56),
    "tiles": lambda: image_projector("mlp", WIDTH, side=56, tiles=True),
    "gemma3": lambda: image_projector("gemma3", WIDTH, side=56),
    "idefics3": lambda: image_projector("idefics3", WIDTH, side=56),
    "pixtral": lambda: image_projector("pixtral", WIDTH, side=56),
    "narrow": lambda: image_projector("mlp", 512),
    "ultravox": lambda: audio_projector(WIDTH),
}


@pytest.fixture(scope="session")
def projector(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A projector with random weights, by the name of its kind."""
    folder = tmp_path_factory.mktemp("projectors")

    def make(kind: str) -> Path:
        path = folder / f"{kind}.gguf"
        if not path.exists():
            path.write_bytes(MAKERS[kind]().pack())
        return path

    return make


@pytest.fixture(scope="module")
def seeing(smollm2_path: Path, projector: Callable[[str], Path]) -> Iterator[Llama]:
    """A model that takes pictures: 16 tokens for each."""
    with Llama(smollm2_path, n_ctx=2048, mmproj=projector("mlp")) as llm:
        yield llm


@pytest.fixture(scope="module")
def hearing(smollm2_path: Path, projector: Callable[[str], Path]) -> Iterator[Llama]:
    """A model that takes sounds: 75 tokens for each 30 seconds begun."""
    with Llama(smollm2_path, n_ctx=2048, mmproj=projector("ultravox")) as llm:
        yield llm
