from __future__ import annotations

import base64
import copy
import io
from pathlib import Path
from typing import Any

import pytest
from fakes import scripted_info
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms.llm import ToolSelection

from llamacpp_core import InvalidMessageError, UnsupportedCapabilityError
from llamacpp_integrations.llama_index._messages import to_openai_messages

PLAIN = scripted_info().capabilities
MEDIA = scripted_info(image=True, audio=True).capabilities
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
WAV = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")


def one(message: ChatMessage, capabilities: Any = PLAIN) -> dict[str, Any]:
    before = copy.deepcopy(message)
    result = to_openai_messages([message], capabilities)[0]
    assert message == before
    return result


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", "system"),
        ("developer", "developer"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
    ],
)
def test_roles(role: str, expected: str) -> None:
    assert one(ChatMessage(role=role, content="Hi")) == {"role": expected, "content": "Hi"}


def test_text_blocks_are_lines_of_one_text() -> None:
    assert one(ChatMessage(blocks=[TextBlock(text="a"), TextBlock(text="b")]))["content"] == "a\nb"


def test_a_message_without_blocks_is_empty() -> None:
    assert one(ChatMessage(role="user"))["content"] == ""


def test_thinking_goes_into_its_own_field() -> None:
    message = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), TextBlock(text="Yes.")])
    assert one(message) == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}


@pytest.mark.parametrize("kwargs", [{"x": 1}, '{"x": 1}'])
def test_tool_calls(kwargs: Any) -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs=kwargs)
    result = one(ChatMessage(role="assistant", blocks=[call]))
    function = {"name": "f", "arguments": '{"x": 1}'}
    assert result["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert result["content"] is None


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        ToolSelection(tool_id="c1", tool_name="f", tool_kwargs={"x": 1}),
    ],
)
def test_tool_calls_of_other_llms_stand_beside_the_blocks(call: Any) -> None:
    result = one(ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [call]}))
    assert result["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x": 1}'}


def test_calls_that_are_in_both_places_count_once() -> None:
    block = ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={})
    extra = {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    assert len(one(ChatMessage(role="assistant", blocks=[block], additional_kwargs=extra))["tool_calls"]) == 1


def test_an_unknown_form_of_tool_call_is_an_error() -> None:
    message = ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [{"what": 1}]})
    with pytest.raises(InvalidMessageError, match="tool_calls"):
        to_openai_messages([message], PLAIN)


@pytest.mark.parametrize("role", ["tool", "function"])
def test_tool_results(role: str) -> None:
    message = ChatMessage(role=role, content="3", additional_kwargs={"tool_call_id": "c1"})
    assert one(message) == {"role": "tool", "content": "3", "tool_call_id": "c1"}


def test_citations_and_citable_documents_become_text() -> None:
    blocks = [
        CitableBlock(title="T", source="S", content="inside"),
        CitationBlock(title="T", source="S", cited_content="quoted", additional_location_info={}),
    ]
    assert one(ChatMessage(blocks=blocks))["content"] == "T (S)\ninside\nquoted"


def test_a_cache_point_has_no_content() -> None:
    blocks = [TextBlock(text="a"), CachePoint(cache_control=CacheControl(type="ephemeral"))]
    assert one(ChatMessage(blocks=blocks))["content"] == "a"


@pytest.mark.parametrize("source", ["bytes", "path", "stream", "data_url"])
def test_images(source: str, tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(PNG)
    block = {
        "bytes": lambda: ImageBlock(image=PNG),
        "path": lambda: ImageBlock(path=path),
        "stream": lambda: ImageBlock(image=io.BytesIO(PNG), image_mimetype="image/png"),
        "data_url": lambda: ImageBlock(url="data:image/png;base64," + base64.b64encode(PNG).decode()),
    }[source]()
    for _ in range(2):  # reading it must not use it up
        parts = to_openai_messages([ChatMessage(blocks=[TextBlock(text="What?"), block])], MEDIA)[0][
            "content"
        ]
    assert parts[0] == {"type": "text", "text": "What?"}
    assert parts[1]["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()


def test_audio() -> None:
    message = ChatMessage(blocks=[AudioBlock(audio=WAV, format="wav")])
    part = one(message, MEDIA)["content"][0]
    assert part["input_audio"] == {"data": base64.b64encode(WAV).decode(), "format": "wav"}


@pytest.mark.parametrize("block", [ImageBlock(image=PNG), AudioBlock(audio=WAV, format="wav")])
def test_media_are_refused_by_a_model_that_takes_none(block: Any) -> None:
    with pytest.raises(UnsupportedCapabilityError, match=r"messages\[1\]\.blocks\[0\].*mmproj"):
        to_openai_messages([ChatMessage(content="Hi"), ChatMessage(blocks=[block])], PLAIN)


@pytest.mark.parametrize(
    "block", [DocumentBlock(data=b"text"), VideoBlock(video=b"0000", video_mimetype="video/mp4")]
)
def test_blocks_that_no_model_takes_are_refused(block: Any) -> None:
    with pytest.raises(UnsupportedCapabilityError, match=type(block).__name__):
        to_openai_messages([ChatMessage(blocks=[block])], MEDIA)


def test_nothing_is_fetched_from_the_network() -> None:
    with pytest.raises(InvalidMessageError, match="network"):
        to_openai_messages([ChatMessage(blocks=[ImageBlock(url="http://127.0.0.1:9/x.png")])], MEDIA)


@pytest.mark.parametrize("block", [ThinkingBlock(content="x"), ToolCallBlock(tool_name="f")])
def test_what_belongs_to_an_assistant_is_refused_elsewhere(block: Any) -> None:
    with pytest.raises(InvalidMessageError, match="assistant message"):
        to_openai_messages([ChatMessage(role=MessageRole.USER, blocks=[block])], PLAIN)


@pytest.mark.parametrize("messages", ["Hi", [{"role": "user", "content": "Hi"}], ChatMessage(content="Hi")])
def test_only_lists_of_chat_messages(messages: Any) -> None:
    with pytest.raises(InvalidMessageError, match="ChatMessage"):
        to_openai_messages(messages, PLAIN)
