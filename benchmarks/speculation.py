"""Guessed tokens: answers with ``speculative="auto"`` against those without, in tokens per second.

    .venv/bin/python benchmarks/speculation.py
    .venv/bin/python benchmarks/speculation.py --model large.gguf --draft small.gguf --rows rag,edit

``--draft`` names a smaller model of the same vocabulary, which guesses in its own rows.

Rows, by their names for ``--rows``:

``quote``    the prompt asks for a note word by word
``rag``      questions over four notes in prompts of about 1,000 tokens; answers take up what the notes say
``edit``     a file of code again, with a function renamed
``free``     a story
``lists``    rows of numbers that begin alike and go on differently
``random``   a story at temperature 1.5, which repeats nothing: what guessing costs
``at-once``  the questions of ``rag``, eight at once

Every answer has as many tokens on both sides, and the texts are compared: the row says how many differ.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from _pairs import Row, arguments, chosen, compare, in_turn, report
from _passages import INSTRUCTIONS, passages

from llamacpp_core import Llama

CODE = '''def area(width, height):
    """The area of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError("width and height must not be negative")
    return width * height


def total(rectangles):
    """The area of all rectangles together."""
    result = 0
    for width, height in rectangles:
        result += area(width, height)
    return result


def largest(rectangles):
    """The rectangle with the largest area."""
    best = None
    for width, height in rectangles:
        if best is None or area(width, height) > area(*best):
            best = (width, height)
    return best
'''

Messages = list[dict[str, str]]


def chat(system: str, user: str) -> Messages:
    """A conversation of two messages."""
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def questions() -> list[Messages]:
    """Eight questions, each over four notes."""
    some = passages(32)
    return [
        chat(INSTRUCTIONS, "\n\n".join(note.text for note in some[i : i + 4]) + "\n\n" + some[i].question)
        for i in range(0, 32, 4)
    ]


def quotes() -> list[Messages]:
    """One note of three, word by word."""
    some = passages(9)
    return [
        chat(
            "You quote notes word by word.",
            "\n\n".join(note.text for note in some[i : i + 3])
            + "\n\nRepeat the first note exactly, word by word.",
        )
        for i in range(0, 9, 3)
    ]


def edits() -> list[Messages]:
    """A file with one function renamed."""
    names = (("area", "surface"), ("total", "sum_of"), ("largest", "biggest"))
    return [
        chat(
            "You edit code.",
            f"```python\n{CODE}```\nWrite this file again, with the function `{old}` renamed to `{new}`. "
            "Change nothing else.",
        )
        for old, new in names
    ]


def stories() -> list[Messages]:
    """Texts that quote nothing."""
    return [
        chat("You tell stories.", f"Tell a long story about a {x}.")
        for x in ("lighthouse", "bridge", "market")
    ]


def lists() -> list[Messages]:
    """Rows that begin alike."""
    return [
        chat("You write CSV.", "Write 40 lines of CSV with random numbers: id,price,stock,weight."),
        chat(
            "You write JSON.", "Write a JSON list of 20 objects with name, age and city, with random values."
        ),
    ]


#: By row: the conversations, the temperature, and whether they run at once.
ROWS: dict[str, tuple[Callable[[], list[Messages]], float, bool]] = {
    "quote": (quotes, 0.0, False),
    "rag": (questions, 0.0, False),
    "edit": (edits, 0.0, False),
    "free": (stories, 0.0, False),
    "lists": (lists, 0.0, False),
    "random": (stories, 1.5, False),
    "at-once": (questions, 0.0, True),
}


class Side:
    """An engine, and what it answered."""

    def __init__(self, how: str, args: Any) -> None:
        guesses = {"draft_model": args.draft} if how == "draft" else {"speculative": how}
        self.llm = Llama(args.model, n_ctx=4096, n_parallel=8, n_threads=args.threads, **guesses)
        self.texts: dict[str, str] = {}

    def answer(self, messages: Messages, temperature: float, max_tokens: int) -> float:
        """Tokens per second of one answer."""
        got = self.llm.create_chat_completion(
            messages, max_tokens=max_tokens, temperature=temperature, seed=7, ignore_eos=True
        )
        self.texts[f"{temperature} {messages}"] = str(got["choices"][0]["message"]["content"])
        return float(got["timings"]["predicted_per_second"])

    def row(self, made: list[Messages], temperature: float, at_once: bool, max_tokens: int) -> float:
        """Tokens per second of all answers: one after another, or each of those that run at once."""
        got: list[float] = []
        threads = [
            threading.Thread(target=lambda m=messages: got.append(self.answer(m, temperature, max_tokens)))
            for messages in made
        ]
        for thread in threads:
            thread.start()
            if not at_once:
                thread.join()
        for thread in threads:
            thread.join()
        if len(got) < len(made):
            raise SystemExit("a request failed")
        return len(got) / sum(1 / speed for speed in got)


def main() -> None:
    """Runs the chosen rows and prints a table."""
    parser = arguments(__doc__, pairs=3)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--draft", metavar="FILE", help="a draft model for rows of its own")
    parser.add_argument("--max-tokens", type=int, default=160, help="of each answer")
    args = parser.parse_args()
    sides = {name: Side(name, args) for name in ("auto", *(["draft"] if args.draft else []), "off")}
    rows: dict[str, Row] = {}
    for name in chosen(args.rows, ROWS, "row"):
        make, temperature, at_once = ROWS[name]
        made = make()
        got = in_turn(
            {
                side: partial(each.row, made, temperature, at_once, args.max_tokens)
                for side, each in sides.items()
            },
            args.pairs,
        )
        texts = {side: each.texts for side, each in sides.items()}
        keys = [f"{temperature} {messages}" for messages in made]
        for side in sides:
            if side != "off":
                differ = sum(texts[side][key] != texts["off"][key] for key in keys)
                title = f"{name}: tokens/s, {side} / off ({differ} of {len(made)} texts differ)"
                rows[title] = compare(got[side], got["off"])
    for each in sides.values():
        each.llm.close()
    report(rows, "", args.json, pairs=args.pairs)


if __name__ == "__main__":
    main()
