"""LlamaGrammar: a grammar that was checked when it was made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.elements import MAX_GRAMMAR_BYTES
from llamacpp_core.grammar.gbnf import parse_gbnf
from llamacpp_core.grammar.json_schema import json_schema_to_gbnf
from llamacpp_core.grammar.limits import SchemaLimits

__all__ = ["LLAMA_GRAMMAR_DEFAULT_ROOT", "LlamaGrammar"]

LLAMA_GRAMMAR_DEFAULT_ROOT = "root"

_logger = logging.getLogger(__name__)


class LlamaGrammar:
    """A grammar that constrains what a model generates.

    Two grammars are equal when their text is.

    Args:
        gbnf: GBNF text with a rule ``root``.

    Raises:
        GrammarError: When the text cannot be used; the message has line, column and an excerpt.
    """

    __slots__ = ("_gbnf",)

    def __init__(self, gbnf: str) -> None:
        parse_gbnf(gbnf, root=LLAMA_GRAMMAR_DEFAULT_ROOT)
        self._gbnf = gbnf

    @classmethod
    def _checked(cls, gbnf: str) -> LlamaGrammar:
        """A grammar from text that is known to be good."""
        grammar = cls.__new__(cls)
        grammar._gbnf = gbnf
        return grammar

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = False) -> LlamaGrammar:
        """A grammar from GBNF text.

        Args:
            grammar: GBNF text with a rule ``root``.
            verbose: Log the grammar.

        Raises:
            GrammarError: When the text cannot be used.
        """
        return cls(grammar)._log(verbose)

    @classmethod
    def from_file(cls, file: str | PathLike[str], verbose: bool = False) -> LlamaGrammar:
        """A grammar from a file of GBNF text in UTF-8.

        Args:
            file: Path of the file.
            verbose: Log the grammar.

        Raises:
            GrammarError: When the file cannot be read or its text cannot be used.
        """
        if not isinstance(file, str | PathLike) or "\0" in str(file) or not isinstance(fspath(file), str):
            raise GrammarError("file must be the path of a grammar", parameter="file")
        path = Path(file)
        try:
            if path.stat().st_size > MAX_GRAMMAR_BYTES:
                raise GrammarError(
                    f"grammar file {path}: more than {MAX_GRAMMAR_BYTES} bytes", parameter="file"
                )
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise GrammarError(f"grammar file {path}: {error.strerror or error}", parameter="file") from error
        except UnicodeDecodeError as error:
            raise GrammarError(f"grammar file {path}: not UTF-8: {error}", parameter="file") from error
        return cls.from_string(text, verbose)

    @classmethod
    def from_json_schema(
        cls,
        json_schema: str | Mapping[str, Any] | bool,
        verbose: bool = False,
        *,
        limits: SchemaLimits | None = None,
    ) -> LlamaGrammar:
        """A grammar for JSON that is valid under a schema.

        Args:
            json_schema: The schema, as JSON text or Python objects.
            verbose: Log the grammar.
            limits: Bounds on what the schema leaves open.

        Raises:
            GrammarError: When something in the schema cannot be enforced; the message has its JSON path.
        """
        return cls._checked(json_schema_to_gbnf(json_schema, limits=limits))._log(verbose)

    def _log(self, verbose: bool) -> LlamaGrammar:
        if verbose:
            _logger.info("grammar:\n%s", self._gbnf)
        return self

    @property
    def gbnf(self) -> str:
        """The GBNF text."""
        return self._gbnf

    @property
    def _grammar(self) -> str:
        """The text under the name that llama-cpp-python uses."""
        return self._gbnf

    @property
    def _root(self) -> str:
        """The start rule under the name that llama-cpp-python uses."""
        return LLAMA_GRAMMAR_DEFAULT_ROOT

    def __eq__(self, other: object) -> bool:
        return self._gbnf == other._gbnf if isinstance(other, LlamaGrammar) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._gbnf)

    def __repr__(self) -> str:
        n_rules = sum("::=" in line for line in self._gbnf.splitlines())
        first = next((line for line in self._gbnf.splitlines() if line.strip()), "")
        shown = first if len(first) <= 60 else first[:57] + "..."
        return f"<LlamaGrammar {n_rules} rules, {len(self._gbnf)} characters: {shown!r}>"
