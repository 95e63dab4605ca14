from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama, scripted_info
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.exceptions import ContextOverflowError as LangChainContextOverflow
from langchain_core.exceptions import ModelTimeoutError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField

from llamacpp_core import Llama
from llamacpp_core.errors import (
    ContextOverflowError,
    GenerationError,
    InvalidParameterError,
    LlamaCppError,
    ModelNotFoundError,
)
from llamacpp_integrations.langchain import ChatLlamaCpp

LONG = "word " * 3000


# Metadata


async def _stream_async(chat: ChatLlamaCpp, prompt: str) -> AIMessage:
    chunks = [chunk async for chunk in chat.astream(prompt)]
    return sum(chunks[1:], chunks[0])


def answer_by(path: str, chat: ChatLlamaCpp, prompt: str) -> AIMessage:
    """The answer on one of the four paths to it."""
    if path == "invoke":
        return chat.invoke(prompt)
    if path == "ainvoke":
        return asyncio.run(chat.ainvoke(prompt))
    if path == "astream":
        return asyncio.run(_stream_async(chat, prompt))
    chunks = list(chat.stream(prompt))
    return sum(chunks[1:], chunks[0])


PATHS = ("invoke", "ainvoke", "stream", "astream")


@pytest.mark.parametrize("path", PATHS)
def test_metadata_and_usage(chat: ChatLlamaCpp, path: str) -> None:
    prompt = "Name a colour. " * 24  # beginnings are shared in steps of 64 tokens
    chat.invoke(prompt)
    answer = answer_by(path, chat, prompt)
    metadata = answer.response_metadata
    assert metadata["model_name"] == "smollm2-135m-instruct"
    assert metadata["finish_reason"] in ("stop", "length")
    assert metadata["model_provider"] == "llamacpp"
    assert metadata["system_fingerprint"].startswith("llama.cpp")
    usage = answer.usage_metadata
    assert usage
    assert metadata["timings"]["predicted_n"] == usage["output_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert 0 < usage["input_token_details"]["cache_read"] < usage["input_tokens"]
    assert usage["output_token_details"]["reasoning"] == 0
    assert usage["input_tokens"] == chat.get_num_tokens_from_messages([HumanMessage(prompt)])


def test_reasoning_is_counted_and_kept_apart() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama(Answer("42", reasoning="let me think about it")))
    answer = chat.invoke("x")
    assert answer.additional_kwargs["reasoning_content"] == "let me think about it"
    assert answer.usage_metadata
    assert answer.usage_metadata["output_token_details"]["reasoning"] == 5


@pytest.mark.parametrize("streamed", [False, True])
def test_logprobs(chat: ChatLlamaCpp, streamed: bool) -> None:
    bound = chat.bind(logprobs=True, top_logprobs=2, max_tokens=3)
    if streamed:
        chunks = list(bound.stream("Hello"))
        answer = sum(chunks[1:], chunks[0])
    else:
        answer = bound.invoke("Hello")
    entries = answer.response_metadata["logprobs"]["content"]
    assert len(entries) == 3
    assert all(entry["logprob"] <= 0 and len(entry["top_logprobs"]) == 2 for entry in entries)


def test_several_answers(chat: ChatLlamaCpp) -> None:
    result = chat.generate([[HumanMessage("Hi")]], n=2, temperature=1.0, max_tokens=3)
    assert len(result.generations[0]) == 2
    with pytest.raises(InvalidParameterError, match="n must be 1"):
        list(chat.stream("Hi", n=2))


# Parameters


def test_parameters_of_object_and_call() -> None:
    llama = ScriptedLlama()
    chat = ChatLlamaCpp(llama=llama, temperature=0.7, seed=3, stop=["x"], dry_multiplier=0.5, top_k=7)
    chat.invoke("x")
    chat.invoke("x", temperature=0.1, stop=["y"], xtc_probability=0.2)
    first, second = (call[2] for call in llama.calls)
    assert (first["temperature"], first["seed"], first["stop"], first["dry_multiplier"]) == (
        0.7,
        3,
        ["x"],
        0.5,
    )
    assert (second["temperature"], second["stop"], second["xtc_probability"]) == (0.1, ["y"], 0.2)
    assert second["top_k"] == 7


def test_documented_defaults() -> None:
    llama = ScriptedLlama()
    ChatLlamaCpp(llama=llama).invoke("x")
    params = llama.calls[0][2]
    assert (params["temperature"], params["repeat_penalty"], params["top_p"]) == (0.2, 1.0, 0.95)
    assert "max_tokens" not in params


def test_stop_of_the_call_ends_the_answer(chat: ChatLlamaCpp) -> None:
    whole = chat.invoke("Hello").text
    word = whole.split()[1]
    assert word not in chat.invoke("Hello", stop=[word]).text


