"""One schema document into grammar rules: objects, arrays and numbers are made elsewhere, the rest here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.formats import PATTERNS, STRUCTURED
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.rules import choice
from llamacpp_core.grammar.schema.arrays import ArrayCompiler
from llamacpp_core.grammar.schema.document import Document, Node
from llamacpp_core.grammar.schema.flats import KINDS, Array, Flat, Number, Object, Shape, Single, Text
from llamacpp_core.grammar.schema.keywords import NoValueError, refuse, step
from llamacpp_core.grammar.schema.languages import accepted, accepts, text_dfa
from llamacpp_core.grammar.schema.numbers import number_rule
from llamacpp_core.grammar.schema.objects import ObjectCompiler
from llamacpp_core.grammar.schema.own import loosened, own_shape
from llamacpp_core.grammar.schema.shapes import Shapes
from llamacpp_core.grammar.schema.validity import fits
from llamacpp_core.grammar.strings import bounded_rules
from llamacpp_core.grammar.structural import structural_rules
from llamacpp_core.grammar.values import Values

__all__ = ["ValueCompiler"]

_MAX_DEPTH = 64
#: Most states of all patterns of a document together.
_MAX_STATES = 15_000


class ValueCompiler:
    """Compiles the schemas of one document.

    Args:
        values: Where rules go, with the limits.
        document: The schema.
        sort_properties: Properties by name instead of in the schema's order.
        lenient: Leave out what cannot be enforced instead of refusing it.

    Attributes:
        left_out: What was left out, as the errors that it would have been.
        recursive: Rules for schemas that were met inside themselves.
        dropped: Parts were left out since no value is valid under them.
    """

    def __init__(
        self, values: Values, document: Document, *, sort_properties: bool, lenient: bool = False
    ) -> None:
        self.values = values
        self.rules = values.rules
        self.limits = values.limits
        self.document = document
        self.shapes = Shapes(document)
        self.recursive: set[str] = set()
        self.dropped = False
        self.lenient = lenient
        self.left_out: list[str] = []
        self._sort_properties = sort_properties
        self._made: dict[int, str] = {}
        self._impossible: dict[int, str] = {}
        self._open: dict[int, str | None] = {}
        self._flats: dict[int, tuple[Flat, str]] = {}
        self._n_states = 0
        self._counted: set[Text] = set()

    def compile_root(self, hint: str) -> str:
        """Compiles the whole document; returns the symbol for its values."""
        return self.rule(self.document.root, hint)

    def rule(self, node: Node, hint: str) -> str:
        """The symbol for the values of a node.

        Args:
            node: The node.
            hint: Prefix of the names of its rules.

        Raises:
            NoValueError: There is none.
            GrammarError: It cannot be enforced.
        """
        made = self._made.get(node.number)
        if made is not None:
            return made
        if node.number in self._impossible:
            raise NoValueError(self._impossible[node.number], parameter="json_schema")
        if node.number in self._open:
            name = self._open[node.number] or self.rules.reserve(hint)
            self._open[node.number] = name
            self.recursive.add(name)
            return name
        if len(self._open) >= _MAX_DEPTH:
            refuse(node.path, f"schemas are nested more than {_MAX_DEPTH} deep")
        self._open[node.number] = None
        try:
            symbol = self._value(node, hint)
        except NoValueError as error:
            self._impossible[node.number] = str(error)
            self.dropped = True
            inner = self._open.pop(node.number)
            if inner is not None:
                self.rules.define(inner, f'"!" {inner}')
            raise
        except GrammarError as error:
            if not self.lenient:
                raise
            self.left_out.append(str(error))
            symbol = self._loose(node, hint)
        inner = self._open.pop(node.number)
        if inner is not None:
            self.rules.define(inner, symbol)
            symbol = inner
        self._made[node.number] = symbol
        return symbol

    def inside(self, node: Node, hint: str) -> str:
        """The symbol for the values of a node inside another, free-form ones one level less deep."""
        if node is self.document.true:
            depth = self.limits.max_depth
            return self.values.anything(None if depth is None else max(0, depth - 1))
        return self.rule(node, hint)

    def _value(self, node: Node, hint: str) -> str:
        if node is self.document.true:
            return self.values.anything(self.limits.max_depth)
        if node is self.document.false:
            raise NoValueError(f"{node.path}: no value is valid under false", parameter="json_schema")
        shape = self.shapes.of(node)
        flats = _without_parts(shape)
        if not flats:
            if "enum" in node.keywords:
                raise _no_enum(node.path)
            raise NoValueError(f"{node.path}: no value can satisfy all of it", parameter="json_schema")
        spoken: list[tuple[str, Flat]] = []
        silent: list[tuple[str, Flat]] = []
        for kind, flat in flats:
            (silent if self.shapes.is_default(kind, flat) else spoken).append((kind, flat))
        if not spoken and len(silent) == len(KINDS):
            return self.values.anything(self.limits.max_depth)
        return self._choice(spoken or silent, node.path, hint)

    def _loose(self, node: Node, hint: str) -> str:
        """The values of a node by its types and properties alone; any value where that does not do."""
        try:
            shape = own_shape(node, self.document, wide=False)
            flats = [(kind, loosened(flat)) for kind, some in shape.items() for flat in some]
            if len(flats) < len(KINDS):
                return self._choice(flats, node.path, hint)
        except GrammarError as error:
            self.left_out.append(str(error))
        return self.values.anything(self.limits.max_depth)

    def _choice(self, flats: Iterable[tuple[str, Flat]], path: str, hint: str) -> str:
        symbols, failures = [], []
        for kind, flat in flats:
            try:
                symbols.append(self._flat(kind, flat, path, hint))
            except NoValueError as error:
                self.dropped = True
                # The error itself would hold on to all that led to it.
                failures.append(str(error))
        if not symbols:
            why = failures[0] if failures else f"{path}: no value can satisfy all of it"
            raise NoValueError(why, parameter="json_schema")
        return self.rules.add(hint, choice(symbols))

    def _flat(self, kind: str, flat: Flat, path: str, hint: str) -> str:
        known = self._flats.get(id(flat))
        if known is not None:
            return known[1]
        symbol = self._made_flat(kind, flat, path, hint)
        if not self._open or not self.recursive:
            self._flats[id(flat)] = (flat, symbol)
        return symbol

    def _made_flat(self, kind: str, flat: Flat, path: str, hint: str) -> str:
        if isinstance(flat, Single):
            return self.values.literals(flat.values, hint) if kind == "boolean" else '"null"'
        if flat.values is not None:
            return self._enum(flat, path, hint)
        if isinstance(flat, Object):
            objects = ObjectCompiler(self, sort_properties=self._sort_properties)
            return objects.object(flat, path, hint)
        if isinstance(flat, Array):
            return ArrayCompiler(self).array(flat, path, hint)
        if isinstance(flat, Number):
            return number_rule(flat, self.values, path, hint)
        return self._string(flat, path, hint)

    def _enum(self, flat: Object | Array | Number | Text, path: str, hint: str) -> str:
        assert flat.values is not None
        try:
            if isinstance(flat, Text):
                values: list[Any] = accepted(flat, flat.values)
            else:
                values = [value for value in flat.values if fits(value, flat, self.shapes)]
        except PatternError as error:
            refuse(step(path, "pattern"), str(error))
        if not values:
            raise _no_enum(path)
        return self.values.literals(values, hint)

    def _string(self, flat: Text, path: str, hint: str) -> str:
        if flat.high is not None and flat.low > flat.high:
            raise NoValueError(
                f"{step(path, 'minLength')}: {flat.low} is more than maxLength {flat.high}",
                parameter="json_schema",
            )
        try:
            if (
                flat.formats
                and flat[1:] == Text(formats=flat.formats[:1])[1:]
                and flat.formats[0] in STRUCTURED
            ):
                return self._format(flat.formats[0])
            dfa = text_dfa(flat, wide=False)
            if dfa is None:
                return self.values.string(flat.low, flat.high)
            self._count_states(len(dfa.delta), flat, path)
            rules = bounded_rules(dfa, flat.low, flat.high, self.limits.max_pattern_length)
        except GrammarError:
            raise
        except PatternError as error:
            keyword = "pattern" if flat.patterns or flat.no_patterns else "format"
            refuse(step(path, keyword), str(error))
        except ValueError as error:
            refuse(step(path, "maxLength"), str(error))
        if rules is None:
            keyword = "pattern" if flat.patterns or flat.no_patterns else "format"
            raise NoValueError(f"{step(path, keyword)}: no string can match", parameter="json_schema")
        return self.values.automaton(rules, hint)

    def _count_states(self, n_states: int, flat: Text, path: str) -> None:
        """Refuses patterns that are too much work together; equal ones count once."""
        if flat not in self._counted:
            self._counted.add(flat)
            self._n_states += n_states * min(max(1, flat.high or 1), 8)
        if self._n_states > _MAX_STATES:
            refuse(step(path, "pattern"), f"the patterns need more than {_MAX_STATES} states together")

    def _format(self, name: str) -> str:
        """The symbol for strings of a format."""
        return self.values.automaton(structural_rules(PATTERNS[name], self.limits.max_pattern_length), name)

    def name_fits(self, name: str, keys: Node | None) -> bool:
        """Whether a property name is valid under ``propertyNames``."""
        if keys is None:
            return True
        flats = self.shapes.of(keys).get("string", ())
        return any(accepts(flat, name) for flat in flats if isinstance(flat, Text))


def _no_enum(path: str) -> NoValueError:
    where = step(path, "enum")
    return NoValueError(
        f"{where}: none of the values is valid under the rest of the schema", parameter="json_schema"
    )


def _without_parts(shape: Shape) -> list[tuple[str, Flat]]:
    """All flat schemas, without those of integers where all numbers are there too."""
    flats = [(kind, flat) for kind, some in shape.items() for flat in some]
    numbers = [flat for _, flat in flats if isinstance(flat, Number)]
    if len(numbers) < 2:
        return flats
    return [
        (kind, flat)
        for kind, flat in flats
        if not (isinstance(flat, Number) and flat.integer and flat._replace(integer=None) in numbers)
    ]
