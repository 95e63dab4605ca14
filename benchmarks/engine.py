"""The engine against llama.cpp's own benchmark programs, from the same source.

    make bench-tools
    .venv/bin/python benchmarks/engine.py

One stream against ``llama-bench`` (tokens generated per second), and 1, 8 and 32 requests at once against
``llama-batched-bench`` (prompt and generated tokens per second together).
"""

from __future__ import annotations

import argparse
import threading
import time
from functools import partial

from _pairs import find_tool, paired, run_json, table

from llamacpp_core import Llama

WORDS = ("the", "sea", "and", "the", "sky", "met", "in", "a", "line", "of", "light", "as", "gulls", "cried")


def prompts(n: int, n_tokens: int, llm: Llama) -> list[list[int]]:
    """Prompts of exactly so many tokens that share no prefix."""
    out = []
    for i in range(n):
        text = f"{i} " + " ".join(WORDS[(i + j) % len(WORDS)] for j in range(n_tokens))
        out.append(llm.tokenize(text)[:n_tokens])
    return out


def stream_speed(llm: Llama, n: int) -> float:
    """Tokens per second of one stream, from the first token to the last."""
    last = {}
    for chunk in llm.create_completion(
        "Once upon a time", max_tokens=n, temperature=0, ignore_eos=True, stream=True
    ):
        last = chunk
    return float(last["timings"]["predicted_per_second"])


def concurrent_speed(llm: Llama, n_parallel: int, n_prompt: int, n_gen: int) -> float:
    """Prompt and generated tokens per second of so many requests that start together."""
    todo = prompts(n_parallel, n_prompt, llm)

    def work(prompt: list[int]) -> None:
        llm.create_completion(prompt, max_tokens=n_gen, temperature=0, ignore_eos=True, cache_prompt=False)

    threads = [threading.Thread(target=work, args=(prompt,)) for prompt in todo]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return n_parallel * (n_prompt + n_gen) / (time.perf_counter() - start)


def peer_speed(command: list[object]) -> float:
    """Prompt and generated tokens per second that llama-batched-bench reports."""
    return float(run_json(*command)[-1]["speed"])


def main() -> None:
    """Runs the comparison and prints a table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--model", default="smollm2-135m-instruct")
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=None)
    arguments.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    arguments.add_argument("--generate", type=int, default=64, help="tokens generated for each")
    arguments.add_argument("--concurrency", type=int, nargs="*", default=[1, 8, 32])
    args = arguments.parse_args()
    rows = {}

    with Llama(args.model, n_threads=args.threads, n_ctx=512) as llm:
        threads = llm.info.n_threads
        bench = find_tool("llama-bench")

        def peer() -> float:
            result = run_json(
                bench,
                "-m",
                llm.info.path,
                "-p",
                0,
                "-n",
                128,
                "-t",
                threads,
                "-r",
                1,
                "-o",
                "json",
                "-fa",
                "1",
            )
            return float(result[0]["avg_ts"])

        rows["one stream, generated"] = paired(lambda: stream_speed(llm, 128), peer, args.pairs)

    for n in args.concurrency:
        with Llama(args.model, n_threads=args.threads, n_ctx=512, n_parallel=n) as llm:
            command = [
                find_tool("llama-batched-bench"), "-m", llm.info.path, "-c", 512 * n, "-b", llm.info.n_batch,
                "-ub", llm.info.n_ubatch, "-npp", args.prompt, "-ntg", args.generate, "-npl", n,
                "-t", llm.info.n_threads, "-fa", "on", "--output-format", "jsonl",
            ]  # fmt: skip
            rows[f"{n} at once, prompt + generated"] = paired(
                partial(concurrent_speed, llm, n, args.prompt, args.generate),
                partial(peer_speed, command),
                args.pairs,
            )
    print(table(rows, "tokens/s"))


if __name__ == "__main__":
    main()
