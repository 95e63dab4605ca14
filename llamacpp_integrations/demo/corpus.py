"""The documents that the demonstration asks about: a few texts of facts, and this project's own pages."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

__all__ = ["QUESTIONS", "Passage", "passages"]

QUESTIONS = (
    "Who were the first people on the Moon?",
    "What does the angle of a bee's waggle dance stand for?",
    "When did the first steam locomotive run on rails?",
)

#: Paragraphs shorter than the first, in characters, go with the next one; longer than the second are tables
#: and listings, and are left out.
_SHORT, _LONG = 200, 900


class Passage(NamedTuple):
    """A piece of a document.

    Attributes:
        source: Name of the file.
        text: The piece.
    """

    source: str
    text: str


def _pieces(text: str) -> list[str]:
    """Paragraphs, with headings and other short ones joined to what follows."""
    pieces: list[str] = []
    held = ""
    for paragraph in text.split("\n\n"):
        held = f"{held}\n{paragraph.strip()}".strip()
        if len(held) >= _SHORT and not held.startswith(("```", "|")):
            pieces.append(held)
            held = ""
    return [piece for piece in [*pieces, held] if piece and len(piece) <= _LONG]


def passages() -> list[Passage]:
    """All passages, from the package's documents and, in a checkout, from the project's pages."""
    documents = [
        (entry.name, entry.read_text("utf-8")) for entry in (files(__package__) / "documents").iterdir()
    ]
    root = Path(__file__).resolve().parents[2]
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        if page.is_file():
            documents.append((page.name, page.read_text("utf-8")))
    return [Passage(name, piece) for name, text in sorted(documents) for piece in _pieces(text)]
