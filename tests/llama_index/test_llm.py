"""The language model over a real engine."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.llms import ChatMessage

from llamacpp_core import ContextOverflowError, EngineClosedError, Llama, UnsupportedCapabilityError
from llamacpp_integrations.llama_index import LlamaCpp

PROMPT = "Name a colour."
MESSAGES = [ChatMessage(content=PROMPT)]


async def wait_until_idle(llm: Llama) -> float:
    """Seconds until the engine has nothing left to do."""
    start = time.monotonic()
    while llm.n_active:
        assert time.monotonic() - start < 20
        await asyncio.sleep(0.005)
    return time.monotonic() - start


async def test_the_eight_entry_points_agree(chat_model: LlamaCpp) -> None:
    answer = chat_model.chat(MESSAGES).message.content
    assert answer
    assert (await chat_model.achat(MESSAGES)).message.content == answer
    assert chat_model.complete(PROMPT).text == answer
    assert (await chat_model.acomplete(PROMPT)).text == answer
    chunks = list(chat_model.stream_chat(MESSAGES))
    assert "".join(c.delta or "" for c in chunks) == chunks[-1].message.content == answer
    achunks = [c async for c in await chat_model.astream_chat(MESSAGES)]
    assert "".join(c.delta or "" for c in achunks) == achunks[-1].message.content == answer
    texts = list(chat_model.stream_complete(PROMPT))
    assert "".join(c.delta or "" for c in texts) == texts[-1].text == answer
    atexts = [c async for c in await chat_model.astream_complete(PROMPT)]
    assert "".join(c.delta or "" for c in atexts) == atexts[-1].text == answer


def test_formatted_text_goes_as_it_is(chat_model: LlamaCpp, llm: Llama) -> None:
    prompt = llm.apply_chat_template([{"role": "user", "content": PROMPT}])
    assert isinstance(prompt, str)
    assert chat_model.complete(prompt, formatted=True).text == chat_model.complete(PROMPT).text
    raw = chat_model.complete("1, 2, 3, 4,", formatted=True, max_tokens=3)
    assert raw.raw["usage"]["prompt_tokens"] == llm.count_tokens("1, 2, 3, 4,")


def test_metadata_is_that_of_the_engine(chat_model: LlamaCpp, llm: Llama) -> None:
    metadata = chat_model.metadata
    assert metadata.context_window == llm.info.n_ctx
    assert metadata.num_output == 24
    assert metadata.model_name == "smollm2-135m-instruct"
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model


def test_usage_timings_and_logprobs(chat_model: LlamaCpp) -> None:
    response = chat_model.chat(MESSAGES, logprobs=True, top_logprobs=2, max_tokens=4)
    usage = response.raw["usage"]
    assert usage["completion_tokens"] == 4
    assert response.additional_kwargs["prompt_tokens"] == usage["prompt_tokens"] > 10
    assert response.raw["timings"]["predicted_n"] == 4
    assert response.logprobs
    assert len(response.logprobs) == 4
    assert all(token[0].logprob <= 0 for token in response.logprobs)
    assert "".join(token[0].token for token in response.logprobs) == response.message.content
    text = chat_model.complete("Once", formatted=True, logprobs=True, top_logprobs=2, max_tokens=3)
    assert text.logprobs
    assert len(text.logprobs) == 3


def test_arguments_of_a_call_hold(chat_model: LlamaCpp) -> None:
    assert chat_model.complete(PROMPT, max_tokens=1).raw["usage"]["completion_tokens"] == 1
    text = chat_model.complete(PROMPT).text
    word = text.split()[1]
    assert word not in chat_model.complete(PROMPT, stop=[word]).text
    assert chat_model.complete(PROMPT, grammar='root ::= "blue" | "red"').text in ("blue", "red")


def test_images_need_a_projector(chat_model: LlamaCpp) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="mmproj"):
        chat_model.chat(
            [ChatMessage(blocks=[TextBlock(text="What?"), ImageBlock(image=b"\x89PNG\r\n\x1a\n0000")])]
        )


def test_a_prompt_beyond_the_context(chat_model: LlamaCpp) -> None:
    with pytest.raises(ContextOverflowError) as caught:
        chat_model.complete("word " * 4000)
    assert caught.value.n_prompt_tokens > caught.value.n_ctx == 2048


async def test_the_event_loop_stays_free(chat_model: LlamaCpp) -> None:
    worst, last, done = 0.0, time.monotonic(), False

    async def watch() -> None:
        nonlocal worst, last
        while not done:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            worst, last = max(worst, now - last), now

    watching = asyncio.create_task(watch())
    start = time.monotonic()
    await asyncio.gather(*(chat_model.acomplete(PROMPT, ignore_eos=True) for _ in range(4)))
    took, done = time.monotonic() - start, True
    await watching
    assert worst < took / 2


def test_threads_share_the_engine(chat_model: LlamaCpp) -> None:
    expected = chat_model.complete(PROMPT, max_tokens=8).text[:5]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: chat_model.complete(PROMPT, max_tokens=8).text, range(8)))
    assert all(text[:5] == expected for text in texts)


def test_several_event_loops_at_once(chat_model: LlamaCpp) -> None:
    results: list[str] = []

    def run() -> None:
        results.append(asyncio.run(chat_model.acomplete(PROMPT, max_tokens=4)).text)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 3


async def test_synchronous_calls_inside_a_running_loop(chat_model: LlamaCpp) -> None:
    assert chat_model.complete(PROMPT, max_tokens=2).text
    assert asyncio_run(chat_model.acomplete(PROMPT, max_tokens=2)).text  # in a loop of a new thread


def test_a_stream_can_move_between_threads(chat_model: LlamaCpp) -> None:
    stream = chat_model.stream_complete(PROMPT)
    pieces = [next(stream).delta or ""]
    thread = threading.Thread(target=lambda: pieces.extend(r.delta or "" for r in stream))
    thread.start()
    thread.join(60)
    assert "".join(pieces) == chat_model.complete(PROMPT).text


async def test_dropping_streams_frees_their_slots(chat_model: LlamaCpp, llm: Llama) -> None:
    endless = {"max_tokens": 1500, "ignore_eos": True}
    stream = chat_model.stream_chat(MESSAGES, **endless)
    next(stream)
    assert llm.n_active == 1
    del stream
    await wait_until_idle(llm)
    async for _ in await chat_model.astream_chat(MESSAGES, **endless):
        break
    await wait_until_idle(llm)
    task = asyncio.create_task(chat_model.achat(MESSAGES, **endless))
    while not llm.n_active:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_idle(llm)


def test_a_copy_made_by_pickle(llm: Llama) -> None:
    with LlamaCpp("smollm2-135m-instruct", n_ctx=512, temperature=0, max_tokens=4, warmup=False) as model:
        data = pickle.dumps(model)
        assert len(data) < 5_000
        with pickle.loads(data) as copy:
            assert copy.to_dict() == model.to_dict()
            assert copy.metadata == model.metadata
            assert copy.client is model.client  # shared with the original
            assert copy.complete(PROMPT).text == model.complete(PROMPT).text
        again = LlamaCpp.from_dict(model.to_dict())
        assert again.to_dict() == model.to_dict()
        again.close()
        assert model.complete(PROMPT).text
    with pytest.raises(EngineClosedError):
        model.complete(PROMPT)


def test_a_copy_of_an_object_made_with_a_loaded_model(llm: Llama) -> None:
    model = LlamaCpp(llama=llm, temperature=0, max_tokens=3)
    assert model.load_options == {"n_ctx": 2048}
    with pickle.loads(pickle.dumps(model)) as copy:
        assert copy.metadata.context_window == 2048
        assert copy.complete(PROMPT).text == model.complete(PROMPT).text
    model.close()
    assert llm.create_completion("Hi", max_tokens=1)  # its owner closes it, nobody else


def test_the_tokenizer(chat_model: LlamaCpp, llm: Llama) -> None:
    tokenizer = chat_model.tokenizer
    ids = tokenizer("Hello <|im_end|> world")
    assert ids == llm.tokenize("Hello <|im_end|> world", add_bos=False, special=False)
    assert len(ids) == llm.count_tokens("Hello <|im_end|> world")
