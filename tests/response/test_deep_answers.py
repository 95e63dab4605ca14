"""Answers that are nested deeper than Python's JSON reader goes."""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core import IncompleteOutputError
from llamacpp_core.display.chat import chat_html
from llamacpp_core.request.tool_choice import ToolChoice
from llamacpp_core.request.validation import call_check
from llamacpp_core.response.cut_off import check_complete
from llamacpp_core.response.parsers import WholeJson

DEEP = "[" * 100_000 + "]" * 100_000
PARAMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"content": DEEP}, {"response_format": {"type": "json_object"}}),
    ({"tool_calls": [{"function": {"arguments": DEEP}}]}, {"tool_choice": "required"}),
]


@pytest.mark.parametrize(("message", "params"), PARAMS)
def test_cut_off(message: dict[str, Any], params: dict[str, Any]) -> None:
    with pytest.raises(IncompleteOutputError, match="was cut off after 200000 characters"):
        check_complete(message, "length", params)


def test_the_end_of_an_answer() -> None:
    parser = WholeJson()
    assert parser.feed(DEEP) == [{"content": DEEP}]
    assert not parser.complete


def test_a_call_that_is_checked() -> None:
    parameters = {"type": "object", "properties": {"a": {"not": {"pattern": "(?<=a)b"}}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    check = call_check(ToolChoice("auto", [tool], False))
    assert check is not None
    assert "not JSON" in str(check({"name": "f", "arguments": DEEP}))


def test_a_call_that_is_shown() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": DEEP}}
    page = chat_html([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert DEEP in str(page)
