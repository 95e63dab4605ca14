"""What the help calls the values of options: words of people, where typer prints Python's types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["name_values"]

_WORDS = (("path", "FILE"), ("int", "NUMBER"), ("float", "NUMBER"), ("bool", "YES|NO"), ("str", "TEXT"))


def name_values(command: Any) -> None:
    """Names the values of all options and arguments of a command, and of those inside it.

    Versions of typer that print click's words (TEXT, INTEGER) are left as they are.
    """
    for parameter in command.params:
        shown = getattr(parameter, "display_type", None)
        bare = getattr(parameter, "bare_type", None)
        if not callable(shown) or not callable(bare):
            continue
        kind = str(bare()).lower()
        word = next((word for name, word in _WORDS if name in kind), None)
        if word is not None:
            parameter.display_type = parameter.display_type_rich = _saying(word)
    for inner in getattr(command, "commands", {}).values():
        name_values(inner)


def _saying(word: str) -> Callable[..., str]:
    return lambda *_args, **_keywords: word
