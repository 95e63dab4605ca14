"""How native objects are freed."""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import pytest

from llamacpp_core.lowlevel import Batch
from llamacpp_core.lowlevel._owned import NativeHandle
from llamacpp_core.native import ffi


def interrupted(_frame: FrameType, _event: str, _argument: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def made() -> list[Any]:
    return [ffi.new("int32_t *", i) for i in range(2)]


def test_what_is_kept_is_freed_later(made: list[Any]) -> None:
    freed: list[Any] = []
    kept = NativeHandle(made[0], freed.append)
    handle = NativeHandle(made[1], freed.append, kept)
    del kept
    assert not freed
    del handle
    assert [pointer[0] for pointer in freed] == [1, 0]


def test_what_is_kept_is_freed_later_in_a_cycle(made: list[Any]) -> None:
    freed: list[Any] = []
    kept = NativeHandle(made[0], freed.append)
    handle = NativeHandle(made[1], freed.append, kept)
    cycle = [kept, handle]
    cycle.append(cycle)
    del kept, handle, cycle
    assert not freed
    gc.collect()
    assert [pointer[0] for pointer in freed] == [1, 0]


def test_ctrl_c_cannot_come_between(made: list[Any]) -> None:
    freed: list[Any] = []
    handles = [NativeHandle(pointer, freed.append) for pointer in made]
    before = sys.gettrace()
    sys.settrace(interrupted)  # in each call of a function in Python from here on
    try:
        handles.clear()
    finally:
        sys.settrace(before)
    assert len(freed) == 2


def test_a_borrowed_pointer_is_left_alone(made: list[Any]) -> None:
    freed: list[Any] = []
    owner = NativeHandle(made[0], freed.append)
    handle = NativeHandle(made[1], None, owner)
    del owner
    assert not freed
    del handle
    assert len(freed) == 1


def test_a_structure_is_freed_too() -> None:
    for _ in range(3):
        with Batch(8) as batch:
            batch.add_tokens([1, 2, 3])
            assert len(batch) == 3
