"""C++ exceptions of llama.cpp end at the binding."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from llamacpp_core.errors import EngineError
from llamacpp_core.native import checked, ffi, lib, text


def fail() -> object:
    # throws std::invalid_argument
    return lib.llama_load_mode_from_str(b"teleport")


def test_an_exception_becomes_a_message() -> None:
    lib.lc_take_error()
    assert fail() == 0
    assert json.loads(text(lib.lc_take_error())) == {
        "type": "invalid_request",
        "message": "unknown load mode: teleport",
    }
    assert lib.lc_take_error() == ffi.NULL


def test_checked_raises_it() -> None:
    with pytest.raises(EngineError, match=r"^llama\.cpp: unknown load mode: teleport$"):
        checked(EngineError, lib.llama_load_mode_from_str, b"teleport")
    assert checked(EngineError, lib.llama_load_mode_from_str, b"mmap") == lib.LLAMA_LOAD_MODE_MMAP


def test_checked_ignores_what_came_before() -> None:
    fail()
    assert checked(EngineError, lib.llama_load_mode_from_str, b"none") == lib.LLAMA_LOAD_MODE_NONE


def test_messages_belong_to_their_thread() -> None:
    fail()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lib.lc_take_error).result() == ffi.NULL
    assert lib.lc_take_error() != ffi.NULL
