"""Forced means forced, and valid: on every template, whatever the model would have liked to say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from promises.requests_per_template import REASONING_BUDGET, SCHEMA, TOOLS, Answer, Answers

from llamacpp_core import Llama

VALIDATORS = {t["function"]["name"]: Draft202012Validator(t["function"]["parameters"]) for t in TOOLS}  # type: ignore[index]
SCHEMA_VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def choice_of(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Exception):
        raise answer
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def assert_calls(choice: dict[str, Any], *, only: str | None = None) -> list[dict[str, Any]]:
    """The choice holds valid calls and nothing else; gives the calls."""
    message = choice["message"]
    assert choice["finish_reason"] == "tool_calls", message
    assert not message["content"]
    calls: list[dict[str, Any]] = message["tool_calls"]
    assert calls
    assert len({call["id"] for call in calls}) == len(calls)
    for call in calls:
        assert call["type"] == "function"
        assert only in (None, call["function"]["name"])
        VALIDATORS[call["function"]["name"]].validate(json.loads(call["function"]["arguments"]))
    return calls


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """A streamed answer as one choice; each call's id and name come once, before its arguments."""
    content, reason = "", None
    calls: list[dict[str, Any]] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            reason = choice["finish_reason"] or reason
            content += choice["delta"].get("content") or ""
            for piece in choice["delta"].get("tool_calls", ()):
                function = piece["function"]
                if piece["index"] == len(calls):
                    head = {"id": piece["id"], "type": piece["type"]}
                    calls.append(head | {"function": {"name": function["name"], "arguments": ""}})
                else:
                    assert "id" not in piece
                    assert "name" not in function
                calls[piece["index"]]["function"]["arguments"] += function.get("arguments", "")
    return {"finish_reason": reason, "message": {"content": content, "tool_calls": calls}}


@pytest.mark.timeout(300)
def test_forced_calls(answers: Answers) -> None:
    assert len(assert_calls(choice_of(answers.single))) == 1
    if isinstance(answers.streamed, Exception):
        raise answers.streamed
    assert len(assert_calls(joined(answers.streamed))) == 1
    assert_calls(choice_of(answers.parallel))


@pytest.mark.timeout(300)
def test_named_call(answers: Answers) -> None:
    assert len(assert_calls(choice_of(answers.named), only="search")) == 1


@pytest.mark.timeout(300)
def test_call_after_reasoning(engine: Llama, answers: Answers) -> None:
    if answers.reasoned is None:
        assert not engine.info.capabilities.reasoning
        return
    choice = choice_of(answers.reasoned)
    assert len(assert_calls(choice)) == 1
    n_reasoning = answers.reasoned["usage"]["completion_tokens_details"]["reasoning_tokens"]
    if choice["message"].get("reasoning_content"):
        assert 0 < n_reasoning <= REASONING_BUDGET + 8  # and what ends it


@pytest.mark.timeout(300)
def test_schema(answers: Answers) -> None:
    choice = choice_of(answers.schema)
    assert choice["finish_reason"] == "stop", choice
    assert "tool_calls" not in choice["message"]
    SCHEMA_VALIDATOR.validate(json.loads(choice["message"]["content"]))


@pytest.mark.timeout(300)
def test_generic_calls(answers: Answers) -> None:
    choice = choice_of(answers.either)
    if choice["message"].get("tool_calls"):
        assert_calls(choice)
    else:
        assert choice["finish_reason"] == "stop", choice
        SCHEMA_VALIDATOR.validate(json.loads(choice["message"]["content"]))
