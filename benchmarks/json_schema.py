"""How many real JSON schemas compile, and whether what is accepted is right.

    python benchmarks/json_schema.py FOLDER [--sample 1000] [--seed 0]

FOLDER contains files in the form of maskbench (guidance-ai/jsonschemabench, ``maskbench/data``), which are no
part of this repository: ``{"schema": ..., "tests": [{"valid": true, "data": ...}, ...]}``. Engines that are
installed are measured beside ours: llguidance, xgrammar, outlines-core. Times are CPU time of one thread, for
compilation alone.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from grammar.matcher import accepts

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import json_schema_to_gbnf

# An engine compiles the text of a schema, and gives what decides about a text.
Engine = Callable[[str], Callable[[str], bool]]


def ours(schema: str) -> Callable[[str], bool]:
    """This project."""
    gbnf = json_schema_to_gbnf(schema)
    return lambda text: accepts(gbnf, text.replace("\x7f", "\\u007f"))


def _llguidance() -> Engine:
    import llguidance

    tokenizer = llguidance.LLTokenizer("byte")

    def compile_(schema: str) -> Callable[[str], bool]:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
        error = llguidance.LLMatcher.validate_grammar(grammar, tokenizer)
        if error:
            raise ValueError(error)

        def decide(text: str) -> bool:
            matcher = llguidance.LLMatcher(tokenizer, grammar)
            tokens = tokenizer.tokenize_str(text)
            return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

        return decide

    return compile_


def _xgrammar() -> Engine:
    import xgrammar

    def compile_(schema: str) -> Callable[[str], bool]:
        grammar = xgrammar.Grammar.from_json_schema(schema)
        return lambda text: bool(xgrammar.testing._is_grammar_accept_string(grammar, text))

    return compile_


def _outlines_core() -> Engine:
    import re

    from outlines_core.json_schema import build_regex_from_schema

    def compile_(schema: str) -> Callable[[str], bool]:
        pattern = re.compile(build_regex_from_schema(schema))
        return lambda text: pattern.fullmatch(text) is not None

    return compile_


def engines() -> Iterator[tuple[str, Engine]]:
    """Ours, and the others that are installed."""
    yield "ours", ours
    for name, make in (
        ("llguidance", _llguidance),
        ("xgrammar", _xgrammar),
        ("outlines-core", _outlines_core),
    ):
        try:
            yield name, make()
        except ImportError:
            print(f"{name}: not installed")


def measure(engine: Engine, files: list[Path]) -> tuple[Counter[str], list[float], list[str]]:
    """Counts, seconds for each schema, and the files in which something wrong is accepted."""
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    wrong: list[str] = []
    for path in files:
        case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        valid = sum(test["valid"] for test in case["tests"])
        counts["schemas"] += 1
        counts["valid of all"] += valid
        start = time.process_time()
        try:
            decide = engine(json.dumps(case["schema"]))
        except (GrammarError, ValueError, TypeError, RuntimeError):
            continue
        finally:
            seconds.append(time.process_time() - start)
        counts["compiled"] += 1
        for test in case["tests"]:
            kind = "valid" if test["valid"] else "invalid"
            counts[kind] += 1
            if decide(json.dumps(test["data"], ensure_ascii=False, separators=(",", ":"))):
                counts[f"{kind} accepted"] += 1
                if not test["valid"]:
                    wrong.append(path.name)
    return counts, seconds, wrong


def show(name: str, counts: Counter[str], seconds: list[float], wrong: list[str]) -> None:
    """Prints the rows of one engine."""
    ms = sorted(1000 * s for s in seconds)
    percent = lambda part, whole: f"{100 * counts[part] / max(1, counts[whole]):.1f} %"  # noqa: E731
    print(f"\n{name}")
    print(f"  schemas compiled                {percent('compiled', 'schemas')} of {counts['schemas']}")
    print(f"  invalid instances accepted      {counts['invalid accepted']} of {counts['invalid']}")
    print(f"  valid accepted, of compiled     {percent('valid accepted', 'valid')}")
    print(f"  valid accepted, of all          {percent('valid accepted', 'valid of all')}")
    p99 = ms[min(len(ms) - 1, int(0.99 * len(ms)))]
    print(f"  compile ms, median / p99 / max  {statistics.median(ms):.2f} / {p99:.0f} / {ms[-1]:.0f}")
    for file in sorted(set(wrong))[:10]:
        print(f"  wrong: {file}")


def main() -> None:
    """Measures the installed engines over a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="how many files, chosen at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = sorted(args.folder.glob("*.json"))
    if not files:
        parser.error(f"{args.folder} holds no .json files")
    if args.sample:
        files = random.Random(args.seed).sample(files, min(args.sample, len(files)))
    for name, engine in engines():
        show(name, *measure(engine, files))


if __name__ == "__main__":
    main()
