"""``batch`` through LangChain: ours, the community's ChatLlamaCpp, and ChatOpenAI on llama-server.

    .venv/bin/python benchmarks/langchain_batch.py
    .venv/bin/python benchmarks/langchain_batch.py --openai PYTHON --community PYTHON

Ours runs always. A peer joins when the Python of its environment is named: ``--openai`` needs
langchain-openai there, and a llama-server of the same source (``make bench-tools``); ``--community`` needs
langchain-community and llama-cpp-python 0.3.36. Every batch is timed in turn with one of ours; the ratio is
of batches per minute, so above 1 ours is faster. The weights, the context, the threads and the kind of
prompts are the same, no prompt comes twice, and everybody picks the likeliest token.

The community's class shares one context between the threads that ``batch`` starts, without a lock, which ends
the process; it is therefore run with ``max_concurrency=1``, the fastest way that works.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from _pairs import Row, arguments, find_tool, paired, report
from _peers import Worker, chat_file

SCRIPT = Path(__file__).with_name("_chats.py")
NAMES = {
    "openai": "ChatOpenAI on llama-server",
    "community": "community ChatLlamaCpp (llama-cpp-python)",
}
SUBJECTS = (
    "the sea, bread, snow, iron, glass, bees, maps, salt, rain, clocks, paper, rivers, wool, stars, tea"
)
NUMBERS = itertools.count(1)
N_CTX = 1024


def prompts(n: int) -> list[str]:
    """Prompts of about the same length that have not been used before."""
    subjects = SUBJECTS.split(", ")
    return [f"{next(NUMBERS)}. Write a few sentences about {subjects[i % len(subjects)]}." for i in range(n)]


def batches_per_minute(worker: Worker, size: int) -> float:
    """One batch, and how many of it a minute holds."""
    return 60 / float(worker.call("batch", prompts=prompts(size)))


def one_by_one(worker: Worker, size: int) -> float:
    """The same prompts without ``batch``."""
    return 60 / sum(worker.call("batch", prompts=[prompt]) for prompt in prompts(size))


def main() -> None:
    """Runs the comparison and prints a table."""
    parser = arguments(__doc__, pairs=3)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--sizes", type=int, nargs="*", default=[8, 32])
    parser.add_argument("--parallel", type=int, default=8, help="requests at once, ours and llama-server's")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--openai", metavar="PYTHON", help="a Python that has langchain-openai")
    parser.add_argument("--community", metavar="PYTHON", help="a Python that has langchain-community")
    parser.add_argument("--llama-server", type=Path, help="by default the one of make bench-tools")
    args = parser.parse_args()
    path, threads = chat_file(args.model, args.threads)
    settings = json.dumps(
        {
            "chat": path,
            "n_ctx": N_CTX,
            "n_parallel": args.parallel,
            "n_threads": threads,
            "max_tokens": args.max_tokens,
            "llama_server": str(args.llama_server or (find_tool("llama-server") if args.openai else "")),
        }
    )
    with ExitStack() as stack:

        def start(name: str, python: Any) -> Worker:
            return stack.enter_context(Worker(NAMES.get(name, name), python, SCRIPT, name, settings))

        ours = start("ours", sys.executable)
        pythons = {"openai": args.openai, "community": args.community}
        peers: dict[str, Callable[[int], float]] = {
            NAMES[name]: partial(batches_per_minute, start(name, python))
            for name, python in pythons.items()
            if python
        }
        rows: dict[str, Row] = {}
        for name, peer in (peers or {"ours one by one": partial(one_by_one, ours)}).items():
            for size in args.sizes:
                rows[f"batch of {size} / {name}"] = paired(
                    partial(batches_per_minute, ours, size), partial(peer, size), args.pairs
                )
    report(rows, "batches/min", args.json, threads=threads, pairs=args.pairs)


if __name__ == "__main__":
    main()