def test_seed_makes_an_answer_repeatable(chat: ChatLlamaCpp) -> None:
    texts = {chat.invoke("Tell me something.", temperature=1.5, seed=11).text for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("chat", [{"temprature": 1}, {}])
def test_unknown_parameters_are_refused(chat: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=r"temprature.*temperature"):
        ChatLlamaCpp(llama=ScriptedLlama(), **chat).invoke("x", temprature=1)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 2}, {"stop": [""]}, {"logit_bias": {"99999999": 1}}]
)
def test_bad_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        ChatLlamaCpp(llama=ScriptedLlama()).invoke("x", **wrong)


def test_another_model_per_call_is_refused() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama())
    assert chat.invoke("x", model="scripted").text
    with pytest.raises(InvalidParameterError, match="gpt-4"):
        chat.invoke("x", model="gpt-4")


@pytest.mark.parametrize("given", [{}, {"model": "x", "llama": ScriptedLlama()}])
def test_exactly_one_model(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="only one"):
        ChatLlamaCpp(**given)


def test_a_model_that_does_not_exist() -> None:
    from langchain_core.exceptions import ModelNotFoundError as LangChainModelNotFound

    with pytest.raises(ModelNotFoundError) as caught:
        ChatLlamaCpp(model="/nowhere/model.gguf")
    assert isinstance(caught.value, LangChainModelNotFound)


def test_bad_load_options_are_refused() -> None:
    with pytest.raises(LlamaCppError, match="n_ctx"):
        ChatLlamaCpp(model="smollm2-135m-instruct", n_ctx=-5)


# Context and tokens


@pytest.mark.parametrize("path", PATHS)
def test_context_overflow_is_langchains_own(chat: ChatLlamaCpp, path: str) -> None:
    with pytest.raises(LangChainContextOverflow) as caught:
        answer_by(path, chat, LONG)
    assert isinstance(caught.value, ContextOverflowError)
    assert caught.value.n_prompt_tokens > caught.value.n_ctx == 2048


def test_counting_tokens(chat: ChatLlamaCpp, llm: Llama) -> None:
    text = "The quick brown fox, Grüße, 你好"
    assert chat.get_token_ids(text) == llm.tokenize(text, add_bos=False)
    assert chat.get_num_tokens(text) == len(chat.get_token_ids(text))
    messages = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi!"), HumanMessage("Bye")]
    prompt = llm.apply_chat_template(
        [
            {"role": role, "content": message.content}
            for role, message in zip(("system", "user", "assistant", "user"), messages, strict=True)
        ],
        tokenize=True,
    )
    assert chat.get_num_tokens_from_messages(messages) == len(prompt)
    assert chat.get_num_tokens_from_messages([]) == 0
    assert chat.get_num_tokens_from_messages([HumanMessage(LONG)]) > 2048


def test_counting_tokens_with_tools(chat: ChatLlamaCpp) -> None:
    def look_up(name: str) -> str:
        """Look a person up."""
        return name

    bound = chat.bind_tools([look_up], max_tokens=1)
    usage = bound.invoke("Hello").usage_metadata
    assert usage
    assert (
        chat.get_num_tokens_from_messages([HumanMessage("Hello")], tools=[look_up]) == usage["input_tokens"]
    )


def test_trimming_with_the_model_as_counter(chat: ChatLlamaCpp) -> None:
    call = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}
    history = [
        SystemMessage("Be brief."),
        HumanMessage("word " * 50),
        AIMessage("", tool_calls=[call]),
        ToolMessage("word " * 50, tool_call_id="c"),
        HumanMessage("Hello"),
    ]
    kept = trim_messages(history, max_tokens=60, token_counter=chat, include_system=True, start_on="human")
    assert kept == [history[0], history[4]]


def test_profile_comes_from_the_model(chat: ChatLlamaCpp) -> None:
    assert chat.profile
    assert chat.profile["max_input_tokens"] == 2048
    assert chat.profile["tool_calling"] is True
    assert chat.profile["image_inputs"] is False
    sees = ChatLlamaCpp(llama=ScriptedLlama(info=scripted_info(image=True, reasoning=True)))
    assert sees.profile
    assert sees.profile["image_inputs"] is True
    assert sees.profile["reasoning_output"] is True
    given = ChatLlamaCpp(llama=ScriptedLlama(), profile={"max_input_tokens": 7})
    assert given.profile == {"max_input_tokens": 7}


# What LangChain puts around a model


