"""Text that is streamed to a terminal, with line breaks between words."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable

__all__ = ["WordWrapper"]


class WordWrapper:
    """Writes pieces of text so that no word is broken at the right edge.

    A word is held back until it is whole; one that is longer than a line is broken as the terminal does it.

    Args:
        write: What writes text.
        width: Columns of a line. None: those of the terminal, asked for anew for each word.
    """

    def __init__(self, write: Callable[[str], None], width: int | None = None) -> None:
        self._write = write
        self._width = width
        self._column = 0
        self._space = ""
        self._word = ""
        self._goes_on = False  # the beginning of a word that is longer than a line was written

    def add(self, text: str) -> None:
        """Writes a piece, but for a word at its end."""
        out: list[str] = []
        for character in text:
            if character == "\n":
                out += [self._placed(), "\n"]
                self._column, self._space = 0, ""
            elif character in " \t":
                out.append(self._placed())
                self._space += character.replace("\t", "    ")
            else:
                self._word += character
                if _columns(self._word) >= self._line:
                    out.append(self._placed())
                    self._goes_on = True
        if text := "".join(out):
            self._write(text)

    def finish(self) -> None:
        """Writes what was held back."""
        if text := self._placed() + self._space:
            self._write(text)
        self._column = self._column + len(self._space)
        self._space = ""

    @property
    def _line(self) -> int:
        return self._width or shutil.get_terminal_size().columns

    def _placed(self) -> str:
        """The word, after its space or on a new line."""
        word, space, goes_on = self._word, self._space, self._goes_on
        self._goes_on = False
        if not word:
            return ""
        self._word = self._space = ""
        size = _columns(word)
        if goes_on:
            self._column = (self._column + size) % self._line
            return word
        if self._column and self._column + len(space) + size > self._line:
            self._column = size
            return f"\n{word}"
        self._column += len(space) + size
        return space + word


def _columns(text: str) -> int:
    """How wide a terminal draws a text."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Cc", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
