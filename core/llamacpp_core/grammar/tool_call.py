"""Grammars for tool calls in a form of our own, the same for every model and template.

One call is ``{"name": "<function>", "arguments": {...}}``; the name decides the schema of the arguments.
Several calls are in a JSON array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.charset import gbnf_literal
from llamacpp_core.grammar.json_schema import SchemaCompiler, dump_schema, load_schema
from llamacpp_core.grammar.limits import SchemaLimits
from llamacpp_core.grammar.rules import literal_choice

__all__ = ["call_or_answer_gbnf", "loose_tools", "tool_arguments_gbnf", "tool_call_gbnf"]

_MAX_CALLS = 16
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def tool_call_gbnf(
    tools: Sequence[Mapping[str, Any]],
    *,
    parallel: bool = False,
    limits: SchemaLimits | None = None,
    root: str = "root",
    max_calls: int = _MAX_CALLS,
    lenient: bool = False,
) -> str:
    """A grammar for calls of the given tools and nothing else.

    Results are cached by the tools' JSON text.

    Args:
        tools: Tools in OpenAI's form: ``{"type": "function", "function": {"name", "parameters", ...}}``.
        parallel: Allow several calls: a JSON array of one or more. Otherwise exactly one call, without array.
        limits: Bounds on what the schemas of the arguments leave open.
        root: Name of the start rule.
        max_calls: Most calls in the array.
        lenient: Leave out what cannot be enforced of the arguments instead of refusing it; see
            :func:`loose_tools`.

    Returns:
        GBNF text.

    Raises:
        GrammarError: When there is no tool, a tool is malformed, two have one name, or a schema cannot be
            enforced; the message begins with the JSON path (``tools[0].function.parameters...``).
    """
    _check_max_calls(max_calls)
    text = dump_schema([_function(tool, f"tools[{index}]") for index, tool in enumerate(tools)])
    return _call_text(text, limits or SchemaLimits(), root, max_calls if parallel else 0, lenient)


def _check_max_calls(max_calls: int) -> None:
    if not isinstance(max_calls, int) or isinstance(max_calls, bool) or not 1 <= max_calls <= 1000:
        raise GrammarError(
            f"max_calls must be an integer from 1 to 1000, got {max_calls!r}", parameter="max_calls"
        )


def tool_arguments_gbnf(
    tool: Mapping[str, Any], *, limits: SchemaLimits | None = None, root: str = "root"
) -> str:
    """A grammar for the arguments of one tool: the JSON object alone.

    Args:
        tool: A tool in OpenAI's form.
        limits: Bounds on what the schema leaves open.
        root: Name of the start rule.

    Raises:
        GrammarError: When the tool is malformed or its schema cannot be enforced.
    """
    compiler = SchemaCompiler(limits=limits, root=root)
    return compiler.render(_add_arguments(compiler, _function(tool, "tool"), "tool"))


def call_or_answer_gbnf(
    tools: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | bool | None,
    *,
    opening: str,
    closing: str,
    parallel: bool = False,
    limits: SchemaLimits | None = None,
    max_calls: int = _MAX_CALLS,
    lenient: bool = False,
    lenient_answer: bool = False,
) -> str:
    """A grammar for calls between tags, or else an answer by a schema.

    Args:
        tools: Tools in OpenAI's form.
        schema: The schema of the answer; None for calls only.
        opening: The tag in front of a call.
        closing: The tag after a call.
        parallel: Allow several calls, each between its own tags.
        limits: Bounds on what the schemas leave open.
        max_calls: Most calls.
        lenient: Leave out what cannot be enforced of the arguments instead of refusing it; see
            :func:`loose_tools`.
        lenient_answer: The same for the answer; see :func:`loose_schema`.

    Raises:
        GrammarError: As :func:`tool_call_gbnf`, or when the schema cannot be enforced.
    """
    text = dump_schema([_function(tool, f"tools[{index}]") for index, tool in enumerate(tools)])
    answer = None if schema is None else dump_schema(schema)
    _check_max_calls(max_calls)
    calls = max_calls if parallel else 1
    loose = (lenient, lenient_answer)
    return _call_or_answer_text(text, answer, limits or SchemaLimits(), (opening, closing), calls, loose)


def loose_tools(tools: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What a grammar cannot enforce of the arguments of tools.

    Args:
        tools: Tools in OpenAI's form.

    Returns:
        Names of tools to what is left out of their schemas; a tool whose schema is held in full is not there.

    Raises:
        GrammarError: A tool is malformed, or no arguments are valid under its schema.
    """
    text = dump_schema([_function(tool, f"tools[{index}]") for index, tool in enumerate(tools)])
    return dict(_loose_text(text))


