"""Pictures and sounds through LangChain's and LlamaIndex's blocks, to a model that takes them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, ImageBlock, TextBlock
from media_files import picture, png, sound, wav

from llamacpp_core import InvalidMessageError, Llama
from llamacpp_integrations.langchain import ChatLlamaCpp
from llamacpp_integrations.llama_index import LlamaCpp

PNG, WAV = png(40, 30), wav(0.5)
IMAGE64, SOUND64 = base64.b64encode(PNG).decode(), base64.b64encode(WAV).decode()
URL = f"data:image/png;base64,{IMAGE64}"


def expected(llm: Llama, part: dict[str, Any]) -> int:
    content = [{"type": "text", "text": "What?"}, part]
    answer: Any = llm.create_chat_completion([{"role": "user", "content": content}], max_tokens=1)
    return int(answer["usage"]["prompt_tokens"])


IMAGE_BLOCKS = [
    {"type": "image_url", "image_url": {"url": URL}},
    {"type": "image_url", "image_url": URL},
    {"type": "image", "source_type": "base64", "data": IMAGE64, "mime_type": "image/png"},
    {"type": "image", "source_type": "url", "url": URL},
    {"type": "image", "base64": IMAGE64, "mime_type": "image/png"},
    {"type": "image", "url": URL},
    {"type": "image", "source": {"type": "base64", "data": IMAGE64, "media_type": "image/png"}},
]
SOUND_BLOCKS = [
    {"type": "input_audio", "input_audio": {"data": SOUND64, "format": "wav"}},
    {"type": "audio", "source_type": "base64", "data": SOUND64, "mime_type": "audio/wav"},
    {"type": "audio", "base64": SOUND64, "mime_type": "audio/wav"},
]


def langchain_tokens(llm: Llama, block: Any) -> int:
    chat = ChatLlamaCpp(llama=llm, max_tokens=1)
    answer = chat.invoke([HumanMessage([{"type": "text", "text": "What?"}, block])])
    assert answer.usage_metadata is not None
    return answer.usage_metadata["input_tokens"]


@pytest.mark.parametrize("block", IMAGE_BLOCKS)
def test_langchain_pictures(seeing: Llama, block: dict[str, Any]) -> None:
    assert langchain_tokens(seeing, block) == expected(seeing, picture(PNG))


@pytest.mark.parametrize("block", SOUND_BLOCKS)
def test_langchain_sounds(hearing: Llama, block: dict[str, Any]) -> None:
    assert langchain_tokens(hearing, block) == expected(hearing, sound(WAV))


@pytest.mark.parametrize("url", ["https://example.com/a.png", "file:///etc/hostname"])
def test_langchain_addresses(seeing: Llama, url: str) -> None:
    for block in ({"type": "image", "url": url}, {"type": "image_url", "image_url": {"url": url}}):
        with pytest.raises(InvalidMessageError, match="nothing is fetched"):
            langchain_tokens(seeing, block)


def llama_index_tokens(llm: Llama, block: Any) -> int:
    chat = LlamaCpp(llama=llm, max_tokens=1)
    message = ChatMessage(blocks=[TextBlock(text="What?"), block])
    return int(chat.chat([message]).raw["usage"]["prompt_tokens"])


def test_llama_index_pictures(seeing: Llama, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    n = expected(seeing, picture(PNG))
    for block in (ImageBlock(image=PNG), ImageBlock(path=path), ImageBlock(url=URL)):
        assert llama_index_tokens(seeing, block) == n


def test_llama_index_sounds(hearing: Llama, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    n = expected(hearing, sound(WAV))
    for block in (AudioBlock(audio=WAV, format="wav"), AudioBlock(audio=WAV), AudioBlock(path=path)):
        assert llama_index_tokens(hearing, block) == n


@pytest.mark.parametrize("url", ["https://example.com/a.png", "file:///etc/hostname"])
def test_llama_index_addresses(seeing: Llama, url: str) -> None:
    with pytest.raises(InvalidMessageError, match="nothing is fetched"):
        llama_index_tokens(seeing, ImageBlock(url=url))
