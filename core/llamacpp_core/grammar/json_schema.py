"""Compiles JSON Schema (draft 2020-12) into GBNF, exactly or not at all.

What a grammar made here accepts is valid under the schema. What cannot be enforced is refused by its JSON
path, never dropped. Where a schema leaves something open the grammar is narrower than the schema:
:class:`~llamacpp_core.grammar.limits.SchemaLimits` bounds lengths and depths, properties come in the order of
the schema or the required ones first, ``additionalProperties`` is false unless the schema says otherwise or
lists no property of an inner object, and a schema without ``type`` stands for
the types that its keywords speak of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from llamacpp_core.errors import GrammarError, InvalidParameterError
from llamacpp_core.grammar.elements import MAX_GRAMMAR_BYTES, MAX_RULES
from llamacpp_core.grammar.garbage import uncollected
from llamacpp_core.grammar.limits import SchemaLimits
from llamacpp_core.grammar.rules import RuleSet, n_expanded
from llamacpp_core.grammar.schema.compile_value import ValueCompiler
from llamacpp_core.grammar.schema.document import Document
from llamacpp_core.grammar.unroll import unroll
from llamacpp_core.grammar.values import Values

__all__ = [
    "LooseSchema", "PropertyOrder", "SchemaCompiler", "dump_schema", "json_schema_to_gbnf", "load_schema",
    "loose_schema",
]  # fmt: skip

PropertyOrder = Literal["schema", "sorted"]


def json_schema_to_gbnf(
    schema: Mapping[str, Any] | bool | str,
    *,
    limits: SchemaLimits | None = None,
    root: str = "root",
    property_order: PropertyOrder = "schema",
) -> str:
    """Compiles a JSON schema into the text of a grammar.

    Results are cached by the schema's text.

    Args:
        schema: The schema, or its JSON text.
        limits: Bounds on what the schema leaves open; by default those of :class:`SchemaLimits`.
        root: Name of the start rule (letters, digits and ``-``).
        property_order: ``"schema"`` for the order in which the schema lists properties, ``"sorted"`` by name.

    Returns:
        GBNF text.

    Raises:
        GrammarError: When something in the schema cannot be enforced; the message begins with its JSON path.
    """
    text = schema if isinstance(schema, str) else dump_schema(schema)
    return _compile_text(text, limits or SchemaLimits(), root, property_order)


@lru_cache(maxsize=256)
def _compile_text(text: str, limits: SchemaLimits, root: str, property_order: PropertyOrder) -> str:
    with uncollected():
        compiler = SchemaCompiler(limits=limits, root=root, property_order=property_order)
        try:
            gbnf = compiler.render(compiler._add(load_schema(text), "value"))
        except GrammarError as error:
            # The collector would look through all that its traceback holds on to.
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            del compiler  # before the collector looks through what is left
    return gbnf


class LooseSchema(NamedTuple):
    """A grammar that holds what it can of a schema.

    Attributes:
        gbnf: GBNF text.
        left_out: What it does not hold, as the messages of the errors that it would have been.
    """

    gbnf: str
    left_out: tuple[str, ...]


def loose_schema(
    schema: Mapping[str, Any] | bool | str, *, limits: SchemaLimits | None = None
) -> LooseSchema:
    """Compiles a JSON schema as far as a grammar can enforce it; the rest is left to a validation.

    Results are cached by the schema's text.

    Args:
        schema: The schema, or its JSON text.
        limits: As for :func:`json_schema_to_gbnf`.

    Raises:
        GrammarError: The schema is malformed, or no value is valid under it.
    """
    text = schema if isinstance(schema, str) else dump_schema(schema)
    return _loosely(text, limits or SchemaLimits())


@lru_cache(maxsize=128)
def _loosely(text: str, limits: SchemaLimits) -> LooseSchema:
    compiler = SchemaCompiler(limits=limits, lenient=True)
    gbnf = compiler.render(compiler._add(load_schema(text), "value"))
    return LooseSchema(gbnf, tuple(dict.fromkeys(compiler.left_out)))


def dump_schema(schema: Any) -> str:
    """The JSON text of a schema, keys in their order."""
    try:
        return json.dumps(schema, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"$: the schema is not JSON: {error}", parameter="json_schema") from error


def load_schema(text: str) -> Any:
    """Reads a schema from its JSON text; a key that occurs twice is an error."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_finite)
    except (json.JSONDecodeError, RecursionError) as error:
        raise GrammarError(f"$: the schema is not valid JSON: {error}", parameter="json_schema") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise GrammarError(f"$: the key {twice!r} occurs twice in one object", parameter="json_schema")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise GrammarError(f"$: the number {text} is beyond what a double holds", parameter="json_schema")
    return number


