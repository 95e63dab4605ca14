"""The fuzzer's tiny projectors, pictures and sounds, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # last, so that an installed package is not hidden

from fuzz.media import picture, png, sound, wav
from fuzz.projectors import audio_projector, image_projector

__all__ = ["audio_projector", "image_projector", "picture", "png", "sound", "wav"]
