"""What a file that is not GGUF probably is, and what to do about it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["describe_bytes"]

_HTML_STARTS = (b"<!doctype html", b"<html", b"<?xml")
_OLD_GGML = (b"lmgg", b"fmgg", b"tjgg", b"algg", b"ggml", b"ggmf", b"ggjt", b"ggla")
_CONVERT = "convert it to GGUF first, or take a GGUF file of this model"


def describe_bytes(head: bytes, path: Path) -> str:
    """Says what the first bytes of a file look like.

    Args:
        head: The first bytes; a few hundred are enough.
        path: The file, for its suffix.

    Returns:
        A clause that ends with the fix where there is one.
    """
    text = head[:512].lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the model itself; run `git lfs pull`, or download the file"
    if text.startswith(_HTML_STARTS):
        return "it is a web page; download the file itself (log in first if the model is gated)"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return f"it looks like safetensors weights; {_CONVERT}"
    if head.startswith(b"PK\x03\x04"):
        kind = "PyTorch weights" if path.suffix in {".bin", ".pt", ".pth", ".ckpt"} else "a zip archive"
        return f"it looks like {kind}; {_CONVERT}"
    if head[:4] in _OLD_GGML:
        return "it is in the GGML format of before August 2023; take a GGUF file of this model"
    if head.startswith(b"\x80") and path.suffix in {".bin", ".pt", ".pth", ".ckpt"}:
        return f"it looks like a Python pickle of weights; {_CONVERT}"
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        return "it is a compressed archive; unpack it first"
    if text.startswith((b"{", b"[")):
        return "it looks like JSON, perhaps the error message of a failed download; fetch the file again"
    if not head[:512].strip(b"\0"):
        return "it begins with zeros, as an unfinished download does; fetch the file again"
    return f"it begins with {head[:8]!r}, a GGUF file with b'GGUF'"
