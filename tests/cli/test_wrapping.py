"""Answers on a terminal: lines end between words, however the text is cut into pieces."""

from __future__ import annotations

import random
import textwrap

import pytest

from llamacpp_integrations.cli.wrapping import WordWrapper

TEXT = "The octopus has three hearts, and two of them stop beating when it swims.\n\nBasil needs sun."


def wrapped(pieces: list[str], width: int) -> str:
    out: list[str] = []
    wrapper = WordWrapper(out.append, width)
    for piece in pieces:
        wrapper.add(piece)
    wrapper.finish()
    return "".join(out)


@pytest.mark.parametrize("width", [10, 14, 20, 33, 80])
def test_lines_break_as_textwrap_breaks_them(width: int) -> None:
    expected = "\n".join("\n".join(textwrap.wrap(line, width)) for line in TEXT.split("\n"))
    assert wrapped([TEXT], width) == expected
    rng = random.Random(width)
    for _ in range(50):
        cuts = sorted(rng.sample(range(1, len(TEXT)), 12))
        pieces = [TEXT[a:b] for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
        assert wrapped(pieces, width) == expected


def test_words_come_as_soon_as_they_are_whole() -> None:
    out: list[str] = []
    wrapper = WordWrapper(out.append, 20)
    for piece, shown in [("One", ""), (" t", "One"), ("wo ", "One two"), ("three", "One two")]:
        wrapper.add(piece)
        assert "".join(out) == shown
    wrapper.finish()
    assert "".join(out) == "One two three"


def test_words_longer_than_a_line_and_indented_code() -> None:
    assert wrapped(["x" * 25], 10) == "x" * 25
    assert wrapped(["a " + "x" * 12], 10) == "a\n" + "x" * 12
    code = "def f():\n    return 1\n"
    assert wrapped([code], 40) == code


def test_wide_characters_take_two_columns() -> None:
    assert wrapped(["日本 日本"], 8) == "日本\n日本"
    assert wrapped(["日本 日本"], 9) == "日本 日本"
    assert wrapped(["e\u0301e\u0301 abc"], 6) == "e\u0301e\u0301 abc"
