"""Tools and tool choices as the engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import InvalidParameterError

__all__ = ["openai_tool_choice", "openai_tools"]

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


def openai_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Tools in OpenAI's form.

    Args:
        tools: Functions, pydantic or TypedDict classes, LangChain tools, or dicts.
        strict: Let objects have no other properties than those of their schema.

    Raises:
        InvalidParameterError: Something is not a tool; names it.
    """
    out = []
    for i, tool in enumerate(tools):
        try:
            out.append(convert_to_openai_tool(tool, strict=strict))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidParameterError(
                f"tools[{i}] is not a tool: {error}", parameter=f"tools[{i}]"
            ) from error
    return out


def openai_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """What LangChain's ``tool_choice`` means for these tools.

    Args:
        choice: None for the default; "auto", "none"; "any", "required" or True for at least one call;
            False for none; a tool's name; or a dict in OpenAI's or Anthropic's form.
        tools: The tools, in OpenAI's form.

    Raises:
        InvalidParameterError: The choice names no tool, or has another type.
    """
    if choice is None or choice in ("auto", "none"):
        return choice
    if choice is False:
        return "none"
    if choice is True or choice in ("any", "required"):
        return "required"
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        if kind in ("any", "auto", "none", "required"):
            return openai_tool_choice(kind, tools)
        function = choice.get("function")
        choice = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    if not isinstance(choice, str):
        raise InvalidParameterError(
            "tool_choice must be 'auto', 'any', 'none', a tool's name, a bool or a dict that names a tool, "
            f"got {choice!r}",
            parameter="tool_choice",
        )
    names = [str(tool.get("function", {}).get("name")) for tool in tools]
    if choice not in names:
        error = unknown_name(choice, names, "tool in tool_choice:")
        error.parameter = "tool_choice"
        raise error
    return {"type": "function", "function": {"name": choice}}