class SchemaCompiler:
    """Compiles several schemas into one grammar.

    Args:
        limits: Bounds on what the schemas leave open.
        root: Name of the start rule.
        property_order: See :func:`json_schema_to_gbnf`.
        lenient: Leave out what cannot be enforced instead of refusing it.

    Attributes:
        left_out: What was left out, as the messages of the errors that it would have been.
    """

    def __init__(
        self,
        *,
        limits: SchemaLimits | None = None,
        root: str = "root",
        property_order: PropertyOrder = "schema",
        lenient: bool = False,
    ) -> None:
        if property_order not in ("schema", "sorted"):
            raise InvalidParameterError(
                f"property_order must be 'schema' or 'sorted', got {property_order!r}",
                parameter="property_order",
            )
        if not root or root.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"):
            raise InvalidParameterError(
                f"root must be a rule name of letters, digits and '-', got {root!r}", parameter="root"
            )
        self.rules = RuleSet(root)
        self.values = Values(self.rules, limits or SchemaLimits())
        self._sorted = property_order == "sorted"
        self._recursive: set[str] = set()
        self._dropped = False
        self.lenient = lenient
        self.left_out: list[str] = []

    def add(self, schema: Any, prefix: str) -> str:
        """Adds the rules of a schema.

        Args:
            schema: The schema as Python objects; references in it are resolved within it.
            prefix: Prefix of the names of rules made for it.

        Returns:
            The symbol for values of the schema.

        Raises:
            GrammarError: When something in the schema cannot be enforced.
        """
        return self._add(load_schema(dump_schema(schema)), prefix)

    def _add(self, schema: Any, prefix: str) -> str:
        """Adds a schema that was read from JSON."""
        try:
            with uncollected():
                job = ValueCompiler(
                    self.values, Document(schema), sort_properties=self._sorted, lenient=self.lenient
                )
                symbol = job.compile_root(prefix)
                self._recursive |= job.recursive
                self.left_out += job.left_out
                self._dropped = self._dropped or job.dropped
                del job
        except RecursionError as error:
            raise GrammarError("$: schemas are nested too deeply", parameter="json_schema") from error
        except UnicodeEncodeError as error:
            raise GrammarError(
                "$: a lone surrogate in a name or value cannot be written as UTF-8", parameter="json_schema"
            ) from error
        return symbol

    def render(self, start: str) -> str:
        """The grammar text.

        Args:
            start: Expression for the start rule, made of symbols that :meth:`add` returned.

        Raises:
            GrammarError: When the grammar is too large, or a recursive schema has no value within the limits.
        """
        if self._recursive:
            start = self._bounded(start)
        elif self._dropped:
            self.rules.keep_reachable(start)
        text = self.rules.render(start)
        self._check_size(len(text) if text.isascii() else len(text.encode()))
        if n_expanded(text) > MAX_RULES:
            raise GrammarError(
                f"$: the schema makes a grammar that expands to more than {MAX_RULES} rules",
                parameter="json_schema",
            )
        return text

    def _bounded(self, start: str) -> str:
        """The expression for the start rule when recursive schemas end."""
        self.rules.keep_reachable(start)
        self._check_size(self.rules.size(start))
        most = self.values.limits.max_recursion
        bounded = unroll(self.rules, start, self._recursive, None if most is None else most + 1)
        if bounded is not None:
            return bounded
        if most is None or unroll(self.rules, start, self._recursive, None, change=False) is None:
            raise GrammarError(
                "$: the schema has no finite value: a part of it always needs another of its kind inside",
                parameter="json_schema",
            )
        raise GrammarError(
            f"$: every value of the schema has recursive schemas more than {most} times inside each other; "
            "raise max_recursion in schema_limits",
            parameter="json_schema",
        )

    @staticmethod
    def _check_size(size: int) -> None:
        if size > MAX_GRAMMAR_BYTES:
            raise GrammarError(
                f"$: the schema makes a grammar of {size} bytes, the limit is {MAX_GRAMMAR_BYTES}",
                parameter="json_schema",
            )
