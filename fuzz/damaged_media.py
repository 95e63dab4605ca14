"""Damaged pictures and sounds of every format, sent to a small model that takes them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fuzz import files
from fuzz.media import flac, picture, png, sound, wav
from fuzz.projectors import audio_projector, image_projector

__all__ = ["cases", "run"]


def _pillow(form: str, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    colours = bytes(x * y % 256 for y in range(40) for x in range(3 * 24))
    image = Image.frombytes("RGB", (24, 40), colours)
    if form == "GIF":
        image = image.quantize(16)
    image.save(out, form, **options)
    return out.getvalue()


_FORMATS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(24, 40),
    "palette": lambda: _pillow("PNG", optimize=True),
    "jpeg": lambda: _pillow("JPEG", quality=60),
    "progressive": lambda: _pillow("JPEG", progressive=True, subsampling=2),
    "gif": lambda: _pillow("GIF"),
    "bmp": lambda: _pillow("BMP"),
    "webp": lambda: _pillow("WEBP"),
    "wav": lambda: wav(0.05),
    "mp3": lambda: (b"\xff\xfb\x90\x64" + bytes(413)) * 4,
    "flac": flac,
}
_SOUNDS = ("wav", "mp3", "flac")


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases, the formats in turn."""
    order = kinds or list(_FORMATS)
    return [f"{order[i % len(order)]}:{seed + i}" for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Sends the case's file; another request must be answered afterwards."""
    from llamacpp_core import LlamaCppError

    kind, _, seed = case.partition(":")
    data = _FORMATS[kind]()
    if int(seed) >= 0:
        data = _damaged(data, random.Random(case))
    llm = _model(kind in _SOUNDS)
    part = sound(data, "mp3" if kind == "mp3" else "wav") if kind in _SOUNDS else picture(data)
    messages: list[Any] = [{"role": "user", "content": [part, {"type": "text", "text": "a"}]}]
    try:
        llm.create_chat_completion(messages, max_tokens=1)
    except LlamaCppError:
        llm.create_completion("the", max_tokens=1)
        raise


@lru_cache(maxsize=2)
def _model(hears: bool) -> Any:
    """A small model with a projector, which the process keeps."""
    import tempfile

    from llamacpp_core import Llama

    with tempfile.TemporaryDirectory() as folder:
        path, beside = Path(folder, "model.gguf"), Path(folder, "projector.gguf")
        path.write_bytes(files.chat(1024).pack())
        beside.write_bytes((audio_projector() if hears else image_projector()).pack())
        return Llama(path, mmproj=beside, n_ctx=1024, n_parallel=1, n_threads=1)


def _damaged(data: bytes, numbers: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(numbers.choice((1, 1, 2, 4, 16))):
        at = numbers.randrange(min(len(out), numbers.choice((64, 64, len(out)))))
        way = numbers.randrange(6)
        if way == 0:
            out[at] = numbers.randrange(256)
        elif way == 1:
            out[at] ^= 1 << numbers.randrange(8)
        elif way == 2:
            out[at : at + 4] = numbers.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\1\0"))
        elif way == 3:
            out[at:at] = out[at : at + numbers.randrange(1, 40)]
        elif way == 4 and len(out) > 80:
            del out[at : at + numbers.randrange(1, 40)]
        elif len(out) > 80 and numbers.random() < 0.3:
            del out[numbers.randrange(40, len(out)) :]
    return bytes(out)
