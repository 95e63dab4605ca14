"""``llamacpp serve`` against llama-server: requests a second, and time to the first token.

    .venv/bin/python benchmarks/server.py

Needs a llama-server of the same source (``make bench-tools``). Both have the same model, threads, slots and
context. The same client streams chat completions from both in turn, with 1 and more requests at once; no
prompt comes twice, and every answer has the same length. Above 1 ours is faster.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from _pairs import arguments, compare, find_tool, in_turn, report
from _peers import chat_file, llama_server

NUMBERS = itertools.count(1)
WORDS = ["the sea", "bread", "snow", "iron", "glass", "bees", "maps", "salt"]
WORDS += ["rain", "clocks", "paper", "rivers", "wool", "stars", "tea"]


def prompt(words: int) -> str:
    """A prompt of that many words that has not been used before."""
    number = next(NUMBERS)
    text = " ".join(WORDS[(i * number + i // 16) % len(WORDS)] for i in range(words))
    return f"{number}. Write a few sentences about these: {text}"


@contextmanager
def own_server(model: str, threads: int, parallel: int, n_ctx: int) -> Iterator[str]:
    """``llamacpp serve`` in a process of its own, and its address."""
    main = "from llamacpp_integrations.cli import main; main()"
    options = ["--port", 0, "--threads", threads, "--parallel", parallel, "--n-ctx", n_ctx]
    command = [sys.executable, "-c", main, "serve", f"m={model}", *options]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield process.stderr.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


async def run(url: str, clients: int, requests: int, words: int, max_tokens: int) -> tuple[float, float]:
    """Requests a second, and the median time to the first token in seconds."""
    firsts: list[float] = []

    async def client(http: httpx.AsyncClient) -> None:
        for _ in range(requests):
            body = {
                "messages": [{"role": "user", "content": prompt(words)}],
                "max_tokens": max_tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
            }
            start, first = time.perf_counter(), 0.0
            async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if not first and line.startswith("data: {"):
                        delta = json.loads(line[6:])["choices"][0]["delta"]
                        first = time.perf_counter() - start if delta.get("content") else 0.0
            firsts.append(first)

    # llama-server may close a connection while the next request on it is on its way.
    fresh = httpx.Limits(max_keepalive_connections=0)
    start = time.perf_counter()
    async with httpx.AsyncClient(timeout=None, limits=fresh) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    seconds = time.perf_counter() - start
    return clients * requests / seconds, statistics.median(firsts)


def main() -> None:
    """Runs the comparison and prints a table."""
    parser = arguments(__doc__, pairs=3)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--requests", type=int, default=3, help="of each client, one after another")
    parser.add_argument("--parallel", type=int, default=8, help="slots of both")
    parser.add_argument("--words", type=int, default=100, help="of a prompt")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--llama-server", type=Path, help="by default the one of make bench-tools")
    args = parser.parse_args()
    path, threads = chat_file(args.model, args.threads)
    binary = args.llama_server or find_tool("llama-server")
    rows = {}
    with (
        own_server(path, threads, args.parallel, 1024) as ours,
        llama_server(binary, path, n_threads=threads, n_parallel=args.parallel, n_ctx=1024) as peer,
    ):
        for clients in args.clients:
            shape = (clients, args.requests, args.words, args.max_tokens)
            sides = {
                "peer": lambda shape=shape: asyncio.run(run(peer, *shape)),
                "ours": lambda shape=shape: asyncio.run(run(ours, *shape)),
            }
            in_turn(sides, 1)
            got = in_turn(sides, args.pairs)
            for i, (what, seconds) in enumerate([("requests/s", False), ("first token, s", True)]):
                figures = {side: [found[i] for found in got[side]] for side in got}
                name = f"{clients} client(s), {what}"
                rows[name] = compare(figures["ours"], figures["peer"], seconds=seconds)
    report(rows, "", args.json, threads=threads, pairs=args.pairs, parallel=args.parallel)


if __name__ == "__main__":
    main()
