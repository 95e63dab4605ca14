"""Chat engines and memory over the real models."""

from __future__ import annotations

import copy

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer, Memory

from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding, configure_settings


@pytest.fixture
def index(chat_model: LlamaCpp, embed_model: LlamaCppEmbedding) -> VectorStoreIndex:
    configure_settings(chat_model, embed_model)
    texts = ["The octopus has three hearts.", "Basil needs six hours of sun a day."]
    return VectorStoreIndex.from_documents([Document(text=text) for text in texts])


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
async def test_chat_over_an_index(index: VectorStoreIndex, mode: str) -> None:
    extra = {} if mode == "condense_question" else {"system_prompt": "Be brief."}
    engine = index.as_chat_engine(chat_mode=mode, similarity_top_k=1, **extra)
    assert str(engine.chat("How many hearts has an octopus?")).strip()
    stream = engine.stream_chat("And what colour is its blood?")
    assert "".join(stream.response_gen).strip()
    assert str(await engine.achat("And where does it live?")).strip()
    astream = await engine.astream_chat("Is it clever?")
    assert "".join([piece async for piece in astream.async_response_gen()]).strip()
    roles = [message.role.value for message in engine.chat_history]
    assert roles == ["user", "assistant"] * 4
    assert all(message.content for message in engine.chat_history)


async def test_a_simple_chat_engine(chat_model: LlamaCpp) -> None:
    history = [ChatMessage(content="My name is Ann."), ChatMessage(role="assistant", content="Hello Ann.")]
    before = copy.deepcopy(history)
    engine = SimpleChatEngine.from_defaults(llm=chat_model, chat_history=history, system_prompt="Be brief.")
    assert str(engine.chat("Hi!")).strip()
    assert "".join(engine.stream_chat("Hi!").response_gen).strip()
    astream = await engine.astream_chat("Hi!")
    assert "".join([piece async for piece in astream.async_response_gen()]).strip()
    assert len(engine.chat_history) == 8
    assert history == before


def test_a_memory_that_counts_with_the_models_tokenizer(chat_model: LlamaCpp) -> None:
    memory = ChatMemoryBuffer.from_defaults(token_limit=60, tokenizer_fn=chat_model.tokenizer)
    engine = SimpleChatEngine.from_defaults(llm=chat_model, memory=memory)
    for _ in range(4):
        engine.chat("Tell me something about the sea.")
    assert len(memory.get_all()) == 8
    kept = memory.get()
    assert 0 < sum(len(chat_model.tokenizer(message.content or "")) for message in kept) <= 60


def test_a_memory_that_summarises_with_the_model(chat_model: LlamaCpp) -> None:
    memory = ChatSummaryMemoryBuffer.from_defaults(
        llm=chat_model, token_limit=30, tokenizer_fn=chat_model.tokenizer, count_initial_tokens=False
    )
    for i in range(3):
        memory.put(ChatMessage(content=f"Number {i}: a long remark about the weather at sea."))
        memory.put(ChatMessage(role="assistant", content="I see, thank you for the remark."))
    assert memory.get()[0].role.value == "system"
    assert memory.get()[0].content


async def test_the_memory_of_agents(chat_model: LlamaCpp) -> None:
    memory = Memory.from_defaults(session_id="s", token_limit=100, tokenizer_fn=chat_model.tokenizer)
    response = await chat_model.achat([ChatMessage(content="Hi!")])
    await memory.aput_messages([ChatMessage(content="Hi!"), response.message])
    assert [message.content for message in await memory.aget()] == ["Hi!", response.message.content]
