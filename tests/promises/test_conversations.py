"""Conversations that templates did not foresee: merged or mapped, nothing lost, no error from inside."""

from __future__ import annotations

from typing import Any

from llamacpp_core import Llama
from llamacpp_core.errors import InvalidMessageError


def say(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


CALL = {
    "id": "call_0123456789abcdef",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"word": "alpha"}'},
}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
CONVERSATIONS = {
    "two users": [say("user", "alpha one"), say("user", "bravo two")],
    "two assistants": [
        say("user", "alpha"),
        say("assistant", "bravo"),
        say("assistant", "delta"),
        say("user", "echo"),
    ],
    "system alone": [say("system", "alpha")],
    "system twice": [say("system", "alpha"), say("system", "bravo"), say("user", "delta")],
    "system late": [
        say("user", "alpha"),
        say("assistant", "bravo"),
        say("system", "delta"),
        say("user", "echo"),
    ],
    "assistant first": [say("assistant", "alpha"), say("user", "bravo")],
    "developer": [say("developer", "alpha"), say("user", "bravo")],
    "long ids": [
        say("user", "alpha"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "bravo"},
        say("user", "delta"),
    ],
    "result last": [
        say("user", "alpha"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "bravo"},
    ],
    "error result": [
        say("user", "alpha"),
        {"role": "assistant", "content": "bravo", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "Error: delta <no> {echo}"},
    ],
}
WORDS = ("alpha", "bravo", "delta", "echo")


def test_unusual_conversations(engine: Llama) -> None:
    lost: dict[str, Any] = {}
    for name, messages in CONVERSATIONS.items():
        tools = [TOOL] if any(m["role"] == "tool" for m in messages) else None
        try:
            prompt = engine.apply_chat_template(messages, tools)
        except InvalidMessageError as error:
            lost[name] = str(error)
            continue
        assert isinstance(prompt, str)
        said = " ".join(str(m["content"]) + str(m.get("tool_calls", "")) for m in messages)
        missing = [word for word in WORDS if word in said and word not in prompt]
        if missing:
            lost[name] = missing
    assert not lost
