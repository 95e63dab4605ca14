"""What a JSON schema costs a stream: constrained streams against free ones of the same length.

    python benchmarks/schema_streams.py FOLDER [--sample 300] [--tokens 128] [--pairs 5]

FOLDER is as for ``json_schema.py``: files that hold a ``schema``, which are no part of this repository. A
sample of those that compile is run twice, at temperature 0.8; answers of a third of ``--tokens`` at
least are ranked by how much slower than a free stream they are, and the slowest tenth of them is measured
again in pairs: with masks that are all new (the grammar was never used), and with masks that are known.

A stream is timed from its first chunk to its last. Ranking and measuring are apart, since a maximum of noisy
figures is too large.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from _pairs import Row, arguments, compare, in_turn, report

from llamacpp_core import Llama
from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import LlamaGrammar, json_schema_to_gbnf

MESSAGES = [{"role": "user", "content": "Describe a small shop by the sea as JSON, with many details."}]
_numbers = count()


def grammars(folder: Path, sample: int, seed: int) -> Iterator[tuple[str, str]]:
    """Names and grammars of the files of a sample that compile."""
    files = sorted(folder.glob("*.json"))
    for path in random.Random(seed).sample(files, min(sample, len(files))):
        try:
            yield path.stem, json_schema_to_gbnf(json.loads(path.read_text(encoding="utf-8"))["schema"])
        except GrammarError:
            continue


def fresh(gbnf: str) -> LlamaGrammar:
    """The same grammar as another text, of which nothing is known yet."""
    return LlamaGrammar(f"{gbnf}# {next(_numbers)}\n")


def run(llm: Llama, n: int, **more: Any) -> tuple[int, float]:
    """How many tokens a stream had, and its seconds for each after the first."""
    stream = llm.create_chat_completion(
        MESSAGES,
        max_tokens=n,
        temperature=0.8,
        seed=7,
        stream=True,
        stream_options={"include_usage": True},
        **more,
    )
    first = last = 0.0
    made = 0
    for chunk in stream:
        last = time.perf_counter()
        if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
            first = last
        made = (chunk.get("usage") or {}).get("completion_tokens", made)
    return made, (last - first) / max(made - 1, 1)


def ranked(llm: Llama, found: list[tuple[str, str]], n: int) -> list[tuple[float, str, str, int]]:
    """The schemas with long answers, the slowest first: how many times as slow, name, grammar, tokens."""
    rows = []
    for name, gbnf in found:
        made, seconds = run(llm, n, grammar=fresh(gbnf))
        if made >= n // 3:
            again = run(llm, n, grammar=fresh(gbnf))[1]
            free = min(run(llm, made, ignore_eos=True)[1] for _ in range(2))
            rows.append((min(seconds, again) / free, name, gbnf, made))
    return sorted(rows, reverse=True)


def measured(llm: Llama, gbnf: str, made: int, pairs: int) -> dict[str, Row]:
    """Milliseconds for each token with new and with known masks, against a free stream's."""
    known = fresh(gbnf)
    run(llm, made, grammar=known)
    sides = {
        "new": lambda: run(llm, made, grammar=fresh(gbnf))[1] * 1000,
        "known": lambda: run(llm, made, grammar=known)[1] * 1000,
        "free": lambda: run(llm, made, ignore_eos=True)[1] * 1000,
    }
    got = in_turn(sides, pairs)
    return {f"{side} masks": compare(got[side], got["free"]) for side in ("new", "known")}


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, pairs=5)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--sample", type=int, default=300, help="how many files, chosen at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    threads = {} if options.threads is None else {"n_threads": options.threads}

    found = list(grammars(options.folder, options.sample, options.seed))
    rows: dict[str, Row] = {}
    with Llama(options.model, n_ctx=4096, n_parallel=1, **threads) as llm:
        run(llm, options.tokens, ignore_eos=True)
        order = ranked(llm, found, options.tokens)
        slowest = order[: max(1, round(len(order) / 10))]
        for _, name, gbnf, made in slowest:
            for side, row in measured(llm, gbnf, made, options.pairs).items():
                rows[f"{name[:40]}, {made} tokens, {side}"] = row
    report(rows, "ms/token", options.json, schemas=len(order), slowest=len(slowest), pairs=options.pairs)
    for side in ("new masks", "known masks"):
        ratios = [row["ratio"] for name, row in rows.items() if name.endswith(side)]
        mean, most = statistics.mean(ratios) - 1, max(ratios) - 1
        print(f"{side}: {mean:+.1%} on average over the slowest tenth, {most:+.1%} at most")


if __name__ == "__main__":
    main()
