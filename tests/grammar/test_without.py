"""Texts without some words: the grammar against Python's own search."""

from __future__ import annotations

import itertools
import random

import pytest
from grammar.matcher import accepts

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.without import text_without_gbnf


@pytest.mark.parametrize("words", [("ab",), ("aab", "ba"), ("a",), ("aba", "bab", "abc")])
def test_short_texts_of_few_letters(words: tuple[str, ...]) -> None:
    gbnf = text_without_gbnf(words)
    for size in range(6):
        for letters in itertools.product("abc", repeat=size):
            text = "".join(letters)
            assert accepts(gbnf, text) is not any(word in text for word in words), text


def test_tags_in_random_texts() -> None:
    words = ("<tool_call>", "[TOOL_CALLS]", '{"name": "add"')
    gbnf = text_without_gbnf(words)
    pieces = [
        "<",
        "tool",
        "_call",
        ">",
        "[TOOL",
        "_CALLS",
        "]",
        '{"name": ',
        '"add"',
        "\n",
        "é",
        "<tool_call",
    ]
    rng = random.Random(7)
    seen = set()
    for _ in range(400):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 6)))
        free = not any(word in text for word in words)
        assert accepts(gbnf, text) is free, text
        seen.add(free)
    assert seen == {True, False}


@pytest.mark.parametrize("words", [("",), ("a", ""), ("x" * 2001,)])
def test_words_that_cannot_be_left_out(words: tuple[str, ...]) -> None:
    with pytest.raises(GrammarError, match="words to leave out"):
        text_without_gbnf(words)
