"""Prints on how many templates each promise held, also when several workers ran the tests."""

from __future__ import annotations

import re
from typing import Any

import pytest

COUNTED = {
    "test_forced_calls": "forced",
    "test_named_call": "named",
    "test_call_after_reasoning": "forced after reasoning",
    "test_generic_calls": "generic fallback",
    "test_schema": "schema",
    "test_native_calls_are_read_back": "auto",
    "test_text_of_callers_makes_no_control_tokens": "injection",
    "test_rendering_equals_the_reference": "rendering",
    "test_unusual_conversations": "unusual conversations",
    "test_remembered_tools_change_no_prompt": "remembered tools",
}
_TEST = re.compile(r"tests/promises/.*::(\w+)\[")
_passed: dict[str, int] = {}
_seen: dict[str, int] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Counts a test once: by its call, or by what failed around it."""
    match = _TEST.search(report.nodeid)
    if match is None or match[1] not in COUNTED or (report.when != "call" and report.passed):
        return
    name = COUNTED[match[1]]
    _seen[name] = _seen.get(name, 0) + 1
    _passed[name] = _passed.get(name, 0) + bool(report.passed)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the counts."""
    if _seen:
        terminalreporter.section("promises, over all templates")
    for name in COUNTED.values():
        if name in _seen:
            terminalreporter.write_line(f"{name}: {_passed[name]}/{_seen[name]}")
