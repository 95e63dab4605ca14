"""Pictures and sounds as files, and as parts of messages."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any

__all__ = ["flac", "picture", "png", "sound", "wav"]


def png(width: int, height: int, shade: int = 0, *, says: tuple[int, int] | None = None) -> bytes:
    """A picture of stripes in the PNG format.

    Args:
        width: Pixels in a row.
        height: Rows.
        shade: Which stripes.
        says: The size in the header, where it is another one.
    """
    row = b"\0" + bytes((shade + i) % 256 for i in range(3 * width))
    header = struct.pack(">IIBBBBB", *(says or (width, height)), 8, 2, 0, 0, 0)
    packer = zlib.compressobj()
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wav(seconds: float, rate: int = 16000, pitch: float = 440.0) -> bytes:
    """A tone in the WAV format, one channel of 16 bits."""
    times = range(int(seconds * rate))
    data = b"".join(struct.pack("<h", int(8000 * math.sin(math.tau * pitch * t / rate))) for t in times)
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def flac(frames: int = 2) -> bytes:
    """Silence in the FLAC format: frames of 4,096 samples at 16 kHz, each a constant."""
    facts = (16000 << 44) | (0 << 41) | (15 << 36) | (4096 * frames)
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + facts.to_bytes(8, "big") + bytes(16)
    out = b"fLaC" + struct.pack(">I", 0x80000000 | len(info)) + info
    for number in range(frames):
        head = bytes((0xFF, 0xF8, 0xC5, 0x08, number))
        head += bytes((_remainder(head, 8, 0x07),)) + bytes(3)  # a constant subframe of value 0
        out += head + struct.pack(">H", _remainder(head, 16, 0x8005))
    return out


def _remainder(data: bytes, bits: int, polynomial: int) -> int:
    """A cyclic redundancy check, most significant bit first."""
    rest = 0
    for byte in data:
        rest ^= byte << (bits - 8)
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest >> (bits - 1) else 0)) & ((1 << bits) - 1)
    return rest


def picture(data: bytes, kind: str = "image/png") -> dict[str, Any]:
    """A picture as a part of a message."""
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{kind};base64,{base64.b64encode(data).decode()}"},
    }


def sound(data: bytes, form: str = "wav") -> dict[str, Any]:
    """A sound as a part of a message."""
    return {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(data).decode(), "format": form},
    }
