"""What ChatLlamaCpp costs on top of the engine, and what it leaves of an event loop.

    .venv/bin/python benchmarks/langchain_overhead.py

Four measurements, the first two paired (both sides in turn):

* one call that generates one token, ``ChatLlamaCpp.invoke`` against ``Llama.create_chat_completion``;
* tokens per second of a stream, ``ChatLlamaCpp.stream`` against ``create_chat_completion(stream=True)``;
* the adapter's own CPU time per call and per token, on an answer that was recorded before: what other
  programs on the machine do does not show in it;
* by how much a 5 ms ticker of asyncio is late while ``abatch`` of 8 runs in the same loop. The same ticker
  beside as many busy processes, with an idle loop, says what the machine itself does to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from _pairs import paired, table
from langchain_core.messages import HumanMessage

from llamacpp_core import Llama
from llamacpp_integrations.langchain import ChatLlamaCpp

QUESTION = "Write a long story about a lighthouse keeper and the sea."
MESSAGES = [{"role": "user", "content": QUESTION}]
HUMAN = [HumanMessage(QUESTION)]


def per_call(llm: Llama, pairs: int) -> dict[str, float]:
    """Milliseconds of a call that generates one token."""
    chat = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=1)

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1000

        return run

    return paired(
        timed(lambda: chat.invoke(HUMAN)),
        timed(lambda: llm.create_chat_completion(MESSAGES, temperature=0, max_tokens=1)),
        pairs,
    )


def per_token(llm: Llama, n: int, pairs: int) -> dict[str, float]:
    """Tokens per second of a stream, from its first chunk to its last."""
    chat = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=n, ignore_eos=True)

    def speed(stream: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = 0.0
            for _ in stream():  # type: ignore[attr-defined]
                start = start or time.perf_counter()
            return (n - 1) / (time.perf_counter() - start)

        return run

    return paired(
        speed(lambda: chat.stream(HUMAN)),
        speed(
            lambda: llm.create_chat_completion(
                MESSAGES, temperature=0, max_tokens=n, ignore_eos=True, stream=True
            )
        ),
        pairs,
    )


class Recorded:
    """Stands in for a ``Llama`` and gives one recorded answer again and again."""

    def __init__(self, llm: Llama, n: int) -> None:
        self.info = llm.info
        fields = {"temperature": 0, "max_tokens": n, "ignore_eos": True}
        self.response = llm.create_chat_completion(MESSAGES, **fields)
        self.chunks = list(llm.create_chat_completion(MESSAGES, stream=True, **fields))

    def create_chat_completion(self, messages: object, *, stream: bool = False, **params: object) -> object:
        """The recorded answer."""
        del messages, params
        return (chunk for chunk in self.chunks) if stream else self.response


def own_time(llm: Llama, n: int) -> dict[str, float]:
    """CPU time that the adapter, with LangChain around it, takes."""
    recorded = Recorded(llm, n)
    chat = ChatLlamaCpp(llama=recorded)

    def per_run(work: Callable[[], object], runs: int) -> float:
        work()
        start = time.thread_time()
        for _ in range(runs):
            work()
        return (time.thread_time() - start) / runs

    stream = per_run(lambda: list(chat.stream(HUMAN)), 20)
    return {
        "call_ms": per_run(lambda: chat.invoke(HUMAN), 300) * 1000,
        "token_us": stream / len(recorded.chunks) * 1e6,
    }


async def lateness(work: Callable[[], Awaitable[object]]) -> list[float]:
    """Milliseconds by which each tick of a 5 ms ticker came late while the work ran."""
    late: list[float] = []
    task = asyncio.ensure_future(work())
    while not task.done():
        due = time.perf_counter() + 0.005
        await asyncio.sleep(0.005)
        late.append((time.perf_counter() - due) * 1000)
    await task
    return late


def summary(late: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum."""
    ordered = sorted(late)
    return {
        "ticks": len(ordered),
        "median_ms": statistics.median(ordered),
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max_ms": ordered[-1],
    }


def ticker(llm: Llama, n: int, rounds: int) -> dict[str, dict[str, float]]:
    """The ticker during ``abatch`` of 8, and beside as many busy processes as the engine has threads."""
    chat = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=n, ignore_eos=True, cache_prompt=False)
    prompts = [f"{i}. {QUESTION}" for i in range(8)]
    during, beside = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        during += asyncio.run(lateness(lambda: chat.abatch(prompts)))
        seconds = time.perf_counter() - start
        busy = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(llm.info.n_threads)
        ]
        try:
            beside += asyncio.run(lateness(lambda seconds=seconds: asyncio.sleep(seconds)))
        finally:
            for process in busy:
                process.kill()
                process.wait()
    return {"during abatch of 8": summary(during), "idle loop beside busy processes": summary(beside)}


def main() -> None:
    """Runs the measurements and prints them."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--model", default="smollm2-135m-instruct")
    arguments.add_argument("--pairs", type=int, default=7)
    arguments.add_argument("--calls", type=int, default=200, help="pairs of single calls")
    arguments.add_argument("--generate", type=int, default=128, help="tokens of each stream")
    arguments.add_argument("--threads", type=int, default=None)
    arguments.add_argument("--json", action="store_true", help="print JSON only")
    args = arguments.parse_args()
    with Llama(args.model, n_threads=args.threads, n_ctx=1024, n_parallel=8) as llm:
        call = per_call(llm, args.calls)
        token = per_token(llm, args.generate, args.pairs)
        own = own_time(llm, args.generate)
        ticks = ticker(llm, args.generate // 4, 3)
    if args.json:
        print(json.dumps({"call": call, "token": token, "own": own, "ticker": ticks}))
        return
    print(table({"one call": call}, "ms"))
    print(f"\nAdded per call: {call['ours'] - call['peer']:.2f} ms\n")
    print(table({"stream": token}, "tokens/s"))
    print(f"\nOwn CPU time: {own['call_ms']:.3f} ms per call, {own['token_us']:.0f} us per token")
    for name, row in ticks.items():
        print(f"\n5 ms ticker {name}: " + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
