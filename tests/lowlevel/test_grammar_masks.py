"""The masks of our grammar sampler are llama.cpp's, token by token, in every state that is reached."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from grammar.matcher import random_text
from grammar.schemas import SCHEMAS
from numpy.typing import NDArray

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar import json_schema_to_gbnf, parse_gbnf
from llamacpp_core.lowlevel import Model
from llamacpp_core.native import ffi, lib

GRAMMARS = {
    "one text": 'root ::= "yes" | "no" | "Überraschung" | "日本語"',
    "repetition": 'root ::= [a-z]{2,5} ("," [a-z]{0,3})* "."',
    "everything": "root ::= .*",
    "inverse": 'root ::= ([^"\\\\\\x00-\\x1F] | "\\\\" ["\\\\/bfnrt])*',
    "inverse, beyond ASCII": "root ::= [^a-zé-ü]+ [é-ü]*",
    "characters of many bytes": "root ::= [\u03b1-\u03c9]+ [一-龥]* [😀-😿]{1,3}",
    "recursive": 'root ::= "(" root ")" root | [a-z]*',
    "left, then right": 'root ::= sum; sum ::= product (" + " product)*'.replace(";", "\n")
    + '\nproduct ::= [0-9]+ ("*" [0-9]+)*',
    "empty rules": 'root ::= a b "end"\na ::= "x"? \nb ::= a a ("y" | "")',
    "token": 'root ::= <[10]> "a" | !<[10]> "b"',
    "a string with bounds": r'root ::= "\"" ([^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]){2,7} "\""',
    "a string with a word in it": r'root ::= "\"" [^"rx]{0,20} "rx" [^"]{0,7} "\"" | "\"no\""',
    "ambiguous": 'root ::= ("a" | "aa" | "ab" | "b")* "c"',
}


@cache
def facts_of(model: Model) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Of each token the bytes of its text, and whether it ends the generation."""
    vocabulary = model.vocabulary
    ids = range(len(vocabulary))
    return (
        np.array([len(vocabulary.token_to_piece(token)) for token in ids], dtype=np.int32),
        np.array([vocabulary.is_end(token) for token in ids]),
    )


class Masks:
    """A sampler, and what it allows."""

    def __init__(self, model: Model, make: Any, text: str) -> None:
        self.n_vocab = len(model.vocabulary)
        self.sizes, self.ends = facts_of(model)
        pointer = make(lib.llama_model_get_vocab(model._pointer), text.encode(), b"root")
        assert pointer != ffi.NULL
        self.sampler = ffi.gc(pointer, lib.llama_sampler_free)
        kind = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self.data = ffi.new("llama_token_data[]", self.n_vocab)
        self.records = np.frombuffer(ffi.buffer(self.data), dtype=kind)

    def allowed(self) -> NDArray[np.bool_]:
        self.records["id"] = np.arange(self.n_vocab)
        self.records["logit"] = 1.0
        array = ffi.new("llama_token_data_array *", {"data": self.data, "size": self.n_vocab, "selected": -1})
        lib.llama_sampler_apply(self.sampler, array)
        if (error := lib.lc_take_error()) != ffi.NULL:
            raise GrammarError(ffi.string(error).decode())
        assert array.size == self.n_vocab
        found: NDArray[np.bool_] = np.isfinite(self.records["logit"])
        return found

    def allows(self, token: int) -> bool:
        """Asked about one token alone, as the engine does for the token that it has sampled."""
        self.records[0] = (token, 1.0, 0.0)
        array = ffi.new("llama_token_data_array *", {"data": self.data, "size": 1, "selected": -1})
        lib.llama_sampler_apply(self.sampler, array)
        return bool(np.isfinite(self.records["logit"][0]))

    def accept(self, token: int) -> None:
        lib.llama_sampler_accept(self.sampler, token)
        assert lib.lc_take_error() == ffi.NULL


