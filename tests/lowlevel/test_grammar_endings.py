"""A grammar that knows how many tokens are left ends within them, whatever the logits say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grammar.schemas import SCHEMAS
from jsonschema import Draft202012Validator

from llamacpp_core import errors
from llamacpp_core.grammar import json_schema_to_gbnf
from llamacpp_core.lowlevel import Candidates, Model, Sampler
from llamacpp_core.native import lib

NAMED = {"type": "object", "properties": {"type": {"type": "string"}, "name": {"type": "string"}}}
NAMED["required"] = ["type", "name"]
# LlamaIndex's SchemaLLMPathExtractor and LangChain's write_todos ask for these.
TRIPLETS = {
    "type": "object",
    "properties": {
        "triplets": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"subject": NAMED, "relation": {"enum": ["OF", "IN"]}, "object": NAMED},
                "required": ["subject", "relation", "object"],
            },
        }
    },
    "required": ["triplets"],
}
TODOS = {
    "type": "object",
    "properties": {
        "todos": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "content": {"type": "string"},
                    "status": {"enum": ["pending", "in_progress", "completed"]},
                },
                "required": ["content", "status"],
            },
        }
    },
    "required": ["todos"],
}
# As content management systems ask for it: nearly all may be null, and nearly all has to be there.
NULLABLE = {"anyOf": [{"type": "null"}, {"type": "string"}]}
PAGE = {
    "type": "object",
    "properties": {
        "details": {"type": "object", "properties": {"beta": NULLABLE}, "required": ["beta"]},
        "links": {"type": "array", "items": NULLABLE, "minItems": 3},
        **dict.fromkeys(("locale", "publisher", "title", "updated_at"), NULLABLE),
    },
    "required": ["details", "links", "locale", "publisher", "title", "updated_at"],
}
ALL: dict[str, Any] = {name: schema for name, (schema, _) in SCHEMAS.items()} | {
    "triplets": TRIPLETS,
    "todos": TODOS,
    "page": PAGE,
}


def write(model: Model, text: str, budget: int | None, seed: int, most: int = 10_000) -> tuple[str, int]:
    """What comes out under random logits; the text and the number of its tokens, the end included."""
    rng = np.random.default_rng(seed)
    pieces = b""
    with Sampler(model).grammar(text).dist(seed) as sampler:
        for n_tokens in range(most):
            sampler.limit_grammar(None if budget is None else max(1, budget - n_tokens))
            candidates = Candidates.from_logits(rng.normal(0, 3, len(model.vocabulary)).astype(np.float32))
            sampler.apply(candidates)
            token = candidates.selected
            assert token is not None
            if model.vocabulary.is_end(token):
                return pieces.decode(), n_tokens + 1
            sampler.accept(token)
            pieces += model.token_to_piece(token)
    return pieces.decode(errors="replace"), most


@pytest.mark.parametrize("name", ALL)
def test_the_least_budget_and_more(model: Model, name: str) -> None:
    text = json_schema_to_gbnf(ALL[name])
    least = lib.lc_grammar_least(lib.llama_model_get_vocab(model._pointer), text.encode(), b"root")
    assert least > 1
    for more in (0, 1, 20):
        written, n_tokens = write(model, text, least + more, seed=more)
        assert n_tokens <= least + more
        Draft202012Validator(ALL[name]).validate(json.loads(written))


def fewest(model: Model, texts: Sequence[str]) -> int:
    """The fewest tokens that one of some texts can be cut into, the end included."""
    vocabulary = model.vocabulary
    pieces = {model.token_to_piece(t) for t in range(len(vocabulary)) if not vocabulary.is_control(t)}

    def tokens(text: bytes) -> int:
        least = [0]
        for end in range(1, len(text) + 1):
            least.append(1 + min(least[begin] for begin in range(end) if text[begin:end] in pieces))
        return least[-1]

    return 1 + min(tokens(text.encode()) for text in texts)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("title", "type", "x_y", "state")])
@pytest.mark.parametrize(
    "values", [("null", '""'), ('""', "null"), ("[]", "0", "null"), ("true", "{}", '""')]
)
def test_tokens_cover_parts_of_several_rules(
    model: Model, names: tuple[str, ...], values: tuple[str, ...]
) -> None:
    """By itself each value is one token, but some of them are one with what stands before and behind them."""
    members = ' "," '.join(f"{json.dumps(json.dumps(name) + ':')} value" for name in names)
    text = f'root ::= "{{" {members} "}}"\nvalue ::= {" | ".join(map(json.dumps, values))}\n'
    pairs = (zip(names, chosen, strict=True) for chosen in product(values, repeat=len(names)))
    texts = ["{" + ",".join(f'"{name}":{value}' for name, value in pair) + "}" for pair in pairs]
    least = lib.lc_grammar_least(lib.llama_model_get_vocab(model._pointer), text.encode(), b"root")
    assert least == fewest(model, texts)
    for more in range(3):
        written, n_tokens = write(model, text, least + more, seed=more)
        assert n_tokens <= least + more
        assert written in texts


def test_what_is_written_fills_the_budget(model: Model) -> None:
    text = 'root ::= [a-z]* ("(" root ")" | "!")'
    for budget in (2, 3, 10, 50):
        written, n_tokens = write(model, text, budget, seed=budget)
        assert n_tokens <= budget
        assert written.count("(") == written.count(")")
        assert written.strip(")").endswith("!")


def test_characters_of_several_tokens(model: Model) -> None:
    for budget in range(4, 12):
        written, n_tokens = write(model, "root ::= [丂-丆]+ [ꙮ]", budget + 2, seed=budget)
        assert written.endswith("ꙮ")
        assert n_tokens <= budget + 2


def test_without_room_for_the_end_the_text_is_whole(model: Model) -> None:
    text = 'root ::= "a"{3} "b"{2,}'
    least = lib.lc_grammar_least(lib.llama_model_get_vocab(model._pointer), text.encode(), b"root")
    written, _ = write(model, text, least - 1, seed=0, most=least - 1)
    assert written == "aaabb"


def test_a_budget_that_is_too_small_holds_nothing_back(model: Model) -> None:
    written, n_tokens = write(model, 'root ::= [a-z]{40} "."', 3, seed=0)
    assert written.endswith(".")
    assert n_tokens > 3


STRING = r'"\"" ([^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]){2,12} "\""'


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        (f"root ::= {STRING}", '"ab'),
        (f'root ::= {STRING} | [a-z]+ "0123456789!"', ""),
        (f'root ::= "[" {STRING} ("," {STRING})* "]"', '["abcdefgh'),
        ('root ::= "\\"" [^"rx]* "rx" [^"]{0,7} ("\\"" | "é" root)', '"ab'),
        ("root ::= [^a]{3} [^b]{0,20} (<[10]> | !<[11]>) root?", "b"),
    ],
)
def test_masks_near_the_end_are_those_of_single_tokens(model: Model, text: str, begun: str) -> None:
    some = np.random.default_rng(0).choice(len(model.vocabulary), 3000, replace=False)
    differ = set()
    with Sampler(model).grammar(text) as sampler:
        for token in model.tokenize(begun, add_special=False):
            sampler.accept(token)
        for limit in (8, 4, 3, 5, 200, 6, 4, 2, 9):
            sampler.limit_grammar(limit)
            every = Candidates.from_logits(np.ones(len(model.vocabulary), dtype=np.float32))
            sampler.apply(every)
            allowed = np.isfinite(every.logits[some])
            for token, is_allowed in zip(some, allowed, strict=True):
                single = Candidates.from_logits(np.ones(1, dtype=np.float32))
                single.ids[0] = token
                sampler.apply(single)
                assert np.isfinite(single.logits[0]) == is_allowed
            differ.add(int(allowed.sum()))
    assert len(differ) > 1


@pytest.mark.parametrize("part", ['"a"? ', '"a"* ', '("a" | "aa")* ', '("a"?)* '])
def test_many_ways_to_read_one_text(model: Model, part: str) -> None:
    written, n_tokens = write(model, "root ::= " + part * 200 + '"b"', 30, seed=1)
    assert written.endswith("b")
    assert n_tokens <= 30


def test_too_many_ways_are_an_error(model: Model) -> None:
    text = 'root ::= "a" root "b" root | "a" root "c" root | "a"'
    token = model.tokenize("a", add_special=False)[0]

    def accept_many(sampler: Sampler) -> None:
        for _ in range(100):
            sampler.accept(token)

    with Sampler(model).grammar(text).greedy() as sampler, pytest.raises(errors.GrammarError, match="ways"):
        accept_many(sampler)


DEEP = """
import sys, threading
from llamacpp_core.lowlevel import Candidates, Model, Sampler
import numpy as np

GRAMMAR = 'root ::= v\\nv ::= "[" v ("," v)* "]" | "true" | "null" | "{" v "}" | "nothing at all"'
DEPTH = 3000

def work():
    with Model(sys.argv[1], vocab_only=True) as model, Sampler(model).grammar(GRAMMAR).greedy() as sampler:
        (bracket,) = model.tokenize('[', add_special=False)
        logits = np.zeros(len(model.vocabulary), np.float32)
        for _ in range(DEPTH):
            sampler.accept(bracket)
        text = ''
        for left in range(DEPTH + 50, 0, -1):
            sampler.limit_grammar(left)
            candidates = Candidates.from_logits(logits)
            sampler.apply(candidates)
            token = candidates.selected
            if model.vocabulary.is_end(token):
                break
            sampler.accept(token)
            text += model.token_to_piece(token).decode()
        print(text.count(']') - text.count('['), model.vocabulary.is_end(token))

threading.stack_size(256 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_an_answer_nests_deeply(run_python: Callable[..., Any], smollm2_path: Path) -> None:
    done = run_python(DEEP, str(smollm2_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3000", "True"], done.stderr
