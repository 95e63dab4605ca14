"""How many real JSON schemas compile, and whether what is accepted is right.

    python benchmarks/json_schema.py FOLDER [--sample 1000] [--seed 0] [--engines ours] [--records FILE]

FOLDER contains files in the form of maskbench (guidance-ai/jsonschemabench, ``maskbench/data``), which are no
part of this repository: ``{"schema": ..., "tests": [{"valid": true, "data": ...}, ...]}``. Engines that are
installed are measured beside ours: llguidance, xgrammar, outlines-core. Times are CPU time of the process for
compilation alone.

The whole corpus takes long: most of it goes into reading instances. What is found about each file goes to
``--records``, and a run that names the same FILE goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from grammar.matcher import accepts

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import json_schema_to_gbnf

# An engine compiles the text of a schema, and gives what decides about a text.
Engine = Callable[[str], Callable[[str], bool]]
#: What was found, by engine and file.
Records = dict[tuple[str, str], dict[str, Any]]
_REFUSALS = (GrammarError, ValueError, TypeError, RuntimeError)


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


def engines(names: Sequence[str]) -> Iterator[tuple[str, Engine]]:
    """Those of the named engines that are installed."""
    makers: dict[str, Callable[[], Engine]] = {
        "ours": lambda: ours,
        "llguidance": _llguidance,
        "xgrammar": _xgrammar,
        "outlines-core": _outlines_core,
    }
    for name in names or makers:
        if name not in makers:
            raise SystemExit(f"no engine is called {name!r}; there are {', '.join(makers)}")
        try:
            yield name, makers[name]()
        except ImportError:
            print(f"{name}: not installed")


def measure(engine: Engine, path: Path) -> dict[str, Any]:
    """What an engine makes of one file.

    Returns:
        ``seconds`` to compile; ``refused`` with the error, or None: what compiles and cannot be used is
        refused too; ``valid`` and ``invalid``: how many instances there are, ``valid accepted`` and
        ``invalid accepted``: of how many the engine says yes.
    """
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"refused": None, "valid": 0, "invalid": 0}
    found |= {"valid accepted": 0, "invalid accepted": 0}
    for test in case["tests"]:
        found["valid" if test["valid"] else "invalid"] += 1
    start = time.process_time()
    try:
        decide = engine(json.dumps(case["schema"]))
    except _REFUSALS as error:
        return found | {"seconds": time.process_time() - start, "refused": f"{error!s:.300}"}
    found["seconds"] = time.process_time() - start
    try:
        answers = [decide(_compact(test["data"])) for test in case["tests"]]
    except _REFUSALS as error:
        return found | {"refused": f"unusable: {error!s:.300}"}
    for test, accepted in zip(case["tests"], answers, strict=True):
        found["valid accepted" if test["valid"] else "invalid accepted"] += accepted
    return found


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def run(
    name: str, engine: Engine, files: Sequence[Path], known: Records, out: TextIO
) -> dict[str, dict[str, Any]]:
    """What an engine makes of all files, by their names; what is known is not measured again."""
    found: dict[str, dict[str, Any]] = {}
    for number, path in enumerate(files, 1):
        record = known.get((name, path.name))
        if record is None:
            record = measure(engine, path)
            print(json.dumps({"engine": name, "file": path.name, **record}), file=out, flush=True)
        found[path.name] = record
        if sys.stderr.isatty() or number % 500 == 0:
            print(
                f"{name}: {number} of {len(files)}",
                end="\r" if sys.stderr.isatty() else "\n",
                file=sys.stderr,
            )
    return found


def read_records(path: Path | None) -> Records:
    """The records of an earlier run; a line that was cut off is left out."""
    found: Records = {}
    if path is None or not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[record.pop("engine"), record.pop("file")] = record
    return found


def show(name: str, found: dict[str, dict[str, Any]]) -> None:
    """Prints the rows of one engine."""
    records = list(found.values())
    compiled = [record for record in records if record["refused"] is None]
    count = lambda some, key: sum(record[key] for record in some)  # noqa: E731
    percent = lambda part, whole: f"{100 * part / max(1, whole):.1f} %"  # noqa: E731
    accepted = count(compiled, "valid accepted")
    print(f"\n{name}")
    print(f"  schemas compiled                {percent(len(compiled), len(records))} of {len(records)}")
    wrong, invalid = count(compiled, "invalid accepted"), count(compiled, "invalid")
    print(f"  invalid instances accepted      {wrong} of {invalid}")
    print(f"  valid accepted, of compiled     {percent(accepted, count(compiled, 'valid'))}")
    print(f"  valid accepted, of all          {percent(accepted, count(records, 'valid'))}")
    ms = sorted(1000 * record["seconds"] for record in records)
    p99 = ms[min(len(ms) - 1, int(0.99 * len(ms)))]
    print(f"  compile ms, median / p99 / max  {statistics.median(ms):.2f} / {p99:.1f} / {ms[-1]:.0f}")
    for file in sorted(file for file, record in found.items() if record["invalid accepted"])[:10]:
        print(f"  wrong: {file}")


def main() -> None:
    """Measures engines over a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=int, default=0, help="how many files, chosen at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", nargs="*", default=[], help="the engines to measure; all by default")
    parser.add_argument("--records", type=Path, help="a file of JSON lines to keep what is found in")
    args = parser.parse_args()
    files = sorted(args.folder.glob("*.json"))
    if not files:
        parser.error(f"{args.folder} holds no .json files")
    if args.sample:
        files = random.Random(args.seed).sample(files, min(args.sample, len(files)))
    known = read_records(args.records)
    with (args.records or Path(os.devnull)).open("a", encoding="utf-8") as out:
        for name, engine in engines(args.engines):
            show(name, run(name, engine, files, known, out))


if __name__ == "__main__":
    main()
