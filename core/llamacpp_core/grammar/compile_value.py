"""One schema document into grammar rules: every kind of value but objects and arrays is made here."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from llamacpp_core.grammar.containers import ContainerCompiler
from llamacpp_core.grammar.flatten import EXCLUDED, Document, Flat, exclusive
from llamacpp_core.grammar.formats import ANNOTATION_FORMATS, NUMBER_FORMATS, PATTERNS
from llamacpp_core.grammar.instances import is_valid, never_valid, types_of
from llamacpp_core.grammar.keywords import ANNOTATIONS, check_keywords, refuse, step
from llamacpp_core.grammar.numeric import integer_range, number_range
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.rules import choice, literal_choice
from llamacpp_core.grammar.strings import string_rules
from llamacpp_core.grammar.values import Values

__all__ = ["ValueCompiler"]

_MAX_DEPTH = 64
_MAX_MULTIPLES = 1000


class ValueCompiler:
    """Compiles the schemas of one document.

    Args:
        values: Where rules go, with the limits.
        document: The schema.
        sort_properties: Properties by name instead of in the schema's order.

    Attributes:
        recursive: Rules for schemas that were met inside themselves.
    """

    def __init__(self, values: Values, document: Document, *, sort_properties: bool) -> None:
        self.values = values
        self.rules = values.rules
        self.limits = values.limits
        self.document = document
        self.recursive: set[str] = set()
        self.containers = ContainerCompiler(self, sort_properties=sort_properties)
        self._references: dict[str, str] = {}
        self._open: set[str] = set()
        self._depth = 0

    def compile_root(self, hint: str) -> str:
        """Compile the whole document; returns the symbol for its values."""
        return self._named("#", self.document.root, "$", hint, ())

    def _named(self, ref: str, schema: Any, path: str, hint: str, chain: tuple[str, ...]) -> str:
        """Compile what a reference points to, under a name of its own, once."""
        if ref in self._references:
            if ref in self._open:
                self.recursive.add(self._references[ref])
            return self._references[ref]
        name = self._references[ref] = self.rules.reserve(hint)
        self._open.add(ref)
        symbol = self.compile(schema, path, hint, (*chain, ref))
        self._open.remove(ref)
        self.rules.define(name, symbol)
        return name

    def compile(self, schema: Any, path: str, hint: str, chain: tuple[str, ...] = ()) -> str:
        """Compile one schema.

        Args:
            schema: A schema of the document.
            path: Its JSON path.
            hint: Begin of the names of its rules.
            chain: References passed on the way here without reading anything.

        Returns:
            A single symbol.

        Raises:
            GrammarError: When it cannot be enforced.
        """
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            refuse(path, f"schemas are nested more than {_MAX_DEPTH} deep")
        try:
            return self._compile(schema, path, hint, chain)
        finally:
            self._depth -= 1

    def _compile(self, schema: Any, path: str, hint: str, chain: tuple[str, ...]) -> str:
        check_keywords(schema, path)
        if isinstance(schema, bool):
            if not schema:
                refuse(path, "no value is valid under false")
            return self.values.anything(self.limits.max_depth)
        keywords = {
            key for key in schema if key not in ANNOTATIONS and not key.startswith("x-") and key != "$id"
        }
        if keywords == {"$ref"}:
            return self._reference(schema["$ref"], path, chain)
        if keywords in ({"anyOf"}, {"oneOf"}):
            return self._union(keywords.pop(), schema, path, hint, chain)
        flats = self.document.flatten(schema, path, chain)
        if not flats:
            refuse(path, "no value can satisfy all of it")
        symbols = [self._flat(flat, path, hint) for flat in flats]
        return self.rules.add(hint, choice(symbols))

    def _reference(self, ref: str, path: str, chain: tuple[str, ...]) -> str:
        if ref in chain:
            refuse(step(path, "$ref"), "the schema refers to itself without anything in between")
        target, where = self.document.resolve(ref, path)
        return self._named(ref, target, where, ref.rpartition("/")[2].strip("#") or "root", chain)

    def _union(self, keyword: str, schema: Any, path: str, hint: str, chain: tuple[str, ...]) -> str:
        where = step(path, keyword)
        branches = list(enumerate(schema[keyword]))
        if keyword == "oneOf":
            flats = [self.document.flatten(branch, step(where, i), chain) for i, branch in branches]
            for index, branch in enumerate(exclusive(flats)):
                for flat in branch:
                    self._check_excluded(flat, step(where, index))
        symbols = [
            self.compile(branch, step(where, i), f"{hint}-{i + 1}", chain)
            for i, branch in branches
            if branch is not False
        ]
        if not symbols:
            refuse(where, "no value is valid under false")
        return self.rules.add(hint, choice(symbols))

    def _check_excluded(self, flat: Flat, path: str) -> None:
        for other in flat.get(EXCLUDED, []):
            if not never_valid(flat, other, self.document, path):
                refuse(
                    path,
                    "its values may also match another branch of oneOf; make the branches differ in type, "
                    "or in a required property with const, or use anyOf",
                )

    def _flat(self, flat: Flat, path: str, hint: str) -> str:
        self._check_formats(flat, path)
        if "enum" in flat:
            return self._enum(flat, path, hint)
        self._check_excluded(flat, path)
        kinds = types_of(flat)
        if kinds is None:
            return self.values.anything(self.limits.max_depth)
        made: dict[str, Callable[[Flat, str, str], str]] = {
            "object": self.containers.object,
            "array": self.containers.array,
            "string": self._string,
            "number": self._number,
            "integer": self._integer,
            "boolean": lambda *_: self.values.boolean(),
            "null": lambda *_: '"null"',
        }
        kinds = [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]
        return self.rules.add(hint, choice([made[kind](flat, path, hint) for kind in kinds]))

    def _check_formats(self, flat: Flat, path: str) -> None:
        for name in flat.get("format", []):
            if name not in PATTERNS and name not in ANNOTATION_FORMATS and name not in NUMBER_FORMATS:
                known = ", ".join(sorted(PATTERNS))
                refuse(step(path, "format"), f"unknown format {name!r}; known are {known}")

    def _enum(self, flat: Flat, path: str, hint: str) -> str:
        rest = {key: value for key, value in flat.items() if key != "enum"}
        values = [v for v in flat["enum"] if is_valid(v, rest, self.document, path)]
        if not values:
            refuse(step(path, "enum"), "none of the values is valid under the rest of the schema")
        return self.values.literals(values, hint)

    def _string(self, flat: Flat, path: str, hint: str) -> str:
        low, high = self.length(flat)
        if high is not None and low > high:
            refuse(step(path, "minLength"), f"{low} is more than maxLength {high}")
        for name in flat.get("format", []):
            if name in NUMBER_FORMATS:
                refuse(step(path, "format"), f"{name!r} is a format of numbers, not of strings")
        patterns = [*flat.get("pattern", []), *(PATTERNS[f] for f in flat.get("format", []) if f in PATTERNS)]
        try:
            if patterns:
                rules = string_rules(tuple(patterns), low, high, self.limits.max_pattern_length)
                return self.values.automaton(rules, hint)
            return self.values.string(low, high)
        except PatternError as error:
            keyword = "pattern" if "pattern" in flat else "format"
            refuse(step(path, keyword), str(error))
        except ValueError as error:
            refuse(step(path, "maxLength"), str(error))

    @staticmethod
    def length(flat: Flat) -> tuple[int, int | None]:
        """The bounds on the length of a string."""
        high = flat.get("maxLength")
        return int(flat.get("minLength", 0)), None if high is None else int(high)

    def _integer(self, flat: Flat, path: str, hint: str) -> str:
        low, high = self._integer_bounds(flat)
        factor = self._factor(flat, path)
        if factor > 1:
            return self._multiples(low, high, factor, path, hint)
        if low is None and high is None:
            return self.values.integer()
        alternatives = integer_range(low, high, self.limits.max_integer_digits)
        if not alternatives:
            refuse(path, f"no integer lies between {low} and {high}")
        return self.rules.add(hint, choice(alternatives))

    @staticmethod
    def _integer_bounds(flat: Flat) -> tuple[int | None, int | None]:
        lows = [math.ceil(flat["minimum"])] if "minimum" in flat else []
        highs = [math.floor(flat["maximum"])] if "maximum" in flat else []
        if "exclusiveMinimum" in flat:
            lows.append(math.floor(flat["exclusiveMinimum"]) + 1)
        if "exclusiveMaximum" in flat:
            highs.append(math.ceil(flat["exclusiveMaximum"]) - 1)
        for name in flat.get("format", []):
            bounds = NUMBER_FORMATS.get(name)
            if bounds is not None:
                lows.append(bounds[0])
                highs.append(bounds[1])
        return max(lows, default=None), min(highs, default=None)

    @staticmethod
    def _factor(flat: Flat, path: str) -> int:
        """The number of which integers have to be multiples, 1 for any."""
        factor = 1
        for value in flat.get("multipleOf", []):
            exact = Decimal(str(value))
            if exact == int(exact):
                factor = math.lcm(factor, int(exact))
            elif Decimal(1) % exact:
                refuse(step(path, "multipleOf"), f"multiples of {value} among integers are not supported")
        return factor

    def _multiples(self, low: int | None, high: int | None, factor: int, path: str, hint: str) -> str:
        where = step(path, "multipleOf")
        if low is None or high is None:
            refuse(where, f"multiples of {factor} need both minimum and maximum")
        found = range(-(-low // factor) * factor, high + 1, factor)
        if not 1 <= len(found) <= _MAX_MULTIPLES:
            refuse(
                where,
                f"{len(found)} multiples of {factor} lie between the bounds; from 1 to {_MAX_MULTIPLES} work",
            )
        return self.rules.add(hint, literal_choice([(str(value), "") for value in found]))

    def _number(self, flat: Flat, path: str, hint: str) -> str:
        formats = [name for name in flat.get("format", []) if NUMBER_FORMATS.get(name) is not None]
        if formats:
            return self._integer(flat, path, hint)
        if "multipleOf" in flat:
            if any(value != int(value) for value in flat["multipleOf"]):
                refuse(
                    step(path, "multipleOf"),
                    "multiples of a fraction cannot be checked exactly in floating point; scale to integers",
                )
            return self._integer(flat, path, hint)
        low, low_open = self._bound(flat, "minimum", "exclusiveMinimum", 1)
        high, high_open = self._bound(flat, "maximum", "exclusiveMaximum", -1)
        if low is None and high is None:
            return self.values.number()
        alternatives = number_range(
            low,
            high,
            exclusive_low=low_open,
            exclusive_high=high_open,
            max_digits=self.limits.max_integer_digits,
            max_fraction=self.limits.max_fraction_digits,
        )
        if not alternatives:
            places = self.limits.max_fraction_digits
            refuse(path, f"no number with up to {places} digits after the point lies within the bounds")
        return self.rules.add(hint, choice(alternatives))

    @staticmethod
    def _bound(flat: Flat, inclusive: str, exclusive_key: str, sign: int) -> tuple[Decimal | None, bool]:
        """The tighter of two bounds, and whether it is exclusive; ``sign`` is 1 below and -1 above."""
        found = [
            (Decimal(str(flat[key])) * sign, is_open)
            for key, is_open in ((inclusive, False), (exclusive_key, True))
            if key in flat
        ]
        if not found:
            return None, False
        value, is_open = max(found)
        return value * sign, is_open
