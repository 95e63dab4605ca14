from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflow
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.prompts import PromptTemplate

from llamacpp_core import Llama
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.langchain import LlamaCppLLM


@pytest.fixture
def text(llm: Llama) -> LlamaCppLLM:
    return LlamaCppLLM(llama=llm, temperature=0, max_tokens=5)


async def test_all_paths_give_the_same_text(text: LlamaCppLLM) -> None:
    prompt = "One, two, three,"
    whole = text.invoke(prompt)
    assert whole
    assert "".join(text.stream(prompt)) == whole
    assert await text.ainvoke(prompt) == whole
    assert "".join([piece async for piece in text.astream(prompt)]) == whole
    assert len(list(text.stream(prompt))) > 2


def test_the_prompt_is_not_put_into_a_template(text: LlamaCppLLM, llm: Llama) -> None:
    result = text.generate(["One, two, three,"])
    usage = result.llm_output
    assert usage
    assert usage["token_usage"]["prompt_tokens"] == len(llm.tokenize("One, two, three,"))
    assert usage["model_name"] == "smollm2-135m-instruct"
    (generation,) = result.generations[0]
    assert generation.generation_info
    assert generation.generation_info["finish_reason"] == "length"
    assert generation.generation_info["timings"]["predicted_n"] == 5


def test_several_prompts_run_at_once() -> None:
    llama = ScriptedLlama(Answer("text", delay=0.02))
    result = LlamaCppLLM(llama=llama).generate(["a", "b", "c"])
    assert llama.most_running == 3
    assert [generations[0].text for generations in result.generations] == ["text"] * 3


def test_parameters() -> None:
    llama = ScriptedLlama()
    model = LlamaCppLLM(llama=llama, stop=["x"], seed=2)
    model.invoke("a")
    model.invoke("a", stop=["y"], temperature=0.1)
    first, second = (call[2] for call in llama.calls)
    assert (first["temperature"], first["stop"], first["seed"], first["max_tokens"]) == (0.8, ["x"], 2, None)
    assert (second["temperature"], second["stop"]) == (0.1, ["y"])


@pytest.mark.parametrize("wrong", [{"temprature": 1}, {"temperature": -1}, {"model": "gpt-4"}])
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        LlamaCppLLM(llama=ScriptedLlama()).invoke("x", **wrong)


def test_a_stream_gives_one_answer() -> None:
    with pytest.raises(InvalidParameterError, match="n must be 1"):
        list(LlamaCppLLM(llama=ScriptedLlama(), n=2).stream("x"))


def test_logprobs_echo_and_several_answers(text: LlamaCppLLM, llm: Llama) -> None:
    result = text.generate(["One, two,"], logprobs=1, echo=True, n=2, max_tokens=2)
    assert len(result.generations[0]) == 2
    for generation in result.generations[0]:
        assert generation.text.startswith("One, two,")
        assert generation.generation_info
        assert len(generation.generation_info["logprobs"]["tokens"]) == len(llm.tokenize("One, two,")) + 2


def test_context_overflow(text: LlamaCppLLM) -> None:
    with pytest.raises(LangChainContextOverflow):
        text.invoke("word " * 3000)


def test_cache_and_chains() -> None:
    llama = ScriptedLlama("one", "two")
    chain = PromptTemplate.from_template("Say {x}") | LlamaCppLLM(llama=llama, cache=InMemoryCache())
    assert [chain.invoke({"x": "a"}), chain.invoke({"x": "a"}), chain.invoke({"x": "b"})] == [
        "one",
        "one",
        "two",
    ]


PATHS: dict[str, Callable[[LlamaCppLLM], Any]] = {
    "invoke": lambda model: model.invoke("x"),
    "stream": lambda model: list(model.stream("x")),
    "ainvoke": lambda model: asyncio.run(model.ainvoke("x")),
    "batch": lambda model: model.batch(["x", "y"]),
}


@pytest.mark.parametrize("path", PATHS)
def test_timeout(path: str) -> None:
    llama = ScriptedLlama(Answer("many words in here", delay=0.05))
    with pytest.raises(ModelTimeoutError):
        PATHS[path](LlamaCppLLM(llama=llama, timeout=0.08))
    assert llama.running == 0


def test_tokens(text: LlamaCppLLM, llm: Llama) -> None:
    assert text.get_token_ids("Hello there") == llm.tokenize("Hello there", add_bos=False)
    assert text.get_num_tokens("Hello there") == 2
