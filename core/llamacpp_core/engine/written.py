"""Prompts that Python writes, with the control tokens in callers' texts told apart from its own by marks."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from llamacpp_core.engine.engine import Engine
from llamacpp_core.engine.plan import Plan, to_json
from llamacpp_core.native import ffi, lib
from llamacpp_core.native.failures import last_error

__all__ = ["mark_control_tokens", "plan_written"]


def mark_control_tokens(
    engine: Engine, value: Any, mark: str, spared: Collection[str] = ()
) -> tuple[Any, list[str]]:
    """Puts a mark after the first character of each control token in all texts of a value.

    Roles and addresses stay as they are.

    Args:
        engine: The engine, for its vocabulary.
        value: What JSON can hold.
        mark: A text that occurs nowhere in the value.
        spared: Texts of control tokens that get none.

    Returns:
        The value with marks, and the texts of the tokens that got some.
    """
    body = to_json({"value": value, "mark": mark, "spared": list(spared)})
    found = lib.lc_mark_control_tokens(engine._core.native, body, len(body))
    if found == ffi.NULL:
        raise last_error()
    out = json.loads(ffi.string(found))
    return out["value"], out["found"]


def plan_written(engine: Engine, text: str, mark: str, *, prefill: str, add_bos: bool) -> Plan:
    """Plans a prompt whose marked control tokens are ordinary text, and so is all of the prefill.

    Args:
        engine: The engine.
        text: The prompt.
        mark: What :func:`mark_control_tokens` was given.
        prefill: The beginning of the answer, given by the caller.
        add_bos: Whether a BOS token goes first, if the vocabulary wants one.
    """
    body = to_json({"text": text, "mark": mark, "prefill": prefill, "add_bos": add_bos})
    plan = lib.lc_plan_written(engine._core.native, body, len(body))
    if plan == ffi.NULL:
        raise last_error()
    return Plan(plan)
