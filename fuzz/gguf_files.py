"""Damaged GGUF files of every kind, opened and used."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from fuzz import media
from fuzz.files import KINDS
from fuzz.mutations import mutate
from fuzz.projectors import PROJECTORS

__all__ = ["FILES", "cases", "run"]

#: How a sound file of each kind is made.
FILES = {**KINDS, **PROJECTORS}
_bases = {kind: make() for kind, make in FILES.items()}
MESSAGES = [{"role": "user", "content": "the a b <|im_end|>"}]


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases, the kinds in turn."""
    order = kinds or list(FILES)
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
        "draft": {"server_options": {"spec-draft-model": str(path), "spec-type": "draft-simple"}},
    }.get(kind, {"mmproj": str(path)})
    part = None
    if kind in PROJECTORS:
        part = media.sound(media.wav(0.1)) if kind == "ultravox" else media.picture(media.png(40, 16))
    _use(base, part, **options)


def _use(path: Path, part: dict[str, Any] | None = None, *, embed: bool = False, **options: Any) -> None:
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
            if part is not None:
                messages = [{"role": "user", "content": [part, {"type": "text", "text": "a"}]}]
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
