"""A model that calls in its own form is understood: text first, then the call, in pieces of any size."""

from __future__ import annotations

import json
import random
from typing import Any

from llamacpp_core import Llama
from llamacpp_core.llama.chat import prepare_chat
from llamacpp_core.request.call_probe import own_call
from llamacpp_core.request.chat_settings import PromptShape
from llamacpp_core.request.rendering import Rendering
from llamacpp_core.response.choice import OutputParser
from llamacpp_core.response.tool_calls import CALL_CLOSE, CALL_OPEN

ARGUMENTS = {"place": 'Łódź (old "town")', "limit": 3}
TOOL = {
    "type": "function",
    "function": {
        "name": "find_places",
        "description": "Finds places.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["place", "limit"],
        },
    },
}
QUESTION = {"role": "user", "content": "Hello"}
THINKING_OFF = {"chat_template_kwargs": {"enable_thinking": False}}
THINKING_OFF_SHAPE = PromptShape(template_kwargs={"enable_thinking": False})


def parser_for(llm: Llama, **more: Any) -> OutputParser:
    prepared = prepare_chat(llm, [QUESTION], {"tools": [TOOL], **more}, None)
    parser = prepared.assembler.choices[0].parser
    assert parser is not None
    return parser


def read(parser: OutputParser, pieces: list[str]) -> tuple[str, list[dict[str, str]]]:
    """The content and the calls; every call's name and id come once, before its arguments."""
    content, calls = "", []
    for delta in [delta for piece in pieces for delta in parser.feed(piece)] + parser.finish():
        if delta.get("content"):
            assert not calls, "content after a call"
            content += delta["content"]
        for call in delta.get("tool_calls", ()):
            function = call["function"]
            if call["index"] == len(calls):
                calls.append({"name": function["name"], "id": call["id"], "arguments": ""})
            else:
                assert "name" not in function
            calls[call["index"]]["arguments"] += function.get("arguments", "")
    return content, calls


def pieces_of(text: str, seed: int) -> list[str]:
    chooser = random.Random(seed)
    out = []
    while text:
        size = chooser.choice((1, 1, 2, 3, 5, 8, 40))
        out.append(text[:size])
        text = text[size:]
    return out


def call_text(llm: Llama) -> str:
    """The text with which the model calls; that which the parser of the whole text reads."""
    if llm.info.capabilities.tools == "generic":
        call = json.dumps({"name": "find_places", "arguments": ARGUMENTS}, ensure_ascii=False)
        tags = llm._chat._planner.plan([QUESTION], shape=THINKING_OFF_SHAPE).format.tags
        before = tags.ends[0] if tags is not None and tags.is_open else ""
        return f"{before}{CALL_OPEN}{call}{CALL_CLOSE}"
    planner = llm._chat._planner
    kwargs, think = planner._kwargs(THINKING_OFF_SHAPE, constrained=False)
    head = {
        "kwargs": kwargs,
        "enable_thinking": think,
        "format": planner._format(PromptShape(), kwargs, think),
    }
    request = Rendering(llm._engine, head).with_tools(json.dumps([TOOL]))
    tags = planner._info(request.render([QUESTION])).tags
    for text in own_call(request.prompt, planner._opening(request), tags):
        content, calls = read(parser_for(llm, **THINKING_OFF), [text])
        if len(calls) == 1 and not content.strip():
            return text
    raise AssertionError("no form of the template's own call is understood")


def test_native_calls_are_read_back(engine: Llama) -> None:
    text = call_text(engine)
    for seed in range(4):
        content, calls = read(parser_for(engine, **THINKING_OFF), pieces_of(text, seed))
        assert not content.strip()
        assert [call["name"] for call in calls] == ["find_places"]
        assert json.loads(calls[0]["arguments"]) == ARGUMENTS
        assert calls[0]["id"]


def test_answers_without_calls_stay_text(engine: Llama) -> None:
    opening = engine._chat._planner.plan(
        [QUESTION], shape=THINKING_OFF_SHAPE, tools=json.dumps([TOOL]), native_calls=True
    ).opening
    assert opening is not None
    text = f"{opening.text}It is 3 < 4, [so] to speak: {{}} and `code`."
    for seed in range(3):
        content, calls = read(parser_for(engine, **THINKING_OFF), pieces_of(text, seed))
        assert not calls
        assert content.strip() == "It is 3 < 4, [so] to speak: {} and `code`."
