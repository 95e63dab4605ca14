"""Saved states with bytes changed or missing and a checksum that is right again."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from fuzz.files import KINDS

__all__ = ["cases", "run"]

_bases = {kind: KINDS[kind]().pack() for kind in ("chat", "recurrent")}


def cases(n: int, seed: int, kinds: list[str] | None = None) -> list[str]:
    """Names of ``n`` cases."""
    return [f"{'chat' if i % 3 else 'recurrent'}:{seed + i}" for i in range(n)]


def run(case: str, folder: Path) -> None:
    """Restores damaged states of all kinds into one model; each is refused or works."""
    from llamacpp_core import Llama, LlamaCppError

    numbers = random.Random(case)
    path = folder / "model.gguf"
    path.write_bytes(_bases[case.partition(":")[0]])
    refusal: LlamaCppError | None = None
    with Llama(path, n_ctx=256, n_parallel=2, n_threads=1) as llm:
        llm.create_completion("the a b the a b", max_tokens=4)
        engine = llm.save_state()
        llm.eval(llm.tokenize(b"the a b"))
        for state in (engine, llm.save_state()):
            for _ in range(6):
                try:
                    _restore(llm, state, numbers)
                except LlamaCppError as error:
                    refusal = error
                llm.create_completion("the a b the", max_tokens=2)
                llm.reset()
                llm.eval(llm.tokenize(b"the a"))
    if refusal is not None:
        raise refusal


def _restore(llm, state, numbers: random.Random) -> None:  # type: ignore[no-untyped-def]
    import dataclasses

    from llamacpp_core.llama.saved_state import LlamaState

    changed = dataclasses.replace(state, data=_damaged(state.data, numbers))
    if state.tokens and numbers.random() < 0.4:
        more = numbers.choice((state.tokens[:-1], state.tokens * 2, (*state.tokens, 5), ()))
        changed = dataclasses.replace(changed, tokens=more)
    llm.load_state(LlamaState.from_bytes(changed.to_bytes()))


def _damaged(data: bytes, numbers: random.Random) -> bytes:
    way = numbers.randrange(5)
    if way == 0:
        return data[: numbers.randrange(len(data) + 1)]
    if way == 1:
        return data + bytes(numbers.randrange(1, 100))
    out = bytearray(data)
    if way == 2:
        at = 4 * numbers.randrange(min(len(out) // 4, 64))
        out[at : at + 4] = struct.pack("<I", numbers.choice((0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1)))
    else:
        for _ in range(numbers.choice((1, 3, 30))):
            out[numbers.randrange(min(len(out), 400 if way == 3 else len(out)))] = numbers.randrange(256)
    return bytes(out)
