"""Another llama.cpp in the same process must not meet this one."""

from __future__ import annotations

import ctypes
import sys

import pytest

from llamacpp_core.native import _native


def test_only_the_init_function_is_exported() -> None:
    library = ctypes.CDLL(_native.__file__)
    assert hasattr(library, "PyInit__native")
    for name in (
        "llama_decode",
        "ggml_init",
        "lc_take_error",
        "mtmd_tokenize",
        "gguf_init_empty",
        "lcguard_llama_decode",
    ):
        assert not hasattr(library, name), name


@pytest.fixture(scope="module")
def symbols() -> dict[bytes, bool]:
    """The dynamic symbols of the module, and whether it defines them."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads ELF")
    with open(_native.__file__, "rb") as file:  # noqa: PTH123  # __file__ is a str
        data = file.read()
    assert data[:5] == b"\x7fELF\x02"
    sections = int.from_bytes(data[0x28:0x30], "little")
    size, count = (int.from_bytes(data[at : at + 2], "little") for at in (0x3A, 0x3C))

    def header(index: int) -> list[int]:
        start = sections + index * size
        return [
            int.from_bytes(data[start + at : start + at + width], "little")
            for at, width in ((4, 4), (24, 8), (32, 8), (40, 4))
        ]

    table = next(section for section in map(header, range(count)) if section[0] == 11)  # SHT_DYNSYM
    strings = header(table[3])[1]
    found = {}
    for entry in range(table[1], table[1] + table[2], 24):
        name, section = (
            int.from_bytes(data[entry : entry + 4], "little"),
            int.from_bytes(data[entry + 6 : entry + 8], "little"),
        )
        if name:
            start = strings + name
            found[data[start : data.index(b"\0", start)]] = bool(section)
    return found


def test_the_dynamic_symbol_table_defines_nothing_else(symbols: dict[bytes, bool]) -> None:
    assert [name for name, is_defined in symbols.items() if is_defined] == [b"PyInit__native"]


def test_no_function_keeps_its_result_in_one_place_for_the_process(symbols: dict[bytes, bool]) -> None:
    """Two threads that ask at the same moment would read each other's answer; see local_time.cpp."""
    assert b"localtime_r" in symbols
    shared = {b"localtime", b"gmtime", b"asctime", b"ctime", b"strtok", b"tmpnam"}
    assert not shared & set(symbols)
