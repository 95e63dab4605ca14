"""Which tools a chat handler offers, and which it forces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamacpp_core.errors import InvalidParameterError

__all__ = ["ToolPlan", "plan_tools"]


@dataclass(frozen=True)
class ToolPlan:
    """What to do about tools.

    Attributes:
        tools: The tools offered, as ``ChatCompletionTool`` dicts; empty when none may be called.
        forced: The functions of which one has to be called; empty when the model may choose.
        legacy: Whether the request came with ``functions``, so that the answer has ``function_call`` too.
    """

    tools: tuple[dict[str, Any], ...] = ()
    forced: tuple[dict[str, Any], ...] = ()
    legacy: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Names of the functions offered."""
        return frozenset(tool["function"]["name"] for tool in self.tools)

    def forced_schema(self) -> str:
        """JSON schema of the forced call: its arguments, or name and arguments if several may be called."""
        if len(self.forced) == 1:
            return json.dumps(_parameters(self.forced[0]))
        definitions: dict[str, Any] = {}
        calls = []
        for index, function in enumerate(self.forced):
            key = f"arguments_{index}"
            definitions[key] = _moved(_parameters(function), f"#/$defs/{key}")
            call = {"name": {"const": function["name"]}, "arguments": {"$ref": f"#/$defs/{key}"}}
            calls.append(
                {
                    "type": "object",
                    "properties": call,
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
            )
        return json.dumps({"anyOf": calls, "$defs": definitions})


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters")
    return (
        dict(parameters)
        if parameters
        else {"type": "object", "properties": {}, "additionalProperties": False}
    )


def _moved(schema: Any, root: str) -> Any:
    """A schema whose references to its own root lead to where it stands now."""
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: root + value[1:]
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, root)
        for key, value in schema.items()
    }


def plan_tools(tools: Any, tool_choice: Any, functions: Any, function_call: Any) -> ToolPlan:
    """Read the four parameters of a request that concern tools.

    Raises:
        InvalidParameterError: A tool is malformed or a choice names no tool; the message says which.
    """
    if functions is not None and tools is not None:
        raise InvalidParameterError(
            "tools and functions cannot be given together: functions is the legacy form of tools",
            parameter="functions",
        )
    legacy = functions is not None
    source, choice_source = ("functions", "function_call") if legacy else ("tools", "tool_choice")
    wrapped = [{"type": "function", "function": function} for function in functions or ()]
    choice = function_call if legacy else tool_choice
    other = "tool_choice" if legacy else "function_call"
    if (tool_choice if legacy else function_call) is not None:
        raise InvalidParameterError(f"{other} goes with the other form of {source}", parameter=other)
    offered = _checked_tools(wrapped if legacy else tools if tools is not None else (), source)
    if choice in (None, "auto"):
        return ToolPlan(offered, legacy=legacy)
    if choice == "none":
        return ToolPlan(legacy=legacy)
    if not offered:
        raise InvalidParameterError(
            f"{choice_source} needs {source}, and none are given", parameter=choice_source
        )
    everything = tuple(tool["function"] for tool in offered)
    if choice in ("required", "any"):
        return ToolPlan(offered, everything, legacy)
    name = _chosen_name(choice, choice_source)
    forced = tuple(function for function in everything if function["name"] == name)
    if not forced:
        known = ", ".join(function["name"] for function in everything)
        raise InvalidParameterError(
            f"{choice_source} names {name!r}, which is not among {source}: {known}", parameter=choice_source
        )
    return ToolPlan(offered, forced, legacy)


def _chosen_name(choice: Any, parameter: str) -> str:
    function = choice.get("function", choice) if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise InvalidParameterError(
            f"{parameter} must be 'auto', 'none', 'required' or name a function, not {choice!r}",
            parameter=parameter,
        )
    return name


def _checked_tools(tools: Any, parameter: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(tools, (list, tuple)):
        raise InvalidParameterError(
            f"{parameter} must be a list, not {type(tools).__name__}", parameter=parameter
        )
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"{parameter}[{index}]"
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if function is None or not isinstance(name, str) or not name:
            raise InvalidParameterError(f"{where} must declare a function with a name", parameter=where)
        if name in seen:
            raise InvalidParameterError(f"{where}: a function named {name!r} came before", parameter=where)
        if not isinstance(function.get("parameters"), (dict, type(None))):
            raise InvalidParameterError(
                f"{where}: the parameters of {name!r} must be a JSON schema as a dict", parameter=where
            )
        seen.add(name)
    return tuple(dict(tool) for tool in tools)
