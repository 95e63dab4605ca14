"""Embeddings per second, and how near they are, against sentence-transformers and onnxruntime.

    .venv/bin/python benchmarks/embeddings.py --peers PYTHON
    .venv/bin/python benchmarks/embeddings.py --peers PYTHON --kinds f32,bf16 --ours all-minilm-l6-v2 a.gguf

``--peers`` names the Python of an environment with sentence-transformers, and with onnxruntime, onnx and
onnxscript for the kind "onnx". Short texts have 8 to 24 words, long ones 120 to 166. The ratio is of texts
per second, so above 1 ours is faster; the cosine is that of our vectors, and of the peers', to those of
sentence-transformers in f32, the least and the mean over all texts.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _pairs import Row, arguments, chosen, compare, in_turn, report
from _passages import passages, short_texts
from _peers import Worker

from llamacpp_core import Llama

SCRIPT = Path(__file__).with_name("_embedding_side.py")
KINDS = {
    "f32": "sentence-transformers f32",
    "bf16": "sentence-transformers bf16",
    "onnx": "onnxruntime f32",
}


def texts(n_short: int, n_long: int) -> dict[str, list[str]]:
    """Texts by length."""
    long = [passage.text for passage in passages(200) if len(passage.text.split()) >= 120]
    return {"short": short_texts(n_short), "long": long[:n_long]}


def speed(llm: Llama, some: list[str]) -> float:
    """Texts per second of ours."""
    start = time.perf_counter()
    llm.embed(some)
    return len(some) / (time.perf_counter() - start)


def peer_speed(worker: Worker, some: list[str]) -> float:
    """Texts per second of a peer."""
    return len(some) / float(worker.call("seconds", texts=some))


def nearness(name: str, vectors: Any, reference: Any) -> str:
    """The least and the mean cosine.

    Raises:
        SystemExit: The vectors are of something else, so that their speed means nothing.
    """
    a, b = np.asarray(vectors, np.float64), np.asarray(reference, np.float64)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    if cosines.min() < 0.98:
        raise SystemExit(f"the vectors of {name} are others: cosine {cosines.min():.3f} to the reference")
    return f"{cosines.min():.6f} least, {cosines.mean():.6f} mean"


def main() -> None:
    """Runs the comparison and prints a table."""
    parser = arguments(__doc__, pairs=5)
    parser.add_argument("--ours", nargs="*", default=["all-minilm-l6-v2"], help="names or files of our model")
    parser.add_argument("--peers", metavar="PYTHON", help="the Python of the peers' environment")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"peers: some of {', '.join(KINDS)}")
    parser.add_argument("--sentence-transformers", metavar="FOLDER", help="the peers' model")
    parser.add_argument("--short", type=int, default=400, help="short texts of a run")
    parser.add_argument("--long", type=int, default=64, help="long texts of a run")
    args = parser.parse_args()
    if not args.peers:
        parser.error("--peers is needed: a Python with sentence-transformers")
    kinds = chosen(args.kinds, KINDS, "kind")
    rows: dict[str, Row] = {}
    facts: dict[str, Any] = {}
    with ExitStack() as stack:
        ours = {name: stack.enter_context(Llama(name, n_threads=args.threads)) for name in args.ours}
        threads = next(iter(ours.values())).info.n_threads
        told = json.dumps({"model": args.sentence_transformers, "n_threads": threads})
        peers = {
            kind: stack.enter_context(Worker(KINDS[kind], args.peers, SCRIPT, kind, told))
            for kind in dict.fromkeys(["f32", *kinds])
        }
        for length, some in texts(args.short, args.long).items():
            reference = peers["f32"].call("vectors", texts=some)
            for name, llm in ours.items():
                label = f"ours {name} ({llm.info.quantization}), {length}"
                facts[f"cosine of {label}"] = nearness(name, llm.embed(some), reference)
            for kind in kinds:
                vectors = peers[kind].call("vectors", texts=some)
                facts[f"cosine of {KINDS[kind]}, {length}"] = nearness(KINDS[kind], vectors, reference)
            sides = {f"ours {name}": partial(speed, llm, some) for name, llm in ours.items()}
            sides |= {kind: partial(peer_speed, peers[kind], some) for kind in kinds}
            got = in_turn(sides, args.pairs)
            for name, llm in ours.items():
                for kind in kinds:
                    label = f"{length} texts, {name} {llm.info.quantization} / {KINDS[kind]}"
                    rows[label] = compare(got[f"ours {name}"], got[kind])
    report(rows, "texts/s", args.json, threads=threads, pairs=args.pairs, **facts)


if __name__ == "__main__":
    main()