@lru_cache(maxsize=128)
def _loose_text(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for index, function in enumerate(load_schema(text)):
        compiler = SchemaCompiler(lenient=True)
        _add_arguments(compiler, function, f"tools[{index}]")
        if compiler.left_out:
            found.append((function["name"], tuple(dict.fromkeys(compiler.left_out))))
    return tuple(found)


@lru_cache(maxsize=128)
def _call_or_answer_text(
    text: str,
    answer: str | None,
    limits: SchemaLimits,
    tags: tuple[str, str],
    max_calls: int,
    lenient: tuple[bool, bool],
) -> str:
    opening, closing = tags
    compiler = SchemaCompiler(limits=limits, lenient=lenient[0])
    call = f"{gbnf_literal(opening)} {_add_call(compiler, load_schema(text))} {gbnf_literal(closing)}"
    if max_calls > 1:
        tagged = compiler.rules.add("tagged-call", call)
        call = f"{tagged} ({gbnf_literal(chr(10))}? {tagged}){{0,{max_calls - 1}}}"
    compiler.lenient = lenient[1]
    return compiler.render(
        call if answer is None else f"{call} | {compiler.add(load_schema(answer), 'answer')}"
    )


@lru_cache(maxsize=128)
def _call_text(text: str, limits: SchemaLimits, root: str, max_calls: int, lenient: bool) -> str:
    compiler = SchemaCompiler(limits=limits, root=root, lenient=lenient)
    call = _add_call(compiler, load_schema(text))
    if not max_calls:
        return compiler.render(call)
    several = compiler.values.several(call, 1, max_calls, "call")
    return compiler.render(compiler.values.bracketed("[]", several, may_be_empty=False))


def _add_call(compiler: SchemaCompiler, functions: Sequence[Mapping[str, Any]]) -> str:
    """Adds the rules of a call of one of the functions; returns the call's symbol."""
    if not functions:
        raise GrammarError("tools: at least one tool is needed", parameter="tools")
    comma = compiler.values.comma
    calls: dict[str, str] = {}
    for index, function in enumerate(functions):
        name, path = function["name"], f"tools[{index}]"
        if name in calls:
            raise GrammarError(f"{path}.function.name: another tool has the name {name!r}", parameter=path)
        key = compiler.values.member("arguments", _add_arguments(compiler, function, path))
        calls[name] = f"{comma} {key}"
    names = literal_choice([(compiler.values.json_text(name), follow) for name, follow in calls.items()])
    member = compiler.values.member("name", f"({names})")
    return compiler.rules.add("call", compiler.values.bracketed("{}", member, may_be_empty=False))


def _function(tool: Any, path: str) -> dict[str, Any]:
    """Name and parameters of a tool, checked."""

    def fail(where: str, reason: str) -> GrammarError:
        return GrammarError(f"{where}: {reason}", parameter=where)

    if not isinstance(tool, Mapping) or not isinstance(tool.get("function"), Mapping):
        raise fail(path, 'expected {"type": "function", "function": {"name": ..., "parameters": ...}}')
    if tool.get("type", "function") != "function":
        raise fail(f"{path}.type", f"only 'function' is supported, got {tool['type']!r}")
    function = tool["function"]
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise fail(f"{path}.function.name", f"expected a name, got {name!r}")
    if re.search("[\ud800-\udfff]", name):
        raise fail(f"{path}.function.name", "a lone surrogate cannot be written as UTF-8")
    parameters = function.get("parameters")
    return {"name": name, "parameters": _NO_PARAMETERS if parameters is None else parameters}


def _add_arguments(compiler: SchemaCompiler, function: Mapping[str, Any], path: str) -> str:
    schema = function["parameters"]
    where = f"{path}.function.parameters"
    if not isinstance(schema, Mapping):
        raise GrammarError(f"{where}: expected a schema of type object, got {schema!r:.80}", parameter=where)
    if "type" not in schema:
        schema = {**schema, "type": "object"}
    elif schema["type"] != "object":
        raise GrammarError(
            f"{where}.type: the arguments of a tool are an object, got {schema['type']!r}", parameter=where
        )
    try:
        return compiler._add(schema, function["name"])
    except GrammarError as error:
        raise GrammarError(f"{where}{str(error).removeprefix('$')}", parameter=where) from error
