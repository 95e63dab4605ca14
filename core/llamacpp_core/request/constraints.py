"""What a request constrains its answer to be: a grammar, a schema, forced or possible calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.request.messages import dump_tools
from llamacpp_core.response.tool_calls import CALL_CLOSE, CALL_OPEN

if TYPE_CHECKING:
    from llamacpp_core.grammar import SchemaLimits
    from llamacpp_core.request.chat_settings import ChatSettings

__all__ = ["Constraint", "constraint_for", "grammar_text", "response_schema", "schema_limits"]

Schema = Mapping[str, Any] | bool

_MAX_CALLS = 16
_TOKENS_PER_CALL = 200


class Constraint(NamedTuple):
    """What an answer has to be.

    Attributes:
        gbnf: The grammar.
        tagged: The grammar admits calls between ``<tool_call>`` tags, beside other text.
        calls: The grammar admits calls and nothing else.
        lazy: The grammar holds only from the first ``<tool_call>`` on.
        json: The grammar admits one JSON value and nothing else.
    """

    gbnf: str
    tagged: bool = False
    calls: bool = False
    lazy: bool = False
    json: bool = False


def grammar_text(grammar: Any) -> str | None:
    """The GBNF text of a grammar given as an object or as text.

    Raises:
        GrammarError: The text is not a usable grammar.
        InvalidParameterError: It is neither.
    """
    if grammar is None:
        return None
    from llamacpp_core.grammar import LlamaGrammar

    if isinstance(grammar, str):
        return LlamaGrammar.from_string(grammar, verbose=False).gbnf
    if isinstance(grammar, LlamaGrammar):
        return grammar.gbnf
    raise InvalidParameterError(
        f"grammar must be a LlamaGrammar or GBNF text, got {type(grammar).__name__}", parameter="grammar"
    )


def response_schema(value: Any) -> Schema | None:
    """The schema that ``response_format`` asks for; None for plain text.

    Raises:
        InvalidParameterError: It has none of the forms of OpenAI's API.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or value.get("type") not in ("text", "json_object", "json_schema"):
        raise InvalidParameterError(
            "response_format must be {'type': 'text'}, {'type': 'json_object'} or "
            "{'type': 'json_schema', ...}",
            parameter="response_format",
        )
    if value["type"] == "text":
        return None
    if value["type"] == "json_object":
        schema = value.get("schema")
        if schema is None or schema == {}:
            schema = {"type": "object"}
    else:
        wrapper = value.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, Mapping) else value.get("schema")
    if not isinstance(schema, Mapping | bool):
        raise InvalidParameterError(
            "response_format needs the schema under json_schema.schema",
            parameter="response_format.json_schema",
        )
    return schema


def schema_limits(value: Any, max_tokens: Any) -> SchemaLimits:
    """Bounds on what schemas leave open: the caller's, or such that an answer fits into its tokens.

    Raises:
        InvalidParameterError: The value is neither a SchemaLimits nor a dict of its fields.
    """
    from llamacpp_core.grammar import SchemaLimits

    if isinstance(value, SchemaLimits):
        return value
    if isinstance(value, Mapping):
        try:
            return SchemaLimits(**value)
        except TypeError as error:
            raise InvalidParameterError(f"schema_limits: {error}", parameter="schema_limits") from None
    if value is not None:
        raise InvalidParameterError(
            "schema_limits must be a SchemaLimits or a dict of its fields", parameter="schema_limits"
        )
    bound = _bound(max_tokens)
    return SchemaLimits() if bound is None else SchemaLimits.for_max_tokens(bound)


def _bound(max_tokens: Any) -> int | None:
    valid = isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and max_tokens > 0
    return max_tokens if valid else None


def max_calls(max_tokens: Any) -> int:
    """How many calls one answer may hold, such that they fit into its tokens."""
    bound = _bound(max_tokens)
    return _MAX_CALLS if bound is None else max(1, min(_MAX_CALLS, bound // _TOKENS_PER_CALL))


def constraint_for(settings: ChatSettings, *, native_calls: bool) -> Constraint | None:
    """What the answer has to be, if anything.

    Args:
        settings: What the call asks for.
        native_calls: Whether calls can be read in a form of the template's own.

    Raises:
        InvalidParameterError: The settings contradict each other.
        GrammarError: A schema cannot be enforced.
    """
    use, schema, limits = settings.use, settings.schema, settings.limits
    if settings.grammar is not None:
        if schema is not None:
            raise InvalidParameterError("give grammar or response_format, not both", parameter="grammar")
        if use.mode != "none":
            raise InvalidParameterError(
                "grammar and callable tools contradict each other: pass tool_choice='none'",
                parameter="grammar",
            )
        return Constraint(settings.grammar)
    calls = max_calls(settings.max_tokens) if use.parallel else 0
    report = settings.report_schemas
    if use.mode == "forced":
        return Constraint(_calls(dump_tools(use.tools), calls, limits, report), calls=True)
    if use.mode == "auto" and (schema is not None or not native_calls):
        answer = None if schema is None else json.dumps(schema)
        gbnf = _calls_or_answer(dump_tools(use.tools), answer, calls, limits, report)
        return Constraint(gbnf, tagged=schema is not None, lazy=schema is None)
    if schema is None:
        return None
    from llamacpp_core.grammar import json_schema_to_gbnf, loose_schema

    if report:
        return Constraint(loose_schema(schema, limits=limits).gbnf, json=True)
    return Constraint(json_schema_to_gbnf(schema, limits=limits), json=True)


@lru_cache(maxsize=128)
def _calls(tools: str, max_calls: int, limits: SchemaLimits, lenient: bool) -> str:
    from llamacpp_core.grammar import tool_call_gbnf

    return tool_call_gbnf(
        json.loads(tools),
        parallel=max_calls > 0,
        limits=limits,
        max_calls=max_calls or 1,
        lenient=lenient,
    )


@lru_cache(maxsize=128)
def _calls_or_answer(
    tools: str, answer: str | None, max_calls: int, limits: SchemaLimits, lenient_answer: bool
) -> str:
    from llamacpp_core.grammar import call_or_answer_gbnf

    schema = None if answer is None else json.loads(answer)
    return call_or_answer_gbnf(
        json.loads(tools),
        schema,
        opening=CALL_OPEN,
        closing=CALL_CLOSE,
        parallel=max_calls > 0,
        limits=limits,
        max_calls=max_calls or 1,
        lenient=True,
        lenient_answer=lenient_answer,
    )
