"""Bounds on what a schema leaves open, so that a model that never stops is stopped."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from llamacpp_core.errors import InvalidParameterError

__all__ = ["SchemaLimits"]


@dataclass(frozen=True, slots=True)
class SchemaLimits:
    """What a grammar made from a JSON schema allows where the schema itself sets no bound.

    A bound in the schema (``maxLength``, ``maxItems``, ``minimum``, ...) always wins over these. None means
    no bound. Lengths are in code points, not tokens: English text has about four per token.

    Attributes:
        max_string_length: Strings without ``maxLength``.
        max_pattern_length: Strings with a ``pattern`` that could go on for ever.
        max_key_length: Names of properties that the schema does not list.
        max_integer_digits: Digits of integers, and before the decimal point of numbers.
        max_fraction_digits: Digits after the decimal point; 0 for none.
        max_exponent_digits: Digits of the exponent of numbers without bounds; 0 for no exponent.
        max_array_items: Arrays without ``maxItems``.
        max_properties: Properties that the schema does not list.
        max_depth: Arrays and objects inside each other in free-form JSON (``{}``, ``{"type": "object"}``).
        max_recursion: Values of schemas that refer to themselves (lists, trees) inside each other, the
            outermost not counted.
        whitespace: ``"none"`` for compact JSON; ``"space"`` for at most one space after each ``:`` and ``,``;
            ``"pretty"`` for at most one space, or a line break with up to 20 spaces or tabs, between symbols.
    """

    max_string_length: int | None = 1000
    max_pattern_length: int | None = 100
    max_key_length: int | None = 64
    max_integer_digits: int | None = 15
    max_fraction_digits: int | None = 10
    max_exponent_digits: int | None = 2
    max_array_items: int | None = 64
    max_properties: int | None = 32
    max_depth: int | None = 4
    max_recursion: int | None = 8
    whitespace: Literal["none", "space", "pretty"] = "space"

    def __post_init__(self) -> None:
        smallest = {"max_fraction_digits": 0, "max_exponent_digits": 0, "max_depth": 0, "max_recursion": 0}
        largest = {"max_depth": 64, "max_recursion": 64, "max_pattern_length": 2000, "max_key_length": 2000}
        largest |= {f"max_{part}_digits": 1000 for part in ("integer", "fraction", "exponent")}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "whitespace" or value is None:
                continue
            low, high = smallest.get(item.name, 1), largest.get(item.name, 1_000_000)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InvalidParameterError(
                    f"limits.{item.name} must be an integer from {low} to {high} or None, got {value!r}",
                    parameter=f"limits.{item.name}",
                )
        if self.whitespace not in ("none", "space", "pretty"):
            raise InvalidParameterError(
                f"limits.whitespace must be 'none', 'space' or 'pretty', got {self.whitespace!r}",
                parameter="limits.whitespace",
            )

    @classmethod
    def for_max_tokens(cls, max_tokens: int) -> SchemaLimits:
        """Limits under which a few open fields fit into an answer of ``max_tokens`` tokens.

        A weak model may fill a free string with text of hardly more than a character per token: such a string
        then takes about half of the tokens at most, ordinary text an eighth.

        Args:
            max_tokens: Tokens that the answer may have; at least 1.
        """
        if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
            raise InvalidParameterError(
                f"max_tokens must be a positive integer, got {max_tokens!r}", parameter="max_tokens"
            )
        default = cls()
        return cls(
            max_string_length=min(max(max_tokens // 2, 32), default.max_string_length or 1000),
            max_pattern_length=min(max(max_tokens // 2, 32), default.max_pattern_length or 100),
            max_array_items=min(max(max_tokens // 16, 4), default.max_array_items or 64),
            max_properties=min(max(max_tokens // 32, 4), default.max_properties or 32),
            max_recursion=min(max(max_tokens // 64, 2), default.max_recursion or 8),
        )
