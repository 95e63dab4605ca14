"""Token bytes become text that can be handed out at once."""

from __future__ import annotations

import pytest

from llamacpp_core.engine.python_loop.text_stream import TextStream


def feed(stream: TextStream, *pieces: bytes) -> list[str]:
    return [stream.feed(piece) for piece in pieces]


def test_characters_come_whole() -> None:
    stream = TextStream([])
    assert feed(stream, b"a\xf0\x9f", b"\x98", b"\x80b") == ["a", "", "\N{GRINNING FACE}b"]
    assert stream.finish() == ""


def test_the_start_of_a_stop_string_is_held_back() -> None:
    stream = TextStream(["<end>", "\n\n"])
    assert feed(stream, b"one <e", b"gg> ", b"two\n", b"three") == ["one ", "<egg> ", "two", "\nthree"]
    assert feed(stream, b" <en") == [" "]
    assert stream.finish() == "<en"


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_stop_string_ends_the_text_wherever_tokens_end(cut: int) -> None:
    stream = TextStream(["STOP"])
    data = b"some STOP more"
    assert "".join(feed(stream, data[:cut], data[cut:])[: 1 if cut >= 9 else 2]) == "some "
    assert stream.stopped_by == "STOP"


def test_the_first_stop_string_wins() -> None:
    stream = TextStream(["b", "a"])
    assert stream.feed(b"xxab") == "xx"
    assert stream.stopped_by == "a"
