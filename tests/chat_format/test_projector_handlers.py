"""llama-cpp-python's handlers of pictures name a projector, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, LlamaCppError, UnsupportedCapabilityError, chat_format
from llamacpp_core.llama.settings import read_settings

NAMES = [name for name in chat_format.__all__ if name.endswith("ChatHandler")]


def test_all_names_are_there() -> None:
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_they_become_mmproj(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mmproj.gguf"
    handler = getattr(chat_format, name)(clip_model_path=path, verbose=False)
    with caplog.at_level(logging.WARNING, logger="llamacpp_core"):
        settings, options = read_settings({"chat_handler": handler})
    assert settings.chat_handler is None
    assert options == {"mmproj": str(path)}
    assert name in caplog.text
    assert "mmproj=" in caplog.text


def test_mistakes_say_mmproj(tmp_path: Path) -> None:
    make: Any = chat_format.Llava15ChatHandler
    for call in (
        lambda: make(5),
        lambda: make("x.gguf", use_gpu=True),
        lambda: read_settings({"chat_handler": make("x.gguf"), "mmproj": "y.gguf"}),
    ):
        with pytest.raises(InvalidParameterError, match="mmproj"):
            call()
    for call in (lambda: make.from_pretrained("a/b", "*mmproj*"), lambda: make("x.gguf")(messages=[])):
        with pytest.raises(UnsupportedCapabilityError, match="mmproj"):
            call()


def test_a_missing_projector_is_named(smollm2_path: Path) -> None:
    handler = chat_format.Qwen25VLChatHandler("/no/such.gguf")
    with pytest.raises(LlamaCppError, match=r"such\.gguf"):
        Llama(smollm2_path, n_ctx=256, chat_handler=handler)
