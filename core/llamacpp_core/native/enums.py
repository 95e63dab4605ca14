"""llama.cpp's enums, read from the constants of its headers.

A name is the constant's without its prefix, in small letters: ``LLAMA_POOLING_TYPE_MEAN`` is "mean".
"""

from __future__ import annotations

from functools import cache

from llamacpp_core.native import ffi, lib

__all__ = ["cache_types", "enum_name", "enum_values"]

_NO_VALUES = ("count", "max_value")
#: What llama-server takes for --cache-type-k and --cache-type-v, by ggml's names.
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")


@cache
def enum_values(prefix: str) -> dict[str, int]:
    """The values of an enum by their names, such as those of ``LLAMA_POOLING_TYPE``."""
    start = f"{prefix}_"
    found = {name[len(start) :].lower(): getattr(lib, name) for name in dir(lib) if name.startswith(start)}
    ordered = sorted(found.items(), key=lambda item: int(item[1]))
    return {name: int(value) for name, value in ordered if name not in _NO_VALUES}


def enum_name(prefix: str, value: int) -> str:
    """The name of an enum's value."""
    return next(name for name, known in enum_values(prefix).items() if known == value)


@cache
def cache_types() -> dict[str, int]:
    """The types that a key and value cache can have, with ggml's numbers for them."""
    numbers = {}
    for number in range(lib.GGML_TYPE_COUNT):
        name = lib.ggml_type_name(number)
        if name != ffi.NULL:
            numbers[ffi.string(name).decode()] = number
    return {name: numbers[name] for name in _CACHE_TYPES}
