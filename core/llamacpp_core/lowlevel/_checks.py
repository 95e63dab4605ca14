"""Checks of arguments before they reach native code, which aborts the process on nonsense."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from llamacpp_core._checks import boolean as _boolean
from llamacpp_core.errors import InvalidParameterError

__all__ = ["boolean", "file_path", "finite", "integer", "position_range", "real", "token_list"]

INT32_MAX = 2**31 - 1


def integer(
    value: SupportsIndex, name: str, *, minimum: int = 0, maximum: int = INT32_MAX, hint: str = ""
) -> int:
    """Returns ``value`` as an int within bounds.

    Raises:
        InvalidParameterError: not an integer, or out of bounds; names ``name``.
    """
    try:
        number = operator.index(value)
        if isinstance(value, bool):
            raise TypeError
    except TypeError:
        raise InvalidParameterError(f"{name} must be an integer, not {value!r}", parameter=name) from None
    if not minimum <= number <= maximum:
        raise InvalidParameterError(
            f"{name} is {number}, but must lie in [{minimum}, {maximum}]{_after(hint)}", parameter=name
        )
    return number


def boolean(value: bool, name: str) -> bool:
    """Returns ``value`` when it is True or False.

    Raises:
        InvalidParameterError: it is neither; names ``name``.
    """
    return _boolean(name, value)


def file_path(value: Any, name: str = "path") -> Path:
    """Returns a path given as a string or an ``os.PathLike`` of one.

    Raises:
        InvalidParameterError: it is neither; names ``name``.
    """
    try:
        found = os.fspath(value)
    except TypeError:
        found = None
    if not isinstance(found, str):
        raise InvalidParameterError(f"{name} must be a path, not {value!r}", parameter=name)
    return Path(found)


def real(
    value: float,
    name: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float | None = None,
    hint: str = "",
) -> float:
    """Returns ``value`` as a float within bounds; NaN is refused.

    Raises:
        InvalidParameterError: not a number, or out of bounds; names ``name``.
    """
    if isinstance(value, str | bool):
        raise InvalidParameterError(f"{name} must be a number, not {value!r}", parameter=name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidParameterError(f"{name} must be a number, not {value!r}", parameter=name) from None
    if above is not None and not number > above:
        raise InvalidParameterError(
            f"{name} is {number}, but must be above {above}{_after(hint)}", parameter=name
        )
    if not minimum <= number <= maximum:
        raise InvalidParameterError(
            f"{name} is {number}, but must lie in [{minimum}, {maximum}]{_after(hint)}", parameter=name
        )
    return number


def finite(value: float, name: str, *, minimum: float = -math.inf, above: float | None = None) -> float:
    """Like :func:`real`, but refuses infinities too."""
    number = real(value, name, minimum=minimum, above=above)
    if math.isinf(number):
        raise InvalidParameterError(f"{name} must be finite", parameter=name)
    return number


def token_list(tokens: Any, n_vocab: int, name: str = "tokens") -> list[int]:
    """Returns token ids as a list, each within the vocabulary.

    Args:
        tokens: A sequence or numpy array of integers.
        n_vocab: Size of the vocabulary.
        name: What to call it in an error.
    """
    if isinstance(tokens, str | bytes):
        raise InvalidParameterError(f"{name} must be token ids, not text: tokenize it first", parameter=name)
    try:
        found = [operator.index(token) for token in tokens]
    except TypeError:
        raise InvalidParameterError(f"{name} must be a sequence of integers", parameter=name) from None
    for index, token in enumerate(found):
        if not 0 <= token < n_vocab:
            raise InvalidParameterError(
                f"{name}[{index}] is {token}, but the vocabulary has {n_vocab} tokens, 0 to {n_vocab - 1}",
                parameter=f"{name}[{index}]",
            )
    return found


def position_range(start: int | None, end: int | None) -> tuple[int, int]:
    """Returns the native form of positions [start, end): None means from the beginning, or to the end."""
    first = -1 if start is None else integer(start, "start")
    last = -1 if end is None else integer(end, "end")
    if start is not None and end is not None and last < first:
        raise InvalidParameterError(f"end ({last}) lies before start ({first})", parameter="end")
    return first, last


def one_of(value: str, name: str, choices: Sequence[str]) -> str:
    """Returns ``value`` when it is one of ``choices``."""
    if value not in choices:
        raise InvalidParameterError(
            f"{name} is {value!r}, but must be one of {', '.join(choices)}", parameter=name
        )
    return value


def _after(hint: str) -> str:
    return f": {hint}" if hint else ""
