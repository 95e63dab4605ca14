"""Histories that an interrupted agent, or a shortened memory, leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import ScriptedLlama
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from llamacpp_core.errors import InvalidMessageError, InvalidParameterError
from llamacpp_integrations.langchain import ChatLlamaCpp


def call(name: str) -> dict[str, Any]:
    return {"name": "add", "args": {"a": 1}, "id": name, "type": "tool_call"}


def calling(*names: str, content: Any = "") -> AIMessage:
    return AIMessage(content, tool_calls=[call(name) for name in names])


def result(name: str) -> ToolMessage:
    return ToolMessage("2", tool_call_id=name)


ASKED, THANKS = HumanMessage("1 + 1?"), HumanMessage("Thanks")
CALL_BLOCK = {"type": "tool_use", "id": "a", "name": "add", "input": {"a": 1}}
INVALID = AIMessage("", invalid_tool_calls=[{"name": "add", "args": "{", "id": "a", "error": "no JSON"}])

# history -> what is left: the roles, and the ids of calls and of results
HISTORIES: dict[str, tuple[list[BaseMessage], list[str]]] = {
    "a call at the end": ([ASKED, calling("a")], ["user"]),
    "a call without its result": ([ASKED, calling("a"), THANKS], ["user", "user"]),
    "one of two": (
        [ASKED, calling("a", "b"), result("b"), THANKS],
        ["user", "assistant b", "tool b", "user"],
    ),
    "text beside the call": ([ASKED, calling("a", content="Wait."), THANKS], ["user", "assistant", "user"]),
    "a call as a block": ([ASKED, calling("a", content=[CALL_BLOCK]), THANKS], ["user", "user"]),
    "a call that is no JSON": ([ASKED, INVALID, THANKS], ["user", "user"]),
    "a result without a call": ([result("a"), THANKS], ["user"]),
    "a result that comes too late": ([ASKED, calling("a"), THANKS, result("a")], ["user", "user"]),
    "nothing wrong": ([ASKED, calling("a"), result("a"), THANKS], ["user", "assistant a", "tool a", "user"]),
}


def kept(messages: list[dict[str, Any]]) -> list[str]:
    ids = [
        [call["id"] for call in m.get("tool_calls", ())] + [m[k] for k in ("tool_call_id",) if k in m]
        for m in messages
    ]
    return [" ".join([message["role"], *its]) for message, its in zip(messages, ids, strict=True)]


@pytest.mark.parametrize("case", HISTORIES)
def test_dangling_calls_are_dropped_on_demand(case: str) -> None:
    history, left = HISTORIES[case]
    llama = ScriptedLlama()
    before = [message.model_copy(deep=True) for message in history]
    ChatLlamaCpp(llama=llama, on_dangling_call="drop").invoke(history)
    assert kept(llama.calls[-1][1]) == left
    assert history == before


@pytest.mark.parametrize("case", [case for case in HISTORIES if case != "nothing wrong"])
def test_they_are_errors_otherwise(case: str) -> None:
    with pytest.raises(InvalidMessageError):
        ChatLlamaCpp(llama=ScriptedLlama()).invoke(HISTORIES[case][0])


def test_the_real_model_takes_what_is_left(chat: ChatLlamaCpp) -> None:
    repaired = chat.model_copy(update={"on_dangling_call": "drop"})
    for history, _ in HISTORIES.values():
        assert repaired.invoke(history).response_metadata["finish_reason"]
        assert repaired.get_num_tokens_from_messages(history) > 0


def test_the_choice_is_checked() -> None:
    with pytest.raises(InvalidParameterError, match="on_dangling_call"):
        ChatLlamaCpp(llama=ScriptedLlama(), on_dangling_call="keep")
