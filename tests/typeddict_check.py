"""Checks a value against a TypedDict, key by key and all the way down."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

__all__ = ["validate"]


def validate(value: object, typed_dict_type: Any) -> list[str]:
    """What is wrong with a value as an instance of a TypedDict; empty when nothing is.

    Reports missing, unknown and wrongly typed keys with their path, such as
    ``choices[0].message.content: expected str, got int``.
    """
    return _problems(value, typed_dict_type, "value")


def _problems(value: object, expected: Any, path: str) -> list[str]:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected is Any:
        return []
    if origin in (typing.NotRequired, typing.Required):
        return _problems(value, arguments[0], path)
    if typing.is_typeddict(expected):
        return _mapping_problems(value, expected, path)
    if origin in (typing.Union, types.UnionType):
        return _union_problems(value, arguments, path)
    if origin is typing.Literal:
        same = any(value == option and type(value) is type(option) for option in arguments)
        return [] if same else [f"{path}: expected one of {arguments!r}, got {value!r}"]
    if origin is list:
        if not isinstance(value, list):
            return [_mismatch(value, "list", path)]
        return [p for i, item in enumerate(value) for p in _problems(item, arguments[0], f"{path}[{i}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [_mismatch(value, "dict", path)]
        keys = [p for key in value for p in _problems(key, arguments[0], f"{path} key {key!r}")]
        return keys + [
            p for key, item in value.items() for p in _problems(item, arguments[1], f"{path}[{key!r}]")
        ]
    if expected in (None, types.NoneType):
        return [] if value is None else [_mismatch(value, "None", path)]
    return [] if _is_instance(value, expected) else [_mismatch(value, expected.__name__, path)]


def _is_instance(value: object, expected: type) -> bool:
    # JSON tells booleans from numbers, and an integer is a number.
    if isinstance(value, bool):
        return expected in (bool, object)
    return isinstance(value, (int, float) if expected is float else expected)


def _mismatch(value: object, expected: str, path: str) -> str:
    return f"{path}: expected {expected}, got {type(value).__name__}"


def _union_problems(value: object, options: tuple[Any, ...], path: str) -> list[str]:
    attempts = [_problems(value, option, path) for option in options]
    return [] if not all(attempts) else min(attempts, key=len)


def _mapping_problems(value: object, expected: Any, path: str) -> list[str]:
    if not isinstance(value, Mapping):
        return [_mismatch(value, expected.__name__, path)]
    hints = typing.get_type_hints(expected, include_extras=True)
    problems = [f"{path}.{key}: not a key of {expected.__name__}" for key in value if key not in hints]
    for key, hint in hints.items():
        if key in value:
            problems += _problems(value[key], hint, f"{path}.{key}")
        elif typing.get_origin(hint) is not typing.NotRequired and expected.__total__:
            problems.append(f"{path}.{key}: missing from {expected.__name__}")
    return problems
