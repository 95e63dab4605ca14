"""The requests that every template has to answer."""

from __future__ import annotations

import dataclasses
from typing import Any

from llamacpp_core import Llama

MAX_TOKENS = 200
REASONING_BUDGET = 24

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer"},
            },
            "required": ["city", "unit"],
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search the web",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 20},
            },
            "required": ["query"],
        },
    },
}
TOOLS = [WEATHER, SEARCH]
PROMPTS = (
    "What is the weather in Paris?",
    "Find articles about tides.",
    "Tell me a joke, then check whether it rains in Lima and Oslo.",
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 40},
        "kinds": {"type": "array", "items": {"enum": ["sea", "river", "lake"]}, "minItems": 1, "maxItems": 2},
        "size": {"$ref": "#/$defs/size"},
        "state": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "since": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": r"^[A-Z]{2}\d{2}\s\w$"},
    },
    "required": ["title", "kinds", "size", "state", "since", "code"],
    "additionalProperties": False,
    "$defs": {
        "size": {
            "type": "object",
            "properties": {"width": {"type": "integer", "minimum": 1, "maximum": 90}, "unit": {"const": "m"}},
            "required": ["width", "unit"],
            "additionalProperties": False,
        }
    },
}
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "water", "strict": True, "schema": SCHEMA},
}

Answer = Any  # a response, its chunks, or the exception that came instead


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came back for one template.

    Attributes:
        single: A forced call, exactly one.
        streamed: The chunks of a forced call.
        parallel: One forced call or more.
        named: A call of ``search``.
        reasoned: A forced call after reasoning; None where the template has no place for it.
        schema: An answer by the schema.
        either: A call, or an answer by the schema.
    """

    single: Answer
    streamed: Answer
    parallel: Answer
    named: Answer
    reasoned: Answer
    schema: Answer
    either: Answer


def _ask(llm: Llama, prompt: str, **params: Any) -> Answer:
    stream = params.get("stream", False)
    try:
        answer: Any = llm.create_chat_completion(
            [{"role": "user", "content": prompt}], temperature=0.0, max_tokens=MAX_TOKENS, **params
        )
        return list(answer) if stream else answer
    except Exception as error:
        return error


def ask_everything(llm: Llama) -> Answers:
    """Makes all requests."""
    forced = {"tools": TOOLS, "tool_choice": "required"}
    named = {"type": "function", "function": {"name": "search"}}
    reasoning = {
        "parallel_tool_calls": False,
        "reasoning_budget_tokens": REASONING_BUDGET,
        "chat_template_kwargs": {"enable_thinking": True},
    }
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "single": (PROMPTS[0], forced | {"parallel_tool_calls": False}),
        "streamed": (PROMPTS[1], forced | {"parallel_tool_calls": False, "stream": True}),
        "parallel": (PROMPTS[2], forced | {"parallel_tool_calls": True}),
        "named": (PROMPTS[0], forced | {"tool_choice": named}),
        "schema": ("Describe the Atlantic.", {"response_format": RESPONSE_FORMAT}),
        "either": (PROMPTS[1], {"tools": TOOLS, "response_format": RESPONSE_FORMAT}),
    }
    if llm.info.capabilities.reasoning:
        requests["reasoned"] = (PROMPTS[0], forced | reasoning)
    done = {name: _ask(llm, prompt, **params) for name, (prompt, params) in requests.items()}
    return Answers(**({"reasoned": None} | done))
