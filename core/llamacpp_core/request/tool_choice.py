"""Which tools a request may call, and what a model without a place for tools is told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llamacpp_core._checks import shown, unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.response.tool_calls import CALL_CLOSE, CALL_OPEN

__all__ = ["ToolChoice", "call_instructions", "resolve_tool_choice"]


class ToolChoice(NamedTuple):
    """Which tools a request may use.

    Attributes:
        mode: "none", "auto" or "forced".
        tools: The tools that can be called.
        parallel: Whether one answer may hold several calls.
    """

    mode: str
    tools: list[dict[str, Any]]
    parallel: bool


def resolve_tool_choice(tools: Sequence[dict[str, Any]], choice: Any, parallel: bool | None) -> ToolChoice:
    """What ``tool_choice`` means for these tools.

    Args:
        tools: Normalized tool definitions.
        choice: "none", "auto", "required", a function's name in OpenAI's form, or None for the default.
        parallel: ``parallel_tool_calls``; None for the default.

    Raises:
        InvalidParameterError: The choice is unknown, names no tool, or forces a call where there is none.
    """
    if choice is None:
        choice = "auto" if tools else "none"
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        named = [tool for tool in tools if tool["function"]["name"] == name]
        if not named:
            names = [tool["function"]["name"] for tool in tools]
            error = unknown_name(str(name), names, "function in tool_choice:")
            error.parameter = "tool_choice"
            raise error
        return ToolChoice("forced", named, bool(parallel))
    if not isinstance(choice, str) or choice not in ("none", "auto", "required"):
        raise InvalidParameterError(
            "tool_choice must be 'none', 'auto', 'required' or "
            f"{{'type': 'function', 'function': {{'name': ...}}}}, got {shown(choice)}",
            parameter="tool_choice",
        )
    if choice == "required":
        if not tools:
            raise InvalidParameterError(
                "tool_choice='required' needs at least one tool", parameter="tool_choice"
            )
        return ToolChoice("forced", list(tools), bool(parallel))
    mode = choice if tools else "none"
    return ToolChoice(mode, list(tools) if mode == "auto" else [], parallel is not False)


def call_instructions(use: ToolChoice) -> str:
    """What to tell a model whose template has no place for tools."""
    lines = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in use.tools)
    form = '{"name": <function name>, "arguments": <JSON object>}'
    if use.mode == "forced":
        how = (
            f"Answer only with a JSON array of calls: [{form}, ...]"
            if use.parallel
            else f"Answer only with: {form}"
        )
    else:
        how = f"To call a function, write {CALL_OPEN}{form}{CALL_CLOSE}. Otherwise answer normally."
    return f"You can call these functions, given with the JSON schema of their arguments:\n{lines}\n{how}"
