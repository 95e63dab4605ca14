"""llama.cpp's enums: the names that are offered are those of its headers, wherever they are written down."""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, LoadOptions
from llamacpp_core.models.gguf import header
from llamacpp_core.models.metadata import ROPE_SCALING_TYPES
from llamacpp_core.native import lib
from llamacpp_core.native.enums import cache_types, enum_name, enum_values

ENUMS = {
    "LLAMA_ATTENTION_TYPE": {"unspecified", "causal", "non_causal"},
    "LLAMA_FLASH_ATTN_TYPE": {"auto", "disabled", "enabled"},
    "LLAMA_LOAD_MODE": {"auto", "none", "mmap", "mlock", "mmap_mlock", "direct_io"},
    "LLAMA_POOLING_TYPE": {"unspecified", "none", "mean", "cls", "last", "rank"},
    "LLAMA_ROPE_SCALING_TYPE": {"unspecified", "none", "linear", "yarn", "longrope"},
    "LLAMA_SPLIT_MODE": {"none", "layer", "row", "tensor"},
}


@pytest.mark.parametrize("prefix", ENUMS)
def test_names_and_values_of_the_headers(prefix: str) -> None:
    values = enum_values(prefix)
    assert set(values) == ENUMS[prefix]
    assert len(set(values.values())) == len(values)
    for name, value in values.items():
        assert getattr(lib, f"{prefix}_{name.upper()}") == value
        assert enum_name(prefix, value) == name


def test_what_files_hold_is_what_the_headers_say() -> None:
    pooling = {value: name for name, value in enum_values("LLAMA_POOLING_TYPE").items() if value >= 0}
    assert pooling == header._POOLING_TYPES
    assert set(ROPE_SCALING_TYPES) == set(enum_values("LLAMA_ROPE_SCALING_TYPE")) - {"unspecified"}


FIELDS: dict[str, dict[str, int]] = {
    "pooling_type": enum_values("LLAMA_POOLING_TYPE"),
    "split_mode": enum_values("LLAMA_SPLIT_MODE"),
    "type_k": cache_types(),
}


@pytest.mark.parametrize("field", FIELDS)
def test_load_options_take_names_and_numbers(field: str) -> None:
    for name, value in FIELDS[field].items():
        expected = None if name == "unspecified" else name
        for given in (name, value):
            options: dict[str, Any] = {field: given}
            assert getattr(LoadOptions(**options), field) == expected
    with pytest.raises(InvalidParameterError, match=f"{field} must be one of"):
        LoadOptions(**{field: "no such"})  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match=f"{field} must be one of"):
        LoadOptions(**{field: True})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["longrope", 3])
def test_only_a_models_file_asks_for_longrope(value: str | int) -> None:
    with pytest.raises(
        InvalidParameterError, match="rope_scaling_type must be one of 'none', 'linear', 'yarn'"
    ):
        LoadOptions(rope_scaling_type=value)
    assert LoadOptions(rope_scaling_type=2).rope_scaling_type == "yarn"
