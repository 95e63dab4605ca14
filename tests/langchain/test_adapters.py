"""LoRA adapters of LangChain's classes: loaded, named by calls, unloaded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.prompts import ChatPromptTemplate

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppLLM

pytestmark = pytest.mark.changes("prefix")

PROMPT = "Name a colour."


@pytest.fixture
def chat(llm: Llama) -> Iterator[ChatLlamaCpp]:
    """Without reuse of earlier prompts, since a prompt that is read in other portions rounds differently."""
    yield ChatLlamaCpp(llama=llm, temperature=0, max_tokens=8, cache_prompt=False)
    for one in llm.loras:
        llm.unload_lora(one.name)


def direct(llm: Llama, **more: Any) -> str:
    messages = [{"role": "user", "content": PROMPT}]
    answer = llm.create_chat_completion(messages, max_tokens=8, temperature=0, cache_prompt=False, **more)
    return str(answer["choices"][0]["message"]["content"])


def test_calls_name_adapters(chat: ChatLlamaCpp, llm: Llama, adapters: list[Path]) -> None:
    plain = direct(llm)
    loaded = chat.load_lora(adapters[0], name="law", scale=0.5)
    chat.load_lora(adapters[1])
    assert llm.loras == (loaded, llm.loras[1])
    law, other = direct(llm, lora="law"), direct(llm, lora="adapter1")
    assert len({plain, law, other}) == 3
    assert chat.invoke(PROMPT, lora="law").text == law
    assert chat.invoke(PROMPT, lora={"law": 0.5}).text == law
    assert chat.invoke(PROMPT).text == plain
    assert chat.bind(lora="adapter1").invoke(PROMPT).text == other
    chain = ChatPromptTemplate.from_messages([("human", "{x}")]) | chat.bind(lora="law")
    assert chain.invoke({"x": PROMPT}).text == law
    assert "".join(chunk.text for chunk in chat.stream(PROMPT, lora="law")) == law
    assert asyncio.run(chat.ainvoke(PROMPT, lora="law", timeout=60)).text == law
    chat.unload_lora("law")
    assert [one.name for one in llm.loras] == ["adapter1"]
    with pytest.raises(InvalidParameterError, match="unknown adapter") as raised:
        chat.invoke(PROMPT, lora="law")
    assert raised.value.parameter == "lora"
    with pytest.raises(InvalidParameterError):
        chat.unload_lora("law")
    assert chat.invoke(PROMPT).text == plain


def test_an_object_that_always_names_one(chat: ChatLlamaCpp, llm: Llama, adapters: list[Path]) -> None:
    chat.load_lora(adapters[0])
    lawyer = chat.model_copy(update={"sampling": {**chat.sampling, "lora": "adapter0"}})
    assert lawyer.invoke(PROMPT).text == direct(llm, lora="adapter0") != chat.invoke(PROMPT).text
    weaker = {"cache_prompt": False, "lora": {"adapter0": 0.5}}
    made = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=8, sampling=weaker)
    assert made.invoke(PROMPT).text == direct(llm, lora={"adapter0": 0.5})
    text = LlamaCppLLM(llama=llm, temperature=0, max_tokens=8, cache_prompt=False)
    assert text.invoke(PROMPT, lora="adapter0") != text.invoke(PROMPT)


def test_batches_name_adapters(chat: ChatLlamaCpp, llm: Llama, adapters: list[Path]) -> None:
    for path in adapters:
        chat.load_lora(path)
    plain, law = chat.invoke(PROMPT).text, chat.invoke(PROMPT, lora="adapter0").text
    assert law != plain
    assert [one.text for one in chat.batch([PROMPT] * 3, lora="adapter0")] == [law] * 3
    assert [one.text for one in chat.bind(lora="adapter0").batch([PROMPT] * 2)] == [law] * 2
    assert [one.text for one in asyncio.run(chat.abatch([PROMPT] * 2, lora="adapter0"))] == [law] * 2
    found = chat.batch([PROMPT] * 2, lora="nothing", return_exceptions=True)
    assert all(isinstance(one, InvalidParameterError) for one in found)
    assert chat.batch([PROMPT])[0].text == plain


# For text completions LangChain's key leaves out the arguments of a call, whatever they are.
@pytest.mark.parametrize(
    ("kind", "how"), [(ChatLlamaCpp, "call"), (ChatLlamaCpp, "object"), (LlamaCppLLM, "object")]
)
def test_cached_answers_belong_to_an_adapter(
    chat: ChatLlamaCpp, llm: Llama, adapters: list[Path], kind: Any, how: str
) -> None:
    settings = {"llama": llm, "temperature": 0, "max_tokens": 8, "cache": InMemoryCache()}
    model = kind(**settings, sampling={"cache_prompt": False})
    found = [said(model)]
    for path in adapters:
        chat.load_lora(path, name="law", scale=0.5)
        named = model.bind(lora="law")
        if how == "object":
            named = kind(**settings, sampling={"cache_prompt": False, "lora": "law"})
        found.append(said(named))
        assert said(model) == found[0]
        n_cached = len(settings["cache"]._cache)
        assert (said(named), said(model)) == (found[-1], found[0])
        assert len(settings["cache"]._cache) == n_cached
        chat.unload_lora("law")
        with pytest.raises(InvalidParameterError):
            named.invoke(PROMPT)
    assert len(set(found)) == 3, "the second adapter of a name got the answers of the first"


def said(model: Any) -> str:
    answer = model.invoke(PROMPT)
    return str(answer if isinstance(answer, str) else answer.text)
