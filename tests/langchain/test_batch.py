from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fakes import Answer, ScriptedLlama
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableParallel

from llamacpp_core import Llama
from llamacpp_core.errors import GenerationError, RequestCancelledError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppLLM

SLOW = Answer("some words here", delay=0.02)


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
def test_a_batch_needs_no_thread_per_call(kind: Any) -> None:
    llama = ScriptedLlama(SLOW)
    model = kind(llama=llama)
    threads: list[int] = []
    before = threading.active_count()

    def watch(*_: Any) -> Answer:
        threads.append(threading.active_count())
        return SLOW

    llama.script = [watch]
    model.batch(["x"] * 8)
    assert llama.most_running == 8
    assert max(threads) == before


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_max_concurrency(kind: Any, asynchronous: bool) -> None:
    llama = ScriptedLlama(SLOW)
    model = kind(llama=llama)
    config = {"max_concurrency": 2}
    if asynchronous:
        asyncio.run(model.abatch(["x"] * 6, config))
    else:
        model.batch(["x"] * 6, config)
    assert llama.most_running == 2


def script(messages: list[dict[str, Any]], _: Any) -> Any:
    return GenerationError("broken") if messages[0]["content"] == "bad" else SLOW


@pytest.mark.parametrize("kind", [ChatLlamaCpp, LlamaCppLLM])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_exceptions(kind: Any, asynchronous: bool) -> None:
    llama = ScriptedLlama(script)
    model = kind(llama=llama)
    inputs = ["a", "bad", "b"]

    def run(**how: Any) -> list[Any]:
        return asyncio.run(model.abatch(inputs, **how)) if asynchronous else model.batch(inputs, **how)

    first, failed, last = run(return_exceptions=True)
    assert isinstance(failed, GenerationError)
    assert "some words here" in str(first)
    assert "some words here" in str(last)
    with pytest.raises(GenerationError):
        run()
    assert llama.running == 0
    assert llama.cancelled == 2  # the two good ones, which nobody waits for any more


def test_one_configuration_per_input() -> None:
    llama = ScriptedLlama("x")
    names: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, tags: list[str] | None = None, **kwargs: Any) -> None:
            names.extend(tags or [])

    handler = Handler()
    ChatLlamaCpp(llama=llama).batch(
        ["x", "y"], [{"tags": ["one"], "callbacks": [handler]}, {"tags": ["two"], "callbacks": [handler]}]
    )
    assert sorted(names) == ["one", "two"]


def test_empty_batch() -> None:
    assert ChatLlamaCpp(llama=ScriptedLlama()).batch([]) == []


async def test_batch_inside_a_running_loop() -> None:
    chat = ChatLlamaCpp(llama=ScriptedLlama("x"))
    assert [answer.text for answer in chat.batch(["a", "b"])] == ["x", "x"]


def test_batch_leaves_the_threads_event_loop_alone() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        ChatLlamaCpp(llama=ScriptedLlama("x")).batch(["a", "b"])
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_batches_on_the_real_model_are_the_single_answers(chat: ChatLlamaCpp) -> None:
    prompts = ["Hello", "Name a colour.", "What is 2 + 2?", "Say goodbye.", "Hi"]
    usages = [answer.usage_metadata for answer in chat.batch(prompts)]
    for prompt, usage in zip(prompts, usages, strict=True):
        assert usage
        assert usage["input_tokens"] == chat.get_num_tokens_from_messages([HumanMessage(prompt)])


def test_parallel_branches_on_the_real_model(chat: ChatLlamaCpp) -> None:
    chain = RunnableParallel(one=chat, two=chat.bind(max_tokens=3), three=chat.bind(stop=["e"]))
    results = [chain.invoke("Hello"), asyncio.run(chain.ainvoke("Hello"))]
    for result in results:
        assert set(result) == {"one", "two", "three"}
        assert result["two"].usage_metadata["output_tokens"] == 3
        assert "e" not in result["three"].text


def test_threads_share_one_engine(chat: ChatLlamaCpp) -> None:
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(chat.invoke("Hello").text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 4
    assert all(texts)


# Leaving early frees the slots: with all of them taken by endless answers, a further one would never come.


def endless(llm: Llama) -> ChatLlamaCpp:
    return ChatLlamaCpp(llama=llm, temperature=0, ignore_eos=True, max_tokens=1500)


def answers_in_time(llm: Llama) -> bool:
    quick = ChatLlamaCpp(llama=llm, temperature=0, max_tokens=2, timeout=30)
    return len(quick.batch(["Hello"] * llm.info.n_parallel)) == llm.info.n_parallel


def test_breaking_out_of_a_stream_frees_the_slot(llm: Llama) -> None:
    for _ in range(llm.info.n_parallel + 1):
        for _chunk in endless(llm).stream("Tell me a story."):
            break
    assert answers_in_time(llm)


async def test_breaking_out_of_an_async_stream_frees_the_slot(llm: Llama) -> None:
    for _ in range(llm.info.n_parallel + 1):
        async for _chunk in endless(llm).astream("Tell me a story."):
            break
    assert await asyncio.to_thread(answers_in_time, llm)


async def test_cancelling_tasks_frees_the_slots(llm: Llama) -> None:
    tasks = [asyncio.create_task(endless(llm).ainvoke("Count.")) for _ in range(llm.info.n_parallel + 2)]
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert await asyncio.to_thread(answers_in_time, llm)


async def test_cancelling_during_prefill_frees_the_slot(llm: Llama) -> None:
    prompt = "word " * 1500
    task = asyncio.create_task(ChatLlamaCpp(llama=llm, max_tokens=5, cache_prompt=False).ainvoke(prompt))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, RequestCancelledError)):
        await task
    assert await asyncio.to_thread(answers_in_time, llm)
