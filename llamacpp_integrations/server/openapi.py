"""The OpenAPI document of the server, built from short tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from llamacpp_core import __version__

__all__ = ["openapi_document"]

Schema = dict[str, Any]

_ANY: Schema = {}
_BOOLEAN: Schema = {"type": ["boolean", "null"]}
_STRING: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": ["number", "null"]}
_INTEGER: Schema = {"type": ["integer", "null"]}
_UNIT: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_NOT_NEGATIVE: Schema = {"type": ["number", "null"], "minimum": 0}
_OBJECT: Schema = {"type": ["object", "null"]}
_OBJECTS: Schema = {"type": ["array", "null"], "items": {"type": "object"}}
_TEXTS: Schema = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 128},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
    ]
}

_SAMPLING: dict[str, Schema] = {
    "temperature": _NOT_NEGATIVE,
    "top_p": _UNIT,
    "top_k": _INTEGER,
    "min_p": _UNIT,
    "typical_p": _UNIT,
    "max_tokens": _INTEGER,
    "stop": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}},
            {"type": "null"},
        ]
    },
    "seed": _INTEGER,
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 1024},
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "repeat_penalty": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "logit_bias": _OBJECT,
    "lora": {"type": ["string", "object", "array", "null"]},
    "grammar": _STRING,
    "stream": _BOOLEAN,
    "stream_options": _OBJECT,
    "user": _ANY,
}
_MESSAGES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
            "content": {"anyOf": [{"type": ["string", "null"]}, {"type": "array"}]},
        },
    },
}
_CHAT: dict[str, Schema] = {
    **_SAMPLING,
    "messages": _MESSAGES,
    "tools": _OBJECTS,
    "tool_choice": {"type": ["string", "object", "null"]},
    "parallel_tool_calls": _BOOLEAN,
    "response_format": _OBJECT,
    "schema_limits": _OBJECT,
    "schema_strictness": {"enum": ["exact", "report", None]},
    "logprobs": _BOOLEAN,
    "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    "max_completion_tokens": _INTEGER,
    "reasoning_effort": {"enum": ["none", "minimal", "low", "medium", "high", "xhigh", None]},
    "chat_template_kwargs": _OBJECT,
}
_COMPLETION: dict[str, Schema] = {
    **_SAMPLING,
    "prompt": _TEXTS,
    "suffix": _STRING,
    "echo": _BOOLEAN,
    "logprobs": {"type": ["integer", "null"], "minimum": 0},
    "best_of": {"type": ["integer", "null"], "minimum": 1},
}
_OTHER_SAMPLING = {
    name: _SAMPLING[name] for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stream")
}
_RESPONSE: dict[str, Schema] = {
    **_OTHER_SAMPLING,
    "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]},
    "instructions": _STRING,
    "max_output_tokens": _INTEGER,
    "tools": _OBJECTS,
    "tool_choice": {"type": ["string", "object", "null"]},
    "parallel_tool_calls": _BOOLEAN,
    "text": _OBJECT,
    "reasoning": _OBJECT,
    "include": {"type": ["array", "null"]},
    "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    "store": _ANY,
    "user": _ANY,
}
_CONVERSATION: dict[str, Schema] = {
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"enum": ["user", "assistant", "system"]},
                "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
            },
        },
    },
    "system": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "object"}}]},
    "tools": _OBJECTS,
    "tool_choice": _OBJECT,
}
_MESSAGE: dict[str, Schema] = {
    **_OTHER_SAMPLING,
    **_CONVERSATION,
    "max_tokens": {"type": "integer", "minimum": 1},
    "stop_sequences": {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}},
    "output_config": _OBJECT,
    "thinking": _OBJECT,
    "metadata": _ANY,
}
_EMBEDDING: dict[str, Schema] = {
    "input": _TEXTS,
    "encoding_format": {"enum": ["float", "base64", None]},
    "dimensions": _INTEGER,
    "overflow": {"enum": ["error", "truncate", "chunk", None]},
    "user": _ANY,
}
_RERANK: dict[str, Schema] = {
    "query": {"type": "string"},
    "documents": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
            ]
        },
    },
    "top_n": {"type": ["integer", "null"], "minimum": 1},
    "return_documents": _BOOLEAN,
}
# path -> (what it does, fields, required fields, keys of the answer)
_POSTS: dict[str, tuple[str, dict[str, Schema], list[str], list[str]]] = {
    "/v1/chat/completions": (
        "Answer a conversation.",
        _CHAT,
        ["messages"],
        ["id", "object", "created", "model", "choices", "usage"],
    ),
    "/v1/completions": (
        "Continue a text.",
        _COMPLETION,
        ["prompt"],
        ["id", "object", "created", "model", "choices", "usage"],
    ),
    "/v1/responses": ("Answer a conversation, as items.", _RESPONSE, ["input"], ["id", "output", "status"]),
    "/v1/messages": (
        "Answer a conversation, as Anthropic's API does.",
        _MESSAGE,
        ["messages", "max_tokens"],
        ["id", "type", "role", "content", "stop_reason", "usage"],
    ),
    "/v1/messages/count_tokens": (
        "Count a conversation's tokens.",
        _CONVERSATION,
        ["messages"],
        ["input_tokens"],
    ),
    "/v1/embeddings": ("Embed texts.", _EMBEDDING, ["input"], ["object", "data", "model", "usage"]),
    "/v1/rerank": (
        "Sort documents by how well they answer a query.",
        _RERANK,
        ["query", "documents"],
        ["model", "results", "usage"],
    ),
    "/v1/load_lora_adapter": (
        "Load a LoRA adapter.",
        {"lora_name": {"type": "string"}, "lora_path": {"type": "string"}, "scale": _NUMBER},
        ["lora_name", "lora_path"],
        ["id"],
    ),
    "/v1/unload_lora_adapter": (
        "Unload a LoRA adapter.",
        {"lora_name": {"type": "string"}},
        ["lora_name"],
        ["id"],
    ),
}
_GETS: dict[str, tuple[str, Schema]] = {
    "/v1/models": ("The models.", {"type": "object", "required": ["object", "data"]}),
    "/health": ("Whether the server is there.", {"type": "object", "required": ["status"]}),
    "/openapi.json": ("This document.", {"type": "object", "required": ["openapi", "paths"]}),
}
_PROBLEMS = {
    "400": "A field of the request cannot work; the message and `param` say which.",
    "401": "An API key is needed.",
    "403": "This host or origin may not call the server.",
    "404": "There is no such model.",
    "405": "The route takes another method.",
    "413": "The request is too large.",
    "415": "The request is not JSON.",
    "429": "Too many requests wait.",
    "529": "Too many requests wait, in Anthropic's API.",
    "503": "The model is not available now.",
    "504": "The request took too long.",
}


@cache
def openapi_document(*, several_models: bool) -> dict[str, Any]:
    """The document; it is shared, so it must not be changed.

    Args:
        several_models: The server has more than one model, so that each request has to name one.
    """
    paths: dict[str, Any] = {}
    for path, (summary, fields, required, keys) in _POSTS.items():
        fields = {"model": {"type": "string"} if several_models else _STRING, **fields}
        required = ["model", *required] if several_models else required
        paths[path] = {"post": _post(summary, fields, required, keys)}
    for path, (summary, schema) in _GETS.items():
        paths[path] = {"get": {"summary": summary, "responses": _responses(_json(schema))}}
    metrics = {
        "description": "Numbers for Prometheus.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    paths["/metrics"] = {"get": {"summary": "Numbers.", "responses": _responses(metrics)}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llamacpp-integrations", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Problem": {"type": "object", "required": ["error"]}},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _post(summary: str, fields: Mapping[str, Schema], required: Iterable[str], keys: Iterable[str]) -> Schema:
    body = {
        "type": "object",
        "required": list(required),
        "properties": dict(fields),
        "additionalProperties": False,
    }
    answer = _json({"type": "object", "required": list(keys)})
    answer["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(answer),
    }


def _json(schema: Schema, description: str = "The answer.") -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _responses(answer: Schema) -> Schema:
    problem = {"$ref": "#/components/schemas/Problem"}
    return {"200": answer, **{status: _json(problem, text) for status, text in _PROBLEMS.items()}}
