"""LoRA adapters of LlamaIndex's LLM: loaded, named by calls, unloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_integrations.llama_index import LlamaCpp

pytestmark = pytest.mark.changes("prefix")

PROMPT = "Name a colour."
MESSAGES = [ChatMessage(content=PROMPT)]


@pytest.fixture
def model(chat_model: LlamaCpp, llm: Llama) -> Iterator[LlamaCpp]:
    yield chat_model
    for one in llm.loras:
        llm.unload_lora(one.name)


def said(model: LlamaCpp, **more: Any) -> str:
    return str(model.chat(MESSAGES, **more).message.content)


def direct(llm: Llama, **more: Any) -> str:
    messages = [{"role": "user", "content": PROMPT}]
    answer = llm.create_chat_completion(messages, max_tokens=24, temperature=0, cache_prompt=False, **more)
    return str(answer["choices"][0]["message"]["content"])


async def test_calls_name_adapters(model: LlamaCpp, llm: Llama, adapters: list[Path]) -> None:
    plain = said(model)
    loaded = model.load_lora(adapters[0], name="law", scale=0.5)
    model.load_lora(adapters[1])
    assert llm.loras == (loaded, llm.loras[1])
    law = direct(llm, lora="law")
    assert said(model, lora="law") == said(model, lora={"law": 0.5}) == law
    assert len({plain, law, said(model, lora="adapter1")}) == 3
    assert said(model) == plain
    assert model.complete(PROMPT, lora="law").text == law
    assert list(model.stream_chat(MESSAGES, lora="law"))[-1].message.content == law
    assert list(model.stream_complete(PROMPT, lora="law"))[-1].text == law
    assert (await model.achat(MESSAGES, lora="law")).message.content == law
    assert (await model.acomplete(PROMPT, lora="law", timeout=60)).text == law
    model.unload_lora("law")
    assert [one.name for one in llm.loras] == ["adapter1"]
    with pytest.raises(InvalidParameterError, match="unknown adapter") as raised:
        said(model, lora="law")
    assert raised.value.parameter == "lora"
    with pytest.raises(InvalidParameterError):
        model.unload_lora("law")
    assert said(model) == plain


def test_an_object_that_always_names_one(model: LlamaCpp, llm: Llama, adapters: list[Path]) -> None:
    model.load_lora(adapters[0])
    lawyer = LlamaCpp(
        llama=llm,
        temperature=0,
        max_tokens=24,
        additional_kwargs={"cache_prompt": False, "lora": "adapter0"},
    )
    assert said(lawyer) == said(model, lora="adapter0") != said(model)
    assert said(lawyer, lora={}) == said(model)
    lawyer.unload_lora("adapter0")
    lawyer.load_lora(adapters[1], name="adapter0")
    assert said(lawyer) == said(model, lora="adapter0") != said(model)
