"""Checks of single values: what every public entry uses before anything reaches native code."""

from __future__ import annotations

import difflib
import importlib
import math
import os
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from types import ModuleType
from typing import Any

from llamacpp_core.errors import InvalidParameterError, MissingDependencyError

__all__ = [
    "RANDOM_SEED",
    "boolean",
    "check_text",
    "choice",
    "clean_text",
    "file_path",
    "integer",
    "number",
    "require",
    "seed",
    "shown",
    "string",
    "text",
    "token_ids",
    "unknown_name",
]

Check = Callable[[str, Any], Any]

#: llama.cpp's mark for a new seed each time, ``LLAMA_DEFAULT_SEED``.
RANDOM_SEED = 2**32 - 1


def unknown_name(
    name: str, known: Iterable[str], what: str, parameter: str | None = None
) -> InvalidParameterError:
    """The error for a name that does not exist, with the nearest that do; by default it is a parameter's."""
    names = {one.lower(): one for one in known}
    near = [names[one] for one in difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.67)]
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return InvalidParameterError(f"unknown {what} {name!r}{hint}", parameter=parameter or name)


def shown(value: Any) -> str:
    """A value as an error message shows it."""
    try:
        text = repr(value)
    except Exception:  # such as a list that is nested more deeply than Python can print
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse(name: str, wanted: str, value: Any, hint: str = "") -> InvalidParameterError:
    why = f": {hint}" if hint else ""
    return InvalidParameterError(f"{name} must be {wanted}, got {shown(value)}{why}", parameter=name)


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False) -> Check:
    """A finite number in [low, high], or in (low, high] with ``above``."""
    bounds = f"{'greater than' if above else 'at least'} {low:g}" if low > -math.inf else ""
    if high < math.inf:
        bounds = f"between {low:g}{' (excluded)' if above else ''} and {high:g}"
    wanted = f"a number {bounds}".strip()

    def check(name: str, value: Any) -> float:
        try:
            result = float(value.__float__()) if _may_be_number(value) else None
        except (AttributeError, OverflowError, TypeError, ValueError):
            result = None
        if result is None:
            raise _refuse(name, wanted, value)
        if not math.isfinite(result) or result > high or result < low or (above and result == low):
            raise _refuse(name, wanted, value)
        return result

    return check


def _may_be_number(value: Any) -> bool:
    """Whether a value is not a bool, str or complex number, which have a ``__float__`` in numpy."""
    if isinstance(value, bool | str | bytes):
        return False
    return getattr(getattr(value, "dtype", None), "kind", "f") in "fiu" and not isinstance(value, type)


def integer(low: int = -(2**31), high: int = 2**31 - 1, *, hint: str = "") -> Check:
    """A whole number in [low, high]; ``hint`` says in an error what sets the bounds."""
    wanted = f"a whole number between {low} and {high}"
    if high == 2**31 - 1:
        wanted = f"a whole number of at least {low}" if low > -(2**31) else "a whole number"

    def check(name: str, value: Any) -> int:
        try:
            result = value.__index__() if not isinstance(value, bool) else None
        except (AttributeError, TypeError):
            result = None
        if result is None or not low <= result <= high:
            raise _refuse(name, wanted, value, hint)
        return int(result)

    return check


def boolean(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise _refuse(name, "True or False", value)
    return value


def choice(*allowed: Any) -> Check:
    """One of some values."""
    wanted = "one of " + ", ".join(repr(a) for a in allowed)

    def check(name: str, value: Any) -> Any:
        if isinstance(value, str | int | float):
            for one in allowed:
                if isinstance(one, bool) == isinstance(value, bool) and one == value:
                    return one
        raise _refuse(name, wanted, value)

    return check


def string(name: str, value: Any) -> str:
    """A string, of any characters."""
    if not isinstance(value, str):
        raise _refuse(name, "a string", value)
    return value


def text(name: str, value: Any) -> str:
    """A string that a model can be given."""
    return check_text(name, string(name, value))


def check_text(name: str, value: str) -> str:
    """Refuses the characters that no tokenizer takes: NUL, and lone surrogates."""
    if "\0" in value:
        raise InvalidParameterError(
            f"{name} holds a NUL character at position {value.index(chr(0))}: remove it", parameter=name
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameterError(
            f"{name} holds the lone surrogate {value[error.start]!r} at position {error.start}, which is not "
            "text: decode the input with errors='replace'",
            parameter=name,
        ) from None
    return value


def clean_text(value: str) -> str:
    """A text without what no tokenizer takes: NUL is left out, a lone surrogate becomes U+FFFD."""
    return value.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def seed(name: str, value: Any) -> int | None:
    """A seed; None for -1 or llama.cpp's own mark, which ask for a new one each time."""
    checked = int(_SEED(name, value))
    return None if checked in (-1, RANDOM_SEED) else checked


_SEED = integer(-1, RANDOM_SEED)


def file_path(name: str, value: Any) -> Path:
    """A path given as a string or an ``os.PathLike`` of one."""
    try:
        found = os.fspath(value)
    except TypeError:
        found = None
    if not isinstance(found, str) or not found:
        raise InvalidParameterError(f"{name} must be a path, got {shown(value)}", parameter=name)
    return Path(found)


def token_ids(name: str, value: Any, n_vocab: int, *, or_text: bool = False) -> list[int]:
    """Token ids of a vocabulary as a list.

    Args:
        name: What the caller calls it.
        value: Any iterable of token ids in an order.
        n_vocab: Size of the vocabulary.
        or_text: Text could have been given too; for the message.
    """
    wanted = f"{name} must be {'text or ' if or_text else ''}a list of token ids"
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping | Set):
        raise InvalidParameterError(f"{wanted}, got {type(value).__name__}", parameter=name)
    ids: list[int] = []
    try:
        for token in value:  # a range may be longer than memory: the first that is none ends it
            ids.append(_index(token))
            if not 0 <= ids[-1] < n_vocab:
                where = f"{name}[{len(ids) - 1}]"
                raise InvalidParameterError(
                    f"{where} is {ids[-1]}, but token ids go from 0 to {n_vocab - 1}", parameter=where
                )
    except (TypeError, AttributeError):
        raise InvalidParameterError(f"{wanted}, got {shown(value)}", parameter=name) from None
    return ids


def _index(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value.__index__())


def require(module: str, purpose: str, extra: str = "models") -> ModuleType:
    """Imports an optional dependency where it is needed.

    Args:
        module: What to import.
        purpose: What needs it, for the message.
        extra: The extra of the distribution that brings it.

    Returns:
        The module.

    Raises:
        MissingDependencyError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingDependencyError(
            f'{purpose} needs {missing}: pip install "llamacpp-integrations[{extra}]"', name=missing
        ) from error
