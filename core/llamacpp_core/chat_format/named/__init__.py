"""The chat formats that have a name: templates, tokens and stops.

The names are those of llama-cpp-python. Each template is written from the format's own publication (its
``description`` says which), renders with Jinja2 and with llama.cpp's engine, and refuses what the format
cannot express (a role, a second system message) instead of leaving it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from llamacpp_core.chat_format.named._table import TABLE
from llamacpp_core.errors import InvalidParameterError

__all__ = ["NAMED_FORMATS", "NamedFormat", "ToolSyntax", "format_name", "named_format"]

ToolSyntax: TypeAlias = Literal[
    "tool_call_tags", "message_prefix", "chatglm3", "functionary", "functionary-v1", "functionary-v2"
]
"""How a format writes tool calls, for the parsers of :mod:`llamacpp_core.chat_format.written_calls`."""


@dataclass(frozen=True)
class NamedFormat:
    """A chat format.

    Attributes:
        name: Its name.
        template: Its Jinja chat template.
        stop: Texts at which an answer ends, ``eos_token`` included.
        bos_token: Text of the token that begins a sequence; the template writes it only if the published
            format does, else the tokenizer adds it where the vocabulary wants it.
        eos_token: Text of the token that ends a turn or the sequence.
        description: What models it is for, and where it is published.
        tool_syntax: How it writes tool calls; None when it has no syntax for tools.
    """

    name: str
    template: str
    stop: tuple[str, ...]
    bos_token: str
    eos_token: str
    description: str
    tool_syntax: ToolSyntax | None = None


NAMED_FORMATS: tuple[str, ...] = tuple(sorted(TABLE))
"""Names of the built-in chat formats, sorted."""


def format_name(value: object) -> str:
    """A value that has to be the name of a chat format.

    Raises:
        InvalidParameterError: It is not a string, or is empty.
    """
    if isinstance(value, str) and value.strip():
        return value
    hint = f": give its name, {value.name!r}" if isinstance(value, NamedFormat) else ""
    got = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    raise InvalidParameterError(f"chat_format must be a name, not {got}{hint}", parameter="chat_format")


def named_format(name: str) -> NamedFormat:
    """A built-in chat format.

    Raises:
        InvalidParameterError: There is no such format.
    """
    return _format(format_name(name))


@cache
def _format(name: str) -> NamedFormat:
    if name not in TABLE:
        raise InvalidParameterError(
            f"unknown chat format {name!r}; known are {', '.join(NAMED_FORMATS)}", parameter="chat_format"
        )
    entry = TABLE[name]
    template = entry.template or _read(entry.file or f"{name}.jinja")
    template = template.replace("@DEFAULT_SYSTEM@", entry.default_system)
    return NamedFormat(
        name=name,
        template=template.rstrip("\n"),
        stop=tuple(dict.fromkeys((entry.eos_token, *entry.stop))),
        bos_token=entry.bos_token,
        eos_token=entry.eos_token,
        description=entry.description,
        tool_syntax=entry.tool_syntax,
    )


def _read(file: str) -> str:
    """A template file, with the macro files that it names in ``@file@`` lines put in their place."""
    from importlib.resources import files

    text = (files(__package__) / file).read_text("utf-8")
    return re.sub(r"^@(\S+\.jinja)@\n", lambda match: _read(match[1]), text, flags=re.MULTILINE)
