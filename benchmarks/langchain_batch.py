"""``batch`` through LangChain: ours, the community's ChatLlamaCpp, and ChatOpenAI on llama-server.

    .venv/bin/python benchmarks/langchain_batch.py
    .venv/bin/python benchmarks/langchain_batch.py --llama-server build/bench/bin/llama-server
    .venv/bin/python benchmarks/langchain_batch.py --community build/peer/bin/python

Ours runs always. A peer joins when it is there: ``--community`` names a Python that has langchain-community
and llama-cpp-python 0.3.36; ``--llama-server`` names a llama-server built from the same source
(``make bench-tools``), for which this Python needs langchain-openai. Every batch is timed in turn with one of
ours; the ratio is of batches per second, so above 1 ours is faster. The weights, the context, the threads and
the kind of prompts are the same, no prompt comes twice, and everybody picks the likeliest token.

The community's class shares one context between the threads that ``batch`` starts, without a lock, which ends
the process; it is therefore run with ``max_concurrency=1``, the fastest way that works.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _pairs import paired, table

SUBJECTS = (
    "the sea, bread, snow, iron, glass, bees, maps, salt, rain, clocks, paper, rivers, wool, stars, tea"
)
NUMBERS = itertools.count(1)
N_CTX = 1024


def prompts(n: int) -> list[str]:
    """Prompts of about the same length that have not been used before."""
    subjects = SUBJECTS.split(", ")
    return [f"{next(NUMBERS)}. Write a few sentences about {subjects[i % len(subjects)]}." for i in range(n)]


def timed(work: Callable[[], Any]) -> float:
    """Batches per second."""
    start = time.perf_counter()
    work()
    return 1 / (time.perf_counter() - start)


# Peers


def community_worker(path: str, n_threads: int, max_tokens: int) -> None:
    """Answers batches, one JSON list of prompts a line, with their seconds; in the peer's environment."""
    from langchain_community.chat_models import ChatLlamaCpp  # type: ignore[import-not-found]

    chat = ChatLlamaCpp(
        model_path=path, n_ctx=N_CTX, n_threads=n_threads, temperature=0, max_tokens=max_tokens, verbose=False
    )
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        chat.batch(json.loads(line), {"max_concurrency": 1})
        print(json.dumps(time.perf_counter() - start), flush=True)


@contextmanager
def community(
    python: Path, path: str, n_threads: int, max_tokens: int
) -> Iterator[Callable[[list[str]], float]]:
    """The community's ChatLlamaCpp in another Python."""
    command = [python, __file__, "--worker", path, "--threads", n_threads, "--max-tokens", max_tokens]
    process = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout

    def answer() -> Any:
        assert process.stdout
        for line in process.stdout:
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue  # something that the library printed
        raise SystemExit("the community's ChatLlamaCpp ended: see its output above")

    def run(batch: list[str]) -> float:
        assert process.stdin
        process.stdin.write(json.dumps(batch) + "\n")
        process.stdin.flush()
        return 1 / float(answer())

    try:
        answer()
        yield run
    finally:
        process.kill()
        process.wait()


@contextmanager
def server(
    binary: Path, path: str, n_threads: int, n_parallel: int, max_tokens: int
) -> Iterator[Callable[[list[str]], float]]:
    """ChatOpenAI against a llama-server of its own."""
    from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [binary, "-m", path, "--port", port, "-np", n_parallel, "-c", N_CTX * n_parallel]
    process = subprocess.Popen(
        [str(part) for part in [*command, "-t", n_threads, "-fa", "on", "--jinja"]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"{url}/health", process)
        chat = ChatOpenAI(base_url=f"{url}/v1", api_key="none", temperature=0, max_tokens=max_tokens)
        yield lambda batch: timed(lambda: chat.batch(batch))
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("llama-server did not start")


def main() -> None:
    """Runs the comparison and prints a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--model", default="smollm2-135m-instruct")
    arguments.add_argument("--sizes", type=int, nargs="*", default=[8, 32])
    arguments.add_argument("--pairs", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=None)
    arguments.add_argument(
        "--parallel", type=int, default=8, help="requests at once, ours and llama-server's"
    )
    arguments.add_argument("--max-tokens", type=int, default=48)
    arguments.add_argument("--community", type=Path, help="a Python that has langchain-community")
    arguments.add_argument("--llama-server", type=Path, help="a llama-server of the same source")
    arguments.add_argument("--worker", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.worker:
        community_worker(args.worker, args.threads, args.max_tokens)
        return
    print(compare(args))


def compare(args: argparse.Namespace) -> str:
    """The table, or our speed alone where no peer is there."""
    from llamacpp_integrations.langchain import ChatLlamaCpp

    chat = ChatLlamaCpp(
        model=args.model,
        n_ctx=N_CTX,
        n_parallel=args.parallel,
        n_threads=args.threads,
        temperature=0,
        max_tokens=args.max_tokens,
    )
    info = chat.client.info
    rows: dict[str, dict[str, float]] = {}

    def against(name: str, run: Callable[[list[str]], float]) -> None:
        for size in args.sizes:
            row = paired(
                lambda size=size: timed(lambda: chat.batch(prompts(size))),
                lambda size=size: run(prompts(size)),
                args.pairs,
            )
            rows[f"batch of {size}, {name}"] = row | {key: row[key] * 60 for key in ("ours", "peer")}

    if args.community:
        with community(args.community, info.path, info.n_threads, args.max_tokens) as run:
            against("community ChatLlamaCpp", run)
    if args.llama_server:
        with server(args.llama_server, info.path, info.n_threads, args.parallel, args.max_tokens) as run:
            against("ChatOpenAI on llama-server", run)
    if not rows:
        against("ours one by one", lambda batch: timed(lambda: [chat.invoke(prompt) for prompt in batch]))
    chat.close()
    return table(rows, "batches/min")


if __name__ == "__main__":
    main()
