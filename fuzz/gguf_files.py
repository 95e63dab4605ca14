"""Damaged GGUF files of every kind, opened and used."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from fuzz.files import KINDS
from fuzz.mutations import mutate

__all__ = ["cases", "run"]

_bases = {kind: make() for kind, make in KINDS.items()}
MESSAGES = [{"role": "user", "content": "the a b <|im_end|>"}]


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases, the kinds in turn."""
    order = kinds or list(KINDS)
    return [f"{order[i % len(order)]}:{seed + i}" for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Writes the case's file, loads it, and uses it."""
    kind, _, seed = case.partition(":")
    path = folder / "case.gguf"
    data = mutate(_bases[kind], random.Random(case)) if int(seed) >= 0 else _bases[kind].pack()
    path.write_bytes(data)
    if kind == "lowlevel":
        _lowlevel(path)
        return
    if kind in ("chat", "experts", "recurrent", "encoder"):
        _use(path, embed=kind == "encoder")
        return
    base = folder / "base.gguf"
    base.write_bytes(_bases["chat"].pack())
    options: dict[str, Any] = {
        "lora": {"lora": [str(path)]},
        "control vector": {"server_options": {"control-vector": str(path)}},
        "projector": {"mmproj": str(path)},
        "draft": {"server_options": {"spec-draft-model": str(path), "spec-type": "draft-simple"}},
    }[kind]
    _use(base, picture=kind == "projector", **options)


def _use(path: Path, *, embed: bool = False, picture: bool = False, **options: Any) -> None:
    from llamacpp_core import Llama, LlamaCppError

    with Llama(path, n_ctx=256, n_parallel=2, n_threads=1, **options) as llm:
        llm.tokenize("the a é b".encode(), special=True)
        if embed:
            llm.create_embedding(["the a", "b"])
            return
        llm.create_completion("the", max_tokens=3, temperature=0)
        if not llm.info.lora:
            llm.load_state(llm.save_state())
        try:
            messages: list[Any] = [*MESSAGES]
            if picture:
                messages = [{"role": "user", "content": [_picture(), {"type": "text", "text": "a"}]}]
            llm.create_chat_completion(messages, max_tokens=3)
        except LlamaCppError:
            llm.create_completion("the", max_tokens=2)


def _lowlevel(path: Path) -> None:
    from llamacpp_core.lowlevel import Batch, Model, Sampler

    with Model(path) as model, model.create_context(n_ctx=64) as context:
        tokens = model.tokenize("the a b") or [0]
        batch = Batch(len(tokens))
        batch.add_tokens(tokens)
        context.decode(batch)
        with Sampler(model).greedy() as sampler:
            sampler.sample(context)


def _picture() -> dict[str, Any]:
    import base64
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(16))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"},
    }
