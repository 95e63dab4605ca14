"""Tools and tool choices as the engine takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools.base import create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from llamacpp_core._checks import boolean, shown, unknown_name
from llamacpp_core.errors import InvalidParameterError

__all__ = ["has_tools", "openai_tool_choice", "openai_tools"]

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


def openai_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Tools in OpenAI's form.

    Args:
        tools: Functions, pydantic or TypedDict classes, LangChain tools, or dicts.
        strict: Let objects have no other properties than those of their schema.

    Raises:
        InvalidParameterError: Something is not a tool; names it.
    """
    entries = None
    if not isinstance(tools, str | bytes | Mapping) and not is_model(tools):
        with contextlib.suppress(TypeError):
            entries = iter(tools)
    if entries is None:
        raise InvalidParameterError(f"tools must be a list of tools, got {shown(tools)}", parameter="tools")
    if strict is not None:
        boolean("strict", strict)
    return [_openai_tool(i, tool, strict) for i, tool in enumerate(entries)]


def has_tools(tools: Any) -> bool:
    """Whether there is anything in what was given as tools; what it is may still be wrong."""
    try:
        return bool(tools)
    except ValueError:  # an array of numpy's
        return True


def is_model(value: Any) -> bool:
    """Whether it is a pydantic model, or a class of one: these can be iterated, but are one thing."""
    return isinstance(value, BaseModel | type)


def _openai_tool(index: int, tool: Any, strict: bool | None) -> dict[str, Any]:
    where = f"tools[{index}]"
    if isinstance(tool, Mapping):
        if not _KNOWN_KEYS & set(tool):
            raise InvalidParameterError(
                f"{where} is not a tool: a dict needs 'function', or 'name' and 'parameters', or a JSON "
                f"schema with a 'title'; got {shown(tool)}",
                parameter=where,
            )
    elif not callable(tool) and not isinstance(tool, BaseTool):
        raise InvalidParameterError(
            f"{where} is not a tool: give a function, a pydantic or TypedDict class, a LangChain tool or a "
            f"dict, got {shown(tool)}",
            parameter=where,
        )
    try:
        converted: dict[str, Any] = convert_to_openai_tool(tool, strict=strict)
        parameters = recursive_parameters(tool)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        PydanticInvalidForJsonSchema,
    ) as error:
        first = str(error).strip().splitlines()
        raise InvalidParameterError(
            f"{where} is not a tool: {first[0] if first else type(error).__name__}", parameter=where
        ) from error
    if parameters is not None:
        converted["function"]["parameters"] = closed(parameters) if strict else parameters
    return converted


def recursive_parameters(tool: Any) -> dict[str, Any] | None:
    """The schema of a tool's arguments if it refers to itself; None if it does not.

    LangChain writes references out and leaves open where one comes round again; here they are kept.
    """
    model = _arguments_model(tool)
    if model is None:
        return None
    schema: dict[str, Any] = model.model_json_schema()
    definitions = schema.get("$defs", {})
    if not any(_reaches(definitions, name) for name in definitions):
        return None
    root = schema.pop("$ref", None)
    if root is not None:
        schema = {**definitions[root.removeprefix(_DEFS)], "$defs": definitions}
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _arguments_model(tool: Any) -> type[BaseModel] | None:
    if isinstance(tool, BaseTool):
        tool = tool.tool_call_schema
    elif callable(tool) and not isinstance(tool, type):
        tool = create_schema_from_function(
            getattr(tool, "__name__", "tool"), tool, filter_args=(), include_injected=False
        )
    return tool if isinstance(tool, type) and issubclass(tool, BaseModel) else None


_DEFS = "#/$defs/"
_KNOWN_KEYS = {"function", "name", "title", "toolSpec", "type"}


def _reaches(definitions: Mapping[str, Any], start: str) -> bool:
    """Whether a definition refers to itself, perhaps through others."""
    seen: set[str] = set()
    waiting = _references(definitions[start])
    while waiting:
        name = waiting.pop()
        if name == start:
            return True
        if name not in seen and name in definitions:
            seen.add(name)
            waiting |= _references(definitions[name])
    return False


def _references(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        ref = schema.get("$ref")
        own = {ref.removeprefix(_DEFS)} if isinstance(ref, str) else set()
        return own.union(*map(_references, schema.values()))
    return set().union(*map(_references, schema)) if isinstance(schema, list) else set()


def closed(schema: Any) -> Any:
    """A schema whose objects have no other properties than those that it names."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    return out | {"additionalProperties": False} if isinstance(schema.get("properties"), Mapping) else out


def openai_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """What LangChain's ``tool_choice`` means for these tools.

    Args:
        choice: None for the default; "auto", "none"; "any", "required" or True for at least one call;
            False for none; a tool's name; or a dict in OpenAI's or Anthropic's form.
        tools: The tools, in OpenAI's form.

    Raises:
        InvalidParameterError: The choice names no tool, or has another type.
    """
    if choice is None or (isinstance(choice, str) and choice in ("auto", "none")):
        return choice
    if choice is False:
        return "none"
    if choice is True or (isinstance(choice, str) and choice in ("any", "required")):
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
            f"got {shown(choice)}",
            parameter="tool_choice",
        )
    names = [str(tool.get("function", {}).get("name")) for tool in tools]
    if choice not in names:
        error = unknown_name(choice, [*names, "any", "auto", "none", "required"], "tool in tool_choice:")
        error.parameter = "tool_choice"
        raise error
    return {"type": "function", "function": {"name": choice}}