def test_cache_is_keyed_on_model_and_sampling() -> None:
    cache = InMemoryCache()
    llama = ScriptedLlama("one", "two", "three", "four")
    chat = ChatLlamaCpp(llama=llama, cache=cache)
    assert chat.invoke("x").text == "one"
    assert chat.invoke("x").text == "one"
    assert chat.invoke("x", seed=1).text == "two"
    assert chat.invoke("x", stop=["q"]).text == "three"
    other = ScriptedLlama("other", info=scripted_info(n_ctx=512))
    assert ChatLlamaCpp(llama=other, cache=cache).invoke("x").text == "other"
    assert ChatLlamaCpp(llama=llama, cache=cache, stop=["z"]).invoke("x").text == "four"
    assert len(llama.calls) == 4


async def test_cache_on_the_async_path() -> None:
    llama = ScriptedLlama("one", "two")
    chat = ChatLlamaCpp(llama=llama, cache=InMemoryCache())
    assert [(await chat.ainvoke("x")).text for _ in range(2)] == ["one", "one"]


def test_rate_limiter() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=20, check_every_n_seconds=0.01, max_bucket_size=1)
    chat = ChatLlamaCpp(llama=ScriptedLlama(), rate_limiter=limiter)
    begin = time.perf_counter()
    chat.batch(["x"] * 4)
    assert time.perf_counter() - begin > 0.14


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.params: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("start")
        self.params, self.metadata = kwargs["invocation_params"], kwargs["metadata"]

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.events.append("token")

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("end")

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.events.append("error")


def test_callbacks_and_tracing_parameters() -> None:
    recorder = Recorder()
    chat = ChatLlamaCpp(llama=ScriptedLlama("some words"), temperature=0.3, max_tokens=9, stop=["q"])
    chat.invoke("x", config={"callbacks": [recorder]})
    assert recorder.events == ["start", "end"]
    assert recorder.params["temperature"] == 0.3
    assert recorder.params["path"] == "/models/scripted.gguf"
    expected = {"ls_provider": "llamacpp", "ls_model_name": "scripted", "ls_model_type": "chat"}
    expected |= {"ls_temperature": 0.3, "ls_max_tokens": 9, "ls_stop": ["q"]}
    assert expected.items() <= recorder.metadata.items()
    list(chat.stream("x", config={"callbacks": [recorder]}))
    assert recorder.events[2:] == ["start", "token", "token", "token", "token", "end"]


def test_errors_reach_callbacks() -> None:
    recorder = Recorder()
    chat = ChatLlamaCpp(llama=ScriptedLlama(GenerationError("broken")))
    with pytest.raises(GenerationError):
        chat.invoke("x", config={"callbacks": [recorder]})
    assert recorder.events == ["start", "error"]


def test_usage_callback(chat: ChatLlamaCpp) -> None:
    counter = UsageMetadataCallbackHandler()
    chat.batch(["Hello", "Bye"], config={"callbacks": [counter]})
    assert counter.usage_metadata["smollm2-135m-instruct"]["output_tokens"] > 2


async def test_astream_events(chat: ChatLlamaCpp) -> None:
    kinds = [event["event"] async for event in chat.astream_events("Hello", version="v2")]
    assert kinds[0] == "on_chat_model_start"
    assert kinds[-1] == "on_chat_model_end"
    assert kinds.count("on_chat_model_stream") > 2


def test_configurable_fields() -> None:
    llama = ScriptedLlama()
    chat = ChatLlamaCpp(llama=llama).configurable_fields(temperature=ConfigurableField(id="heat"))
    chat.with_config(configurable={"heat": 0.9}).invoke("x")
    assert llama.calls[0][2]["temperature"] == 0.9


def test_retry_and_fallbacks() -> None:
    flaky = ChatLlamaCpp(llama=ScriptedLlama(GenerationError("once"), "fine"))
    assert flaky.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("x").text == "fine"
    small = ChatLlamaCpp(llama=ScriptedLlama(info=scripted_info(n_ctx=8)))
    large = ChatLlamaCpp(llama=ScriptedLlama("from the larger one"))
    chain = small.with_fallbacks([large], exceptions_to_handle=(LangChainContextOverflow,))
    assert chain.invoke("word " * 20).text == "from the larger one"


# Time limits


@pytest.mark.parametrize("path", PATHS)
def test_timeout(path: str) -> None:
    llama = ScriptedLlama(Answer("many words in here", delay=0.05))
    chat = ChatLlamaCpp(llama=llama, timeout=0.12)
    with pytest.raises(ModelTimeoutError) as caught:
        answer_by(path, chat, "x")
    assert isinstance(caught.value, TimeoutError)
    assert llama.running == 0
    assert llama.cancelled == 1
    assert chat.invoke("x", timeout=5).text == "many words in here"


def test_a_stream_within_its_time(chat: ChatLlamaCpp) -> None:
    limited = chat.model_copy(update={"timeout": 60.0})
    assert "".join(chunk.text for chunk in limited.stream("Hello")) == chat.invoke("Hello").text