def compare(model: Model, text: str, tokens: Iterator[int] | random.Random, every: int = 1) -> int:
    """Follows one text; returns how many masks were compared."""
    ours = Masks(model, lib.lc_grammar_sampler, text)
    theirs = Masks(model, lib.llama_sampler_init_grammar, text)
    n_compared = 0
    for step, token in enumerate(tokens_of(ours, tokens)):
        if step % every == 0:
            mine, allowed = ours.allowed(), theirs.allowed()
            if not mine[ours.ends].any():  # llama.cpp also ends inside a character
                allowed &= ~ours.ends
            np.testing.assert_array_equal(mine, allowed)
            assert [ours.allows(t) for t in SOME] == [bool(allowed[t]) for t in SOME]
            n_compared += 1
        if token is None:
            break
        if not ours.allows(token):  # part of a character
            assert not theirs.allows(token)
            break
        ours.accept(token)
        theirs.accept(token)
    return n_compared


SOME = random.Random(0).sample(range(49152), 30)


def tokens_of(masks: Masks, tokens: Iterator[int] | random.Random) -> Iterator[int | None]:
    """The tokens to follow, then None; from a random generator some that the grammar allows."""
    if not isinstance(tokens, random.Random):
        yield from tokens
        yield None
        return
    for _ in range(5):
        choice = np.flatnonzero(masks.allowed() & ~masks.ends)
        if not len(choice):
            break
        longest = choice[np.argmax(masks.sizes[choice])]
        yield int(longest if tokens.random() < 0.2 else tokens.choice(list(choice)))
    yield None


def random_grammar(rng: random.Random) -> str:
    """Rules that refer to later ones at any place, and to earlier ones after a character."""
    names = [f"r{i}" for i in range(rng.randint(1, 4))]

    def item(index: int, first: bool, depth: int) -> str:
        kind = rng.randrange(6)
        if kind == 0 and index + 1 < len(names):
            return rng.choice(names[index + 1 :])
        if kind == 1 and not first:
            return rng.choice(names)
        if kind == 2:
            return rng.choice(["[a-c]", "[^a-z]", "[éà-ü]", "[一-三]", "."])
        if kind == 3 and depth < 1:  # with more, some are ambiguous beyond all bounds
            return f"({sequence(index, first, depth + 1)} | {sequence(index, first, depth + 1)})"
        return json.dumps(rng.choice(["a", "th", "the ", "é", "日", "😀", "0"]), ensure_ascii=False)

    def sequence(index: int, first: bool = True, depth: int = 0) -> str:
        parts: list[str] = []
        for _ in range(rng.randint(1, 3)):
            repeat = rng.choice(["", "", "", "?", "*", "+", "{0,2}"])
            parts.append(item(index, first and not any(p[-1] not in "?*}" for p in parts), depth) + repeat)
        return " ".join(parts)

    rules = [f"root ::= {names[0]} | {sequence(len(names))}"]
    rules += [f"{name} ::= {sequence(i)} | {sequence(i)}" for i, name in enumerate(names)]
    return "\n".join(rules)


@pytest.mark.parametrize("text", GRAMMARS.values(), ids=list(GRAMMARS))
def test_grammars(model: Model, text: str) -> None:
    assert sum(compare(model, text, random.Random(seed)) for seed in range(2)) > 2


@pytest.mark.parametrize("seed", range(40))
def test_random_grammars(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    while True:
        text = random_grammar(rng)
        try:
            parse_gbnf(text)
        except GrammarError:  # some begin with themselves
            continue
        break
    with suppress(GrammarError):  # "too many ways": llama.cpp would need hours
        assert compare(model, text, rng)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas(model: Model, name: str) -> None:
    text = json_schema_to_gbnf(SCHEMAS[name][0])
    tokens = model.tokenize(random_text(text, seed=1, fuel=60), add_special=False)
    assert compare(model, text, iter(tokens), every=max(1, len(tokens) // 4))
