from __future__ import annotations

from typing import Any

import pytest
from fakes import Answer, ScriptedLlama, scripted_info
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from llamacpp_core.errors import InvalidMessageError, UnsupportedCapabilityError
from llamacpp_integrations.langchain import ChatLlamaCpp

CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
WAV = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
PDF = {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}
PNG = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}


def sent(*messages: Any, **info: Any) -> list[dict[str, Any]]:
    """What reaches the engine."""
    llama = ScriptedLlama(info=scripted_info(**info))
    ChatLlamaCpp(llama=llama).invoke(list(messages))
    return llama.calls[0][1]


def test_every_kind_of_message() -> None:
    assert sent(
        SystemMessage("be kind"),
        HumanMessage("hi", name="anna"),
        AIMessage("calling", tool_calls=[CALL]),
        ToolMessage("3", tool_call_id="c1"),
        AIMessage("it is 3", additional_kwargs={"reasoning_content": "easy"}),
        ChatMessage("and now?", role="user"),
    ) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi", "name": "anna"},
        {
            "role": "assistant",
            "content": "calling",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "f"},
        {"role": "assistant", "content": "it is 3", "reasoning_content": "easy"},
        {"role": "user", "content": "and now?"},
    ]


def test_legacy_function_messages() -> None:
    call = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})
    messages = sent(HumanMessage("x"), call, FunctionMessage("3", name="f"))
    assert messages[1]["tool_calls"][0]["function"]["name"] == "f"
    assert messages[2]["role"] == "tool"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["a", {"type": "text", "text": "b"}], "ab"),
        ([{"type": "text-plain", "text": "b", "mime_type": "text/plain"}], "b"),
        ([], ""),
    ],
)
def test_text_blocks_become_text(content: list[Any], expected: str) -> None:
    assert sent(HumanMessage(content))[0]["content"] == expected


@pytest.mark.parametrize(
    "block",
    [
        PNG,
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "data": "AAAA", "media_type": "image/png"}},
    ],
)
def test_images_reach_a_model_that_sees(block: dict[str, Any]) -> None:
    parts = sent(HumanMessage([{"type": "text", "text": "what is it?"}, block]), image=True)[0]["content"]
    assert parts[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    "block", [WAV, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]
)
def test_audio_reaches_a_model_that_hears(block: dict[str, Any]) -> None:
    parts = sent(HumanMessage([block]), audio=True)[0]["content"]
    assert parts == [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]


@pytest.mark.parametrize(
    "block", [PNG, WAV, {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}]
)
def test_media_that_the_model_does_not_take(block: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedCapabilityError, match=r"messages\[1\]") as caught:
        sent(SystemMessage("x"), HumanMessage([block]))
    assert isinstance(caught.value, ModelInvalidRequestError)


@pytest.mark.parametrize(
    ("messages", "index"),
    [
        ([HumanMessage("x"), AIMessage("", tool_calls=[CALL])], 1),
        ([HumanMessage("x"), AIMessage("", tool_calls=[CALL]), HumanMessage("y")], 1),
        ([HumanMessage("x"), ToolMessage("3", tool_call_id="nobody")], 1),
        ([HumanMessage("x"), RemoveMessage(id="1")], 1),
        ([ChatMessage("x", role="narrator")], 0),
        ([HumanMessage([{"type": "hologram"}])], 0),
        ([HumanMessage("x"), AIMessage([{"type": "tool_use", "id": "zz", "name": "f", "input": {}}])], 1),
        ([HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}])], 0),
    ],
)
def test_bad_messages_are_named(messages: list[BaseMessage], index: int) -> None:
    with pytest.raises(InvalidMessageError, match=rf"messages\[{index}\]") as caught:
        sent(*messages, image=True)
    assert caught.value.index == index
    assert isinstance(caught.value, ModelInvalidRequestError)


def test_broken_call_in_the_history_is_named() -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "c1", "error": "x"}])
    with pytest.raises(InvalidMessageError, match="'f'"):
        sent(HumanMessage("x"), broken, HumanMessage("y"))


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_an_answer_can_be_sent_back(version: str) -> None:
    llama = ScriptedLlama(Answer("so", reasoning="hm", tool_calls=[("f", {"a": 1})]), "done")
    chat = ChatLlamaCpp(llama=llama, output_version=version)
    answer = chat.invoke("x")
    chat.invoke([HumanMessage("x"), answer, ToolMessage("3", tool_call_id=answer.tool_calls[0]["id"])])
    back = llama.calls[1][1][1]
    assert back["content"] == "so"
    assert back["reasoning_content"] == "hm"
    assert back["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_stream_and_invoke_give_the_same_blocks(version: str) -> None:
    answer = Answer("so", reasoning="hm", tool_calls=[("f", {"a": 1}), ("g", {"b": "2"})])
    chat = ChatLlamaCpp(llama=ScriptedLlama(answer), output_version=version)

    def blocks(message: AIMessage) -> list[tuple[Any, ...]]:
        return [
            (b["type"], b.get("text"), b.get("reasoning"), b.get("name"), b.get("args"))
            for b in message.content_blocks
        ]

    chunks = list(chat.stream("x"))
    streamed = sum(chunks[1:], chunks[0])
    whole = chat.invoke("x")
    assert blocks(streamed) == blocks(whole)
    assert [block[0] for block in blocks(whole)] == ["reasoning", "text", "tool_call", "tool_call"]
    assert [call["args"] for call in streamed.tool_calls] == [{"a": 1}, {"b": "2"}]
    assert streamed.usage_metadata == whole.usage_metadata


def test_arguments_that_are_no_json_are_invalid_calls() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama(Answer(tool_calls=[("f", '{"a": '), ("g", {})])))
    answer = chat.invoke("x")
    assert [call["name"] for call in answer.invalid_tool_calls] == ["f"]
    assert [call["name"] for call in answer.tool_calls] == ["g"]
