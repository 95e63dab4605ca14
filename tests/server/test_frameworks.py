"""Frameworks reach the server through their own OpenAI classes."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_openai import OpenAI as OpenAICompletion
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from server.conftest import Served

from llamacpp_core import Llama


class City(BaseModel):
    """A city."""

    name: str
    country: str


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture
def chat(served: Served) -> ChatOpenAI:
    """LangChain's chat model."""
    settings: Any = {"base_url": f"{served.url}/v1", "api_key": "none", "max_retries": 0}
    return ChatOpenAI(model="chat", temperature=0, max_tokens=60, **settings)


def test_chat_openai_answers_streams_and_counts(chat: ChatOpenAI) -> None:
    answer = chat.invoke("What is the capital of France? Answer in one word.")
    assert "Paris" in answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    streamed = list(chat.stream("What is the capital of France? Answer in one word."))
    assert "".join(chunk.text for chunk in streamed) == answer.text


def test_chat_openai_calls_tools(chat: ChatOpenAI) -> None:
    forced = chat.bind_tools([get_weather], tool_choice="get_weather").invoke("A joke about cats, please.")
    (call,) = forced.tool_calls
    assert (call["name"], set(call["args"])) == ("get_weather", {"city"})
    result = get_weather.invoke(call)
    after = chat.bind_tools([get_weather]).invoke([("user", "How is it in Rome?"), forced, result])
    assert after.response_metadata["finish_reason"] in ("stop", "length", "tool_calls")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_chat_openai_structures(chat: ChatOpenAI, method: Any) -> None:
    city = chat.with_structured_output(City, method=method).invoke("Paris is the capital of France.")
    assert isinstance(city, City)


async def test_chat_openai_runs_many_at_once(chat: ChatOpenAI) -> None:
    answers = await asyncio.gather(*(chat.ainvoke(f"Say {i}.") for i in range(8)))
    assert all(answer.text for answer in answers)


def test_langchain_completes_several_prompts(served: Served) -> None:
    settings: Any = {"base_url": f"{served.url}/v1", "api_key": "none"}
    llm = OpenAICompletion(model="chat", temperature=0, max_tokens=3, **settings)
    first, second = llm.generate(["The capital of France is", "The capital of Italy is"]).generations
    assert ("Paris" in first[0].text, "Rome" in second[0].text) == (True, True)


def test_langchain_embeds(served: Served, embedder: Llama) -> None:
    settings: Any = {"base_url": f"{served.url}/v1", "api_key": "none", "check_embedding_ctx_length": False}
    vectors = OpenAIEmbeddings(model="embedder", **settings).embed_documents(["the moon", "a boat"])
    assert np.allclose(vectors, embedder.embed(["the moon", "a boat"]), atol=1e-5)


def test_llama_index_answers_streams_and_structures(served: Served) -> None:
    llm = OpenAILike(
        model="chat",
        api_base=f"{served.url}/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        max_tokens=60,
        temperature=0,
    )
    ask = [ChatMessage(role="user", content="What is the capital of France? Answer in one word.")]
    answer = llm.chat(ask)
    assert "Paris" in str(answer.message.content)
    streamed = list(llm.stream_chat(ask))
    assert streamed[-1].message.content == answer.message.content
    city = llm.structured_predict(City, _template("Paris is the capital of France."))
    assert isinstance(city, City)


def _template(text: str) -> Any:
    from llama_index.core.prompts import PromptTemplate

    return PromptTemplate(text)
