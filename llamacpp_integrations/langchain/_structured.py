"""Answers that follow a schema: how to request and how to parse them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from llamacpp_core._checks import boolean, choice, shown, unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.request.constraints import response_schema
from llamacpp_core.request.described import DESCRIBED, untitled
from llamacpp_integrations.langchain._tools import has_tools, openai_tools

if TYPE_CHECKING:
    from llamacpp_integrations.langchain.chat_models import ChatLlamaCpp

__all__ = ["Method", "openai_response_format", "structured_output", "with_schema"]

Method = Literal["function_calling", "json_schema", "json_mode"]
METHODS = ("function_calling", "json_schema", "json_mode")


def json_schema(schema: Any, parameter: str = "schema") -> dict[str, Any]:
    """The JSON schema of a pydantic class, a TypedDict, an OpenAI function or a JSON schema.

    Args:
        schema: One of these.
        parameter: What the caller calls it, for errors.

    Raises:
        InvalidParameterError: It is none of these.
    """
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        model: Any = schema
        return dict(model.model_json_schema() if hasattr(model, "model_json_schema") else model.schema())
    if isinstance(schema, Mapping) and not {"function", "parameters", "input_schema"} & set(schema):
        return dict(schema)
    if not isinstance(schema, Mapping | BaseTool) and not callable(schema):
        raise _unreadable(schema, parameter)
    try:
        return convert_to_json_schema(schema)
    except (ValueError, TypeError) as error:
        raise _unreadable(schema, parameter) from error


def _unreadable(schema: Any, parameter: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"{parameter} must be a pydantic or TypedDict class, a JSON schema or an OpenAI function, got "
        f"{shown(schema)}: wrap other types into a class with one field",
        parameter=parameter,
    )


def openai_response_format(value: Any) -> Any:
    """``response_format`` as the engine takes it: OpenAI's dict as it is, a schema as ``json_schema``."""
    if value is None or (
        isinstance(value, Mapping) and value.get("type") in ("text", "json_object", "json_schema")
    ):
        return value
    kind = value.get("type") if isinstance(value, Mapping) else None
    if isinstance(kind, str) and kind not in _JSON_TYPES:
        error = unknown_name(kind, ("text", "json_object", "json_schema"), "type in response_format:")
        error.parameter = "response_format"
        raise error
    return _schema_format(json_schema(value, "response_format"), None)


_JSON_TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}


def _schema_format(schema: dict[str, Any], strict: bool | None) -> dict[str, Any]:
    wrapper: dict[str, Any] = {"name": str(schema.get("title") or "response"), "schema": schema}
    if strict is not None:
        wrapper["strict"] = strict
    return {"type": "json_schema", "json_schema": wrapper}


def with_schema(messages: list[dict[str, Any]], response_format: Any) -> list[dict[str, Any]]:
    """The conversation with the answer's schema in it, so that the model knows what the fields mean.

    It goes in front of the last user message, since not every chat template takes a system message.
    """
    schema = response_schema(response_format)
    if not isinstance(schema, Mapping):
        return messages
    text = f"{DESCRIBED}\n{json.dumps(untitled(schema), ensure_ascii=False)}"
    for i in range(len(messages) - 1, -1, -1):
        if messages[i]["role"] == "user":
            content = messages[i]["content"]
            if isinstance(content, list):
                content = [{"type": "text", "text": f"{text}\n"}, *content]
            else:
                content = f"{text}\n\n{content or ''}"
            return [*messages[:i], messages[i] | {"content": content}, *messages[i + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def structured_output(
    llm: ChatLlamaCpp,
    schema: Any,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    tools: Any,
    schema_strictness: str = "exact",
    describe: bool = False,
) -> Runnable[Any, Any]:
    """Builds the chain of ``with_structured_output``."""
    if method not in METHODS:
        raise InvalidParameterError(
            f"method must be one of {', '.join(METHODS)}, got {method!r}", parameter="method"
        )
    if schema is None and method != "json_mode":
        raise InvalidParameterError(f"method {method!r} needs a schema", parameter="schema")
    if strict is not None and method == "json_mode":
        raise InvalidParameterError("json_mode knows no strict: use method='json_schema'", parameter="strict")
    boolean("include_raw", include_raw)
    boolean("describe_schema", describe)
    if strict is not None:
        boolean("strict", strict)
    if tools and method != "json_schema":
        raise InvalidParameterError("tools beside a schema need method='json_schema'", parameter="tools")
    bound: dict[str, Any] = {}
    if choice("exact", "report")("schema_strictness", schema_strictness) != "exact":
        bound["schema_strictness"] = schema_strictness
    if schema is not None:
        described = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        bound["ls_structured_output_format"] = described
    if method == "function_calling":
        model, parser = _by_call(llm, schema, strict, bound)
    else:
        if describe and schema is not None:
            bound["describe_schema"] = True
        model = llm.bind_tools(
            tools if has_tools(tools) else [], response_format=_format(schema, method, strict), **bound
        )
        parser = _text_parser(schema, may_call=bool(tools))
    return _with_raw(model, parser) if include_raw else model | parser


def _by_call(
    llm: ChatLlamaCpp, schema: Any, strict: bool | None, bound: dict[str, Any]
) -> tuple[Runnable[Any, Any], Runnable[Any, Any]]:
    described = schema
    if isinstance(schema, Mapping) and not {"title", "name", "function", "toolSpec"} & set(schema):
        described = {"title": "response", **schema}
    (tool,) = openai_tools([described], strict=strict)
    name = tool["function"]["name"]
    model = llm.bind_tools([tool], tool_choice=name, parallel_tool_calls=False, **bound)
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return model, PydanticToolsParser(tools=[schema], first_tool_only=True)
    return model, JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _format(schema: Any, method: Method, strict: bool | None) -> dict[str, Any]:
    if method == "json_schema":
        return _schema_format(json_schema(schema), strict)
    if schema is None:
        return {"type": "json_object"}
    # JSON mode promises JSON only; the schema is known, so the answer is held to it as well.
    return {"type": "json_object", "schema": json_schema(schema)}


def _text_parser(schema: Any, *, may_call: bool) -> Runnable[Any, Any]:
    parser: BaseOutputParser[Any]
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticOutputParser(pydantic_object=schema)
    else:
        parser = JsonOutputParser()
    if not may_call:
        return parser

    def parse(message: AIMessage) -> Any:
        return None if message.tool_calls else parser.invoke(message)

    from langchain_core.runnables import RunnableLambda

    return RunnableLambda(parse)


def _with_raw(model: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
