"""Documents reranked per second by a cross-encoder, against sentence-transformers' CrossEncoder.

    .venv/bin/python benchmarks/reranker.py --peers PYTHON
    .venv/bin/python benchmarks/reranker.py --peers PYTHON --ours a.gguf --cross-encoder FOLDER

``--peers`` names the Python of an environment with sentence-transformers. Without ``--ours`` both sides get
all-MiniLM-L6-v2 with the same head of random weights: how fast it is does not depend on the weights. The
correlation is that of the scores with those of sentence-transformers in f32. The ratio is of documents per
second, so above 1 ours is faster.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from _pairs import Row, arguments, chosen, compare, in_turn, report
from _passages import passages, short_texts
from _peers import Worker

from llamacpp_core import Llama
from llamacpp_core.models import resolve_model

SCRIPT = Path(__file__).with_name("_reranker_side.py")
KINDS = {"f32": "sentence-transformers f32", "bf16": "sentence-transformers bf16"}
#: llama.cpp's number for the pooling of cross-encoders.
RANK = 4


def random_head(width: int) -> dict[str, Any]:
    """A head of random weights, by the names of its tensors."""
    random = np.random.default_rng(5)
    shapes = {"cls.weight": (width, width), "cls.bias": (width,)}
    shapes |= {"cls.output.weight": (1, width), "cls.output.bias": (1,)}
    return {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def with_head(encoder: Path, head: dict[str, Any], path: Path) -> Path:
    """Writes a cross-encoder of an encoder's file and a head."""
    source, writer = gguf.GGUFReader(encoder), gguf.GGUFWriter(path, "bert")
    replaced = {
        "bert.pooling_type": RANK,
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_sep_token": False,
    }
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind, item = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, replaced.get(field.name, field.contents()), kind, sub_type=item)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    for name, values in head.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def scores(llm: Llama, query: str, documents: list[str]) -> list[float]:
    """Ours, in the order of the documents."""
    found = {result["index"]: result["relevance_score"] for result in llm.rerank(query, documents)}
    return [found[i] for i in range(len(documents))]


def speed(llm: Llama, query: str, documents: list[str]) -> float:
    """Documents per second of ours."""
    start = time.perf_counter()
    llm.rerank(query, documents)
    return len(documents) / (time.perf_counter() - start)


def peer_speed(worker: Worker, query: str, documents: list[str]) -> float:
    """Documents per second of a peer."""
    return len(documents) / float(worker.call("seconds", query=query, documents=documents))


def agreement(name: str, ours: list[float], reference: list[float]) -> str:
    """The correlation of two lists of scores.

    Raises:
        SystemExit: The scores are of something else, so that their speed means nothing.
    """
    correlation = float(np.corrcoef(ours, reference)[0, 1])
    if correlation < 0.99:
        raise SystemExit(f"the scores of {name} are others: correlation {correlation:.3f} with the reference")
    return f"{correlation:.6f}"


def main() -> None:
    """Runs the comparison and prints a table."""
    parser = arguments(__doc__, pairs=5)
    parser.add_argument("--ours", metavar="FILE", help="our cross-encoder; needs --cross-encoder")
    parser.add_argument("--peers", metavar="PYTHON", help="the Python of the peers' environment")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"peers: some of {', '.join(KINDS)}")
    parser.add_argument("--cross-encoder", metavar="FOLDER", help="the peers' model; needs --ours")
    parser.add_argument("--short", type=int, default=200, help="short documents of a run")
    parser.add_argument("--long", type=int, default=48, help="long documents of a run")
    args = parser.parse_args()
    if not args.peers:
        parser.error("--peers is needed: a Python with sentence-transformers")
    if bool(args.ours) != bool(args.cross_encoder):
        parser.error("--ours and --cross-encoder must be the same model: give both or none")
    kinds = chosen(args.kinds, KINDS, "kind")
    query, rows, facts = passages(1)[0].question, {}, {}
    long = [passage.text for passage in passages(200)][: args.long]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path, head = args.ours, folder / "head.npz"
        if not path:
            weights = random_head(384)
            np.savez(head, **weights)
            encoder = resolve_model("all-minilm-l6-v2", dtype="f16").path
            path = with_head(Path(encoder), weights, folder / "cross-encoder.gguf")
        llm = stack.enter_context(Llama(path, n_threads=args.threads))
        told = {"model": args.cross_encoder, "head": str(head), "n_threads": llm.info.n_threads}
        peers = {
            kind: stack.enter_context(Worker(KINDS[kind], args.peers, SCRIPT, kind, json.dumps(told)))
            for kind in dict.fromkeys(["f32", *kinds])
        }
        for length, documents in {"short": short_texts(args.short), "long": long}.items():
            reference = peers["f32"].call("scores", query=query, documents=documents)
            facts[f"correlation, {length}"] = agreement("ours", scores(llm, query, documents), reference)
            sides: dict[str, Any] = {"ours": partial(speed, llm, query, documents)}
            sides |= {kind: partial(peer_speed, peers[kind], query, documents) for kind in kinds}
            got = in_turn(sides, args.pairs)
            for kind in kinds:
                row: Row = compare(got["ours"], got[kind])
                rows[f"{length} documents, {llm.info.quantization} / {KINDS[kind]}"] = row
    report(rows, "documents/s", args.json, threads=llm.info.n_threads, pairs=args.pairs, **facts)


if __name__ == "__main__":
    main()
