"""Answers bound to a schema, and forced calls, are whole within ``max_tokens``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lowlevel.test_grammar_endings import TODOS, TRIPLETS

from llamacpp_core import GrammarError, Llama

ASKED = [{"role": "user", "content": "Paris is the capital of France and Berlin that of Germany."}]
TOOL = {"type": "function", "function": {"name": "write_todos", "parameters": TODOS}}


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": schema}}


@pytest.mark.parametrize("max_tokens", [12, 40, 64, 100, 200])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_arrays_of_objects(llm: Llama, max_tokens: int, temperature: float) -> None:
    answer = llm.create_chat_completion(
        ASKED,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=1,
        response_format=response_format(TRIPLETS),
    )
    choice = answer["choices"][0]
    Draft202012Validator(TRIPLETS).validate(json.loads(choice["message"]["content"]))
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] <= max_tokens


@pytest.mark.parametrize("max_tokens", [48, 100])
def test_forced_calls_in_a_stream_of_several(llm: Llama, max_tokens: int) -> None:
    chunks = llm.create_chat_completion(
        ASKED,
        max_tokens=max_tokens,
        temperature=1.2,
        seed=3,
        n=2,
        stream=True,
        tools=[TOOL],
        tool_choice="required",
    )
    arguments = {0: "", 1: ""}
    reasons = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls") or []:
                arguments[choice["index"]] += call["function"].get("arguments") or ""
            reasons[choice["index"]] = choice["finish_reason"]
    assert reasons == {0: "tool_calls", 1: "tool_calls"}
    for text in arguments.values():
        Draft202012Validator(TODOS).validate(json.loads(text))


def test_the_rest_of_the_context_is_a_budget(llm: Llama) -> None:
    room = llm.n_ctx() - 40
    prompt = [1, *llm.tokenize(b" and" * room, add_bos=False)[:room]]
    answer = llm.create_completion(prompt, temperature=1.0, seed=1, grammar='root ::= [a-z ]* "."')
    assert answer["choices"][0]["text"].endswith(".")


def test_logits_processors(llm: Llama) -> None:
    answer = llm.create_completion(
        "Colours:",
        max_tokens=12,
        temperature=1.0,
        seed=1,
        grammar='root ::= "[" [a-z]* ("," [a-z]*)* "]"',
        logits_processor=lambda ids, scores: scores,
    )
    assert answer["choices"][0]["text"].endswith("]")
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_grammar_with_too_many_ways_ends_its_own_request_alone(llm: Llama) -> None:
    text = 'root ::= "a" root "b" root | "a" root "c" root | "a" | "a" root'
    with pytest.raises(GrammarError, match="ways"):
        llm.create_completion("aaaa", max_tokens=400, temperature=0, grammar=text, logit_bias=_only_a(llm))
    assert llm.create_completion("Once", max_tokens=2)["choices"][0]["text"]


def _only_a(llm: Llama) -> dict[int, float]:
    return {llm.tokenize(b"a", add_bos=False)[0]: 100.0}
