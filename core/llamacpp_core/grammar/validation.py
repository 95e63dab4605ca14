"""What is wrong with a value under a schema that a grammar could not enforce in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.schema.document import Document
from llamacpp_core.grammar.schema.shapes import Shapes
from llamacpp_core.grammar.schema.validity import is_valid

__all__ = ["problem_of"]


def problem_of(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why a value is not valid under a schema.

    ``jsonschema`` decides where it is installed; else what is surely wrong is found.

    Args:
        value: A JSON value.
        schema: The schema.

    Returns:
        The reason with the path of the value; None when nothing is wrong with it.
    """
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
        from jsonschema.validators import extend, validator_for
    except ImportError:
        return _surely_wrong(value, schema)
    kind = extend(validator_for(schema, default=Draft202012Validator), {"multipleOf": _multiple_of})
    try:
        error = best_match(kind(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(value))
    except Exception:  # jsonschema says nowhere what a schema that is none may raise
        return _surely_wrong(value, schema)
    return None if error is None else f"{error.json_path}: {error.message}"


def _multiple_of(validator: Any, factor: Any, value: Any, _: Any) -> Iterator[Any]:
    """``multipleOf`` for numbers as they are written: as doubles 0.3 is no multiple of 0.1."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(factor)):
        yield ValidationError(f"{value!r} is not a multiple of {factor!r}")


def _surely_wrong(value: Any, schema: Mapping[str, Any]) -> str | None:
    try:
        document = Document(json.loads(json.dumps(schema)))
        valid = is_valid(value, document.root, Shapes(document), wide=True)
    except (GrammarError, RecursionError):
        return None
    return None if valid else "$: the value is not valid under the schema"
