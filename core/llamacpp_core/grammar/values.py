"""Grammar rules for JSON values that need no schema: literals, strings, numbers, free-form JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from llamacpp_core.grammar.automaton import all_strings
from llamacpp_core.grammar.charset import gbnf_literal
from llamacpp_core.grammar.limits import SchemaLimits
from llamacpp_core.grammar.numeric import any_number, integer_range
from llamacpp_core.grammar.rules import RuleSet, choice, literal_choice, repeat
from llamacpp_core.grammar.strings import CHAR_RULE, PREFIX, bounded_rules, quoted

__all__ = ["Values"]

_encode = json.JSONEncoder(ensure_ascii=False).encode
_PRETTY = r'"" | " " | "\n" [ \t]{0,20}'


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str) or not isinstance(value, (Mapping, list, tuple))


class Values:
    """Makes symbols for values in one rule set, each kind once.

    Args:
        rules: Where the rules go.
        limits: Bounds and white space.
    """

    def __init__(self, rules: RuleSet, limits: SchemaLimits) -> None:
        self.rules = rules
        self.limits = limits
        self._strings: dict[tuple[int, int | None], str] = {}
        self._automata: dict[tuple[str, tuple[tuple[str, str], ...]], str] = {}
        self._keys: dict[str, str] = {}
        self._any: dict[tuple[str, int | None], str] = {}

    @cached_property
    def _space(self) -> str:
        if self.limits.whitespace == "none":
            return ""
        return self.rules.add("ws", '"" | " "' if self.limits.whitespace == "space" else _PRETTY)

    @cached_property
    def comma(self) -> str:
        """Between two items."""
        return f'"," {self._space}'.strip()

    @cached_property
    def edge(self) -> str:
        """After an opening bracket, and before a closing one."""
        return self._space if self.limits.whitespace == "pretty" else ""

    def bracketed(self, brackets: str, content: str, *, may_be_empty: bool) -> str:
        """An array or object around its content; an empty ``content`` means none."""
        begin, end = gbnf_literal(brackets[0]), gbnf_literal(brackets[1])
        if not content:
            return " ".join(p for p in (begin, self.edge, end) if p) if self.edge else gbnf_literal(brackets)
        inner = f"({content})" if " | " in content else content
        inner = f"{inner} {self.edge}".strip()
        return " ".join(p for p in (begin, self.edge, f"({inner})?" if may_be_empty else inner, end) if p)

    @staticmethod
    def json_text(value: Any) -> str:
        """A JSON scalar as it is written."""
        return _encode(value)

    def member(self, name: str, value: str) -> str:
        """A property with a given name."""
        key = self._keys.get(name)
        if key is None:
            is_plain = name.isidentifier() and name.isascii()
            literal = f'"\\"{name}\\":"' if is_plain else gbnf_literal(self.json_text(name) + ":")
            key = self._keys[name] = f"{literal} {self._space}".strip()
        return f"{key} {value}"

    def entry(self, key: str, value: str) -> str:
        """A property whose name is a symbol."""
        return " ".join([p for p in (key, '":"', self._space, value) if p])

    def literals(self, values: Sequence[Any], hint: str) -> str:
        """One of the given JSON values, as they are."""
        scalars = [v for v in values if _is_scalar(v)]
        alternatives = [literal_choice([(self.json_text(v), "") for v in scalars])] if scalars else []
        if len(scalars) < len(values):
            alternatives += [self._literal(v) for v in values if not _is_scalar(v)]
        return self.rules.add(hint, choice(alternatives))

    def _literal(self, value: Any) -> str:
        if isinstance(value, Mapping):
            brackets, parts = "{}", [self.member(name, self._literal(v)) for name, v in value.items()]
        elif isinstance(value, list | tuple):
            brackets, parts = "[]", [self._literal(v) for v in value]
        else:
            return gbnf_literal(self.json_text(value))
        content = f" {self.comma} ".join(parts) if len(parts) > 1 else "".join(parts)
        return self.bracketed(brackets, content, may_be_empty=False)

    def string(self, low: int = 0, high: int | None = None) -> str:
        """A string with bounds on its length; without ``high`` the limit holds."""
        if high is None and self.limits.max_string_length is not None:
            high = max(self.limits.max_string_length, low)
        if high == 0:
            return gbnf_literal('""')
        if (low, high) not in self._strings:
            char = self.rules.add("char", CHAR_RULE)
            self._strings[low, high] = self.rules.add("string", quoted(repeat(self.rules, char, low, high)))
        return self._strings[low, high]

    def automaton(self, made: tuple[str, dict[str, str]], hint: str) -> str:
        """A string whose inside is given as the rules of an automaton."""
        return self.rules.add(hint, quoted(self._added(made)))

    def plain_automaton(self, made: tuple[str, dict[str, str]], hint: str) -> str:
        """A text given as the rules of an automaton."""
        return self.rules.add(hint, self._added(made))

    def _added(self, made: tuple[str, dict[str, str]]) -> str:
        """The expression to start with, its rules added once."""
        start, rules = made
        known = (start, tuple(rules.items()))
        if known not in self._automata:
            prefix = f"s{len(self._automata) + 1}-"
            self.rules.add_group(
                {name.replace(PREFIX, prefix): body.replace(PREFIX, prefix) for name, body in rules.items()}
            )
            self._automata[known] = start.replace(PREFIX, prefix)
        return self._automata[known]

    def key(self) -> str:
        """Any property name."""
        rules = bounded_rules(all_strings(), 0, self.limits.max_key_length, None)
        assert rules is not None
        return self.automaton(rules, "key")

    def integer(self) -> str:
        """Any integer."""
        return self.rules.add("integer", choice(integer_range(None, None, self.limits.max_integer_digits)))

    def number(self) -> str:
        """Any number."""
        limits = self.limits
        body = any_number(limits.max_integer_digits, limits.max_fraction_digits, limits.max_exponent_digits)
        return self.rules.add("number", body)

    def boolean(self) -> str:
        """True or false."""
        return self.rules.add("boolean", '"true" | "false"')

    def anything(self, depth: int | None) -> str:
        """Any JSON value with at most ``depth`` levels of arrays and objects; None for any number."""
        scalars = [self.string(), self.number(), '"true"', '"false"', '"null"']
        if depth is not None and depth <= 0:
            return self.rules.add("scalar", choice(scalars))
        if ("value", depth) not in self._any:
            name = self._any["value", depth] = self.rules.reserve("value")
            body = [self.any_object(depth), self.any_array(depth), *scalars]
            self.rules.define(name, choice(body))
        return self._any["value", depth]

    def any_object(self, depth: int | None) -> str:
        """Any object; it counts as one level."""
        if ("object", depth) not in self._any:
            name = self._any["object", depth] = self.rules.reserve("object")
            member = self.entry(self.key(), self.anything(None if depth is None else depth - 1))
            content = self.several(member, 0, self.limits.max_properties, "member")
            self.rules.define(name, self.bracketed("{}", content, may_be_empty=True))
        return self._any["object", depth]

    def any_array(self, depth: int | None) -> str:
        """Any array; it counts as one level."""
        if ("array", depth) not in self._any:
            name = self._any["array", depth] = self.rules.reserve("array")
            item = self.anything(None if depth is None else depth - 1)
            content = self.several(item, 0, self.limits.max_array_items, "item")
            self.rules.define(name, self.bracketed("[]", content, may_be_empty=True))
        return self._any["array", depth]

    def several(self, item: str, low: int, high: int | None, hint: str) -> str:
        """Items with commas between, at least one; the caller adds the possibility of none.

        Args:
            item: What is repeated.
            low: Fewest items.
            high: Most items; None for no end.
            hint: Name for the rules made.
        """
        if high == 1:
            return item
        symbol = self.rules.add(hint, item)
        following = self.rules.add(f"{hint}-next", f"{self.comma} {symbol}")
        more = repeat(self.rules, following, max(0, low - 1), None if high is None else high - 1)
        return f"{symbol} {more}".strip()
