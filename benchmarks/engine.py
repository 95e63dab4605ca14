"""The engine against llama.cpp's own benchmark programs, and against itself in company.

    make bench-tools
    .venv/bin/python benchmarks/engine.py
    .venv/bin/python benchmarks/engine.py --rows depth,batched --pairs 3 --json depth.json

Rows, by their names for ``--rows``:

``stream``   one stream against ``llama-bench``, tokens generated per second
``at-once``  1, 8 and 32 requests at once against ``llama-batched-bench``, prompt and generated tokens
``depth``    reading 512 tokens and generating 64 after 512, 1,536 and 4,096 others, against
             ``llama-bench -d`` without flash attention and with it
``batched``  8 requests of 700 + 64 tokens at once, against ``llama-batched-bench`` without and with it
``models``   the chat model's stream with an embedder, and a reranker, in the same process that have worked
             before, and while the embedder indexes, against the stream of a process of its own
``busy``     the stream, and reading a prompt, beside another program that keeps a core busy, against alone
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from _pairs import Row, arguments, chosen, compare, find_tool, in_turn, paired, report, run_json
from _peers import Worker
from _speed import at_depth, concurrent_speed, stream_speed

from llamacpp_core import Llama

SIDE = Path(__file__).with_name("_chat_side.py")
SPIN = (sys.executable, "-c", "while True: pass")
FLASH = {"off": 0, "on": 1}


def stream(args: Any) -> dict[str, Row]:
    """One stream, with flash attention where both have the same."""
    with Llama(args.model, n_threads=args.threads, n_ctx=512) as llm:
        command = [find_tool("llama-bench"), "-m", llm.info.path, "-p", 0, "-n", 128, "-r", 1, "-o", "json"]
        command += ["-t", llm.info.n_threads, "-fa", "0,1"]

        def peer() -> dict[str, float]:
            return {f"{bool(row['flash_attn'])}": row["avg_ts"] for row in run_json(*command)}

        stream_speed(llm, 16)
        got = in_turn({"ours": lambda: stream_speed(llm, 128), "peer": peer}, args.pairs)
    return {
        f"one stream, 128 tokens / llama-bench -fa {number}": compare(
            got["ours"], [row[f"{bool(number)}"] for row in got["peer"]]
        )
        for number in FLASH.values()
    }


def _batched_bench(llm: Llama, n: int, n_prompt: int, n_gen: int, flash: str) -> Callable[[], float]:
    """Prompt and generated tokens per second that llama-batched-bench reports for the same work."""
    command = [
        find_tool("llama-batched-bench"), "-m", llm.info.path, "-c", llm.info.n_ctx * n,
        "-b", llm.info.n_batch, "-ub", llm.info.n_ubatch, "-npp", n_prompt, "-ntg", n_gen, "-npl", n,
        "-t", llm.info.n_threads, "-fa", flash, "--output-format", "jsonl",
    ]  # fmt: skip
    return lambda: float(run_json(*command)[-1]["speed"])


def at_once(args: Any) -> dict[str, Row]:
    """Many short requests."""
    rows = {}
    for n in args.concurrency:
        with Llama(args.model, n_threads=args.threads, n_ctx=512, n_parallel=n) as llm:
            ours = partial(concurrent_speed, llm, n, args.prompt, args.generate)
            peer = _batched_bench(llm, n, args.prompt, args.generate, "on")
            rows[f"{n} at once, {args.prompt} + {args.generate} / llama-batched-bench"] = paired(
                ours, peer, args.pairs
            )
    return rows


def batched(args: Any) -> dict[str, Row]:
    """8 requests as they come from retrieval."""
    n, n_prompt, n_gen = 8, 700, 64
    with Llama(args.model, n_threads=args.threads, n_ctx=1024, n_parallel=n) as llm:
        sides: dict[str, Callable[[], float]] = {
            flash: _batched_bench(llm, n, n_prompt, n_gen, flash) for flash in FLASH
        }
        sides["ours"] = partial(concurrent_speed, llm, n, n_prompt, n_gen)
        concurrent_speed(llm, n, 32, 8)
        got = in_turn(sides, args.pairs)
    return {
        f"{n} at once, {n_prompt} + {n_gen} / llama-batched-bench -fa {flash}": compare(
            got["ours"], got[flash]
        )
        for flash in FLASH
    }


def depth(args: Any) -> dict[str, Row]:
    """Prompts and streams after others."""
    n_prompt, n_gen = 512, 64
    rows = {}
    n_ctx = max(args.depths) + n_prompt + n_gen
    with Llama(args.model, n_threads=args.threads, n_ctx=n_ctx, n_parallel=1) as llm:
        at_depth(llm, 64, 64, 8)
        for tokens in args.depths:
            command = [find_tool("llama-bench"), "-m", llm.info.path, "-t", llm.info.n_threads, "-r", 1]
            command += ["-d", tokens, "-p", n_prompt, "-n", n_gen, "-fa", "0,1", "-o", "json"]
            got = in_turn(
                {
                    "ours": partial(at_depth, llm, tokens, n_prompt, n_gen),
                    "peer": partial(_depth_peer, command),
                },
                args.pairs,
            )
            for what in ("prompt", "decode"):
                for number in FLASH.values():
                    rows[f"{what} at depth {tokens:,} / llama-bench -fa {number}"] = compare(
                        [row[what] for row in got["ours"]], [row[f"{what} {number}"] for row in got["peer"]]
                    )
    return rows


def _depth_peer(command: list[Any]) -> dict[str, float]:
    out = {}
    for row in run_json(*command):
        what = "prompt" if row["n_prompt"] else "decode"
        out[f"{what} {int(bool(row['flash_attn']))}"] = row["avg_ts"]
    return out


def models(args: Any) -> dict[str, Row]:
    """The chat model in company. "Peer" is its process alone, or the embedder alone."""
    n = 128
    others = {"alone": [], "two": [args.embedder], "three": [args.embedder, args.embedder]}
    workers = {name: _chat_side(args, with_) for name, with_ in others.items()}
    try:
        sides: dict[str, Callable[[], Any]] = {
            name: partial(worker.call, "chat", n=n) for name, worker in workers.items()
        }
        sides["both"] = partial(workers["two"].call, "while_indexing", n=n)
        sides["embed"] = partial(workers["two"].call, "embed")
        for worker in workers.values():
            worker.call("chat", n=16)
        got = in_turn(sides, args.pairs)
    finally:
        for worker in workers.values():
            worker.close()
    chat = [round_["chat"] for round_ in got["both"]]
    embed = [round_["embed"] for round_ in got["both"]]
    return {
        "chat, after an embedder was used / alone": compare(got["two"], got["alone"]),
        "chat, after an embedder and a reranker were used / alone": compare(got["three"], got["alone"]),
        "chat, while the embedder indexes / alone": compare(chat, got["alone"]),
        "passages/s embedded while the chat runs / without": compare(embed, got["embed"]),
    }


def busy(args: Any) -> dict[str, Row]:
    """The chat model beside another program. "Peer" is the same without that program."""
    worker = _chat_side(args, [])
    try:
        worker.call("chat", n=16)
        sides = {
            "chat alone": partial(worker.call, "chat", n=128),
            "chat beside": partial(_beside_busy_core, worker, "chat", 128),
            "prompt alone": partial(worker.call, "prompt", n=512),
            "prompt beside": partial(_beside_busy_core, worker, "prompt", 512),
        }
        got = in_turn(sides, args.pairs)
    finally:
        worker.close()
    return {
        "stream beside a busy core / alone": compare(got["chat beside"], got["chat alone"]),
        "prompt of 512 beside a busy core / alone": compare(got["prompt beside"], got["prompt alone"]),
    }


def _chat_side(args: Any, others: list[str]) -> Worker:
    settings = {"model": args.model, "others": others, "n_threads": args.threads}
    name = f"a process with {len(others) + 1} models"
    return Worker(name, sys.executable, SIDE, json.dumps(settings))


def _beside_busy_core(worker: Worker, what: str, n: int) -> float:
    with _spinning():
        return float(worker.call(what, n=n))


@contextmanager
def _spinning() -> Iterator[None]:
    """Another program that uses one core wholly."""
    process = subprocess.Popen(SPIN)
    try:
        time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


ROWS: dict[str, Callable[[Any], dict[str, Row]]] = {
    "stream": stream,
    "at-once": at_once,
    "depth": depth,
    "batched": batched,
    "models": models,
    "busy": busy,
}


def main() -> None:
    """Runs the chosen comparisons and prints a table."""
    parser = arguments(__doc__, pairs=5)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--embedder", default="all-minilm-l6-v2")
    parser.add_argument("--depths", type=int, nargs="*", default=[512, 1536, 4096])
    parser.add_argument("--prompt", type=int, default=64, help="at-once: tokens of each prompt")
    parser.add_argument("--generate", type=int, default=64, help="at-once: tokens generated for each")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 8, 32])
    args = parser.parse_args()
    rows: dict[str, Row] = {}
    for name in chosen(args.rows, ROWS, "row"):
        rows |= ROWS[name](args)
    with Llama(args.model, n_threads=args.threads, n_ctx=256, warmup=False) as llm:
        facts = {"model": f"{llm.info.name} {llm.info.quantization}", "threads": llm.info.n_threads}
    report(rows, "tokens/s", args.json, **facts, pairs=args.pairs)


if __name__ == "__main__":
    main()
