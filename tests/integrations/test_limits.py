"""One behaviour in both frameworks: texts beyond the context, and answers that were cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import Answer, ScriptedLlama
from integrations.kinds import CHATS, EMBEDDINGS, Kind, ways_to_chat

from llamacpp_core.errors import ContextOverflowError, IncompleteOutputError

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
TOOLS: dict[str, Any] = {"tools": [ADD]}
FORCED: dict[str, Any] = {**TOOLS, "tool_choice": "required"}
SCHEMA: dict[str, Any] = {"response_format": {"type": "json_object"}}
HALF_CALL = Answer(tool_calls=[("add", '{"a": 1')], cut=True)
WHOLE_CALL = Answer(tool_calls=[("add", '{"a": 1}')], cut=True)
STOPPED_CALL = Answer(tool_calls=[("add", '{"a": 1')])
TWO_CALLS = Answer(tool_calls=[("add", '{"a": 1}'), ("add", '{"a": 2')], cut=True)

# What was asked, what came, and what is left of it if it was cut off; None: the answer is good.
CASES: dict[str, tuple[dict[str, Any], Answer, str | None]] = {
    "free text": ({}, Answer("Once upon", cut=True), None),
    "free text beside tools": (TOOLS, Answer("Once upon", cut=True), None),
    "half a call": (TOOLS, HALF_CALL, '{"a": 1'),
    "half a forced call": (FORCED, HALF_CALL, '{"a": 1'),
    "a whole call at the limit": (FORCED, WHOLE_CALL, None),
    "text in place of a forced call": (FORCED, Answer("Let me", cut=True), "Let me"),
    "a call that stop ended": ({**TOOLS, "stop": ["}"]}, STOPPED_CALL, '{"a": 1'),
    "a whole call and a half": (TOOLS, TWO_CALLS, '{"a": 1}{"a": 2'),
    "a whole call, one is wanted": ({**FORCED, "parallel_tool_calls": False}, TWO_CALLS, None),
    "a whole call, more might come": ({**FORCED, "parallel_tool_calls": True}, WHOLE_CALL, '{"a": 1}'),
    "half an object": (SCHEMA, Answer('{"a": ', cut=True), '{"a": '),
    "a whole object at the limit": (SCHEMA, Answer('{"a": 1}', cut=True), None),
    "an object that stop ended": ({**SCHEMA, "stop": [","]}, Answer('{"a": 1'), '{"a": 1'),
    "a call beside a schema": ({**TOOLS, **SCHEMA}, WHOLE_CALL, None),
}


@pytest.mark.parametrize("kind", CHATS, ids=str)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", range(4), ids=["whole", "stream", "awhole", "astream"])
def test_answers_that_were_cut_off(kind: Kind, case: str, way: int) -> None:
    asked, answer, partial = CASES[case]
    made = kind.make(llama=ScriptedLlama(answer))
    ask = ways_to_chat(made, asked)[way]
    if partial is None:
        assert way == 3 or ask()
        return
    with pytest.raises(IncompleteOutputError, match="cut off") as caught:
        ask()
    assert caught.value.partial == partial
    assert ("max_tokens" in str(caught.value)) == answer.cut


@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_a_conversation_that_is_too_long(kind: Kind) -> None:
    with kind.make(**kind.model) as made, pytest.raises(ContextOverflowError) as caught:
        kind.use(made, "word " * 400)
    assert caught.value.n_ctx == 256
    assert caught.value.n_prompt_tokens > 400


@pytest.mark.parametrize("kind", EMBEDDINGS, ids=str)
def test_texts_that_are_too_long_to_embed(kind: Kind) -> None:
    long = "The cat sat on the mat. " * 300
    with kind.make(**kind.model) as made:
        assert made.overflow == "chunk"
        averaged = np.array(kind.use(made, long))
        made.overflow = "truncate"
        cut = np.array(kind.use(made, long))
        made.overflow = "error"
        with pytest.raises(ContextOverflowError, match="overflow="):
            kind.use(made, long)
    assert np.linalg.norm(averaged) == pytest.approx(1, abs=1e-4)
    assert not np.allclose(averaged, cut, atol=1e-3)
