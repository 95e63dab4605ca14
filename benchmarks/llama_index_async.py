"""How much LlamaIndex's ``use_async=True`` gains from the shared batch.

    python benchmarks/llama_index_async.py [--chunks 8] [--tokens 64] [--rounds 3]

The same question is put to each chunk of a text, one after the other and then all at once, in turn, with the
prompt cache off and answers of a fixed length. The ratio is asynchronous over sequential time: below 0.5,
eight requests at once take less than half as long. llama-batched-bench, where it has been built
(``make bench-tools``), says what this model and machine allow: the speed of one sequence over that of all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer

from llamacpp_core import Llama
from llamacpp_integrations.llama_index import LlamaCpp, configure_settings

SENTENCE = "The lighthouse keeper wrote the wind, the ships and the weather of day {} into his book. "


def seconds(llm: LlamaCpp, chunks: list[str], *, use_async: bool) -> float:
    """Time to ask about every chunk."""
    synthesizer = get_response_synthesizer(
        llm=llm, response_mode=ResponseMode.ACCUMULATE, use_async=use_async
    )
    start = time.perf_counter()
    answer = synthesizer.get_response("What did he write?", chunks)
    took = time.perf_counter() - start
    assert str(answer).count("Response ") == len(chunks)
    return took


def batched_bench(llama: Llama, prompt: int, tokens: int, sequences: int) -> str:
    """The same ratio for llama-batched-bench, which has no framework and no sampling."""
    built = Path("build/bench/bin/llama-batched-bench")
    program = str(built) if built.is_file() else shutil.which("llama-batched-bench")
    if program is None:
        return "llama-batched-bench: not built (make bench-tools)"
    command = [
        program,
        "-m",
        llama.info.path,
        "-npp",
        str(prompt),
        "-ntg",
        str(tokens),
        "-npl",
        f"1,{sequences}",
    ]
    command += ["-c", str((prompt + tokens) * sequences + 64), "-t", str(llama.info.n_threads)]
    command += ["--output-format", "jsonl"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    one, many = (row["t"] for row in rows)
    ratio = many / (one * sequences)
    return f"llama-batched-bench: {one:.2f} s for one, {many:.2f} s for {sequences}: {ratio:.2f}"


def main() -> None:
    """Prints medians and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--sentences", type=int, default=4, help="sentences per chunk")
    parser.add_argument("--tokens", type=int, default=64, help="tokens per answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads; by default one per physical core")
    options = parser.parse_args()

    n_parallel = 1 << (options.chunks - 1).bit_length()
    with Llama(options.model, n_ctx=1024, n_parallel=n_parallel, n_threads=options.threads) as llama:
        fixed = {"ignore_eos": True, "cache_prompt": False}
        llm = LlamaCpp(llama=llama, temperature=0, max_tokens=options.tokens, additional_kwargs=fixed)
        configure_settings(llm, None)
        chunks = [
            "".join(SENTENCE.format(i * options.sentences + j) for j in range(options.sentences))
            for i in range(options.chunks)
        ]
        usage = llm.complete(f"Context: {chunks[0]} What did he write?", max_tokens=1).raw["usage"]
        seconds(llm, chunks[:1], use_async=False)  # warm
        sequential, asynchronous = [], []
        for _ in range(options.rounds):  # in turn: machines change their speed
            sequential.append(seconds(llm, chunks, use_async=False))
            asynchronous.append(seconds(llm, chunks, use_async=True))
        one, many = statistics.median(sequential), statistics.median(asynchronous)
        tokens = options.chunks * options.tokens
        print(f"{llama.info.name}, {llama.info.n_threads} threads, {options.chunks} chunks of about")
        print(
            f"{usage['prompt_tokens']} prompt tokens, {options.tokens} tokens each, "
            f"medians of {options.rounds}"
        )
        print(f"sequential:   {one:6.2f} s  {tokens / one:6.1f} generated tokens/s")
        print(f"asynchronous: {many:6.2f} s  {tokens / many:6.1f} generated tokens/s")
        print(f"ratio: {many / one:.2f}")
        print(batched_bench(llama, usage["prompt_tokens"], options.tokens, options.chunks))


if __name__ == "__main__":
    main()
