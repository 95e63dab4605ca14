"""Logits processors and stopping criteria, on the engine's weights."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from llamacpp_core import (
    EngineClosedError,
    GenerationError,
    InvalidParameterError,
    Llama,
    LogitsProcessorList,
    MinTokensLogitsProcessor,
    StoppingCriteriaList,
    UnsupportedCapabilityError,
)
from llamacpp_core.engine.chooser import TokenChooser
from llamacpp_core.grammar import LlamaGrammar

CAPITAL = "The capital of France is"
STORY = "Once upon a time"
HELLO = [{"role": "user", "content": "Say hello."}]


def text(response: Any, index: int = 0) -> str:
    return str(response["choices"][index]["text"])


def same(ids: Any, scores: Any) -> Any:
    return scores


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"seed": 1},
        {"seed": 2, "temperature": 1.5, "top_k": 0, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.9},
        {"seed": 3, "repeat_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.3},
        {"seed": 4, "mirostat_mode": 1},
        {"seed": 5, "mirostat_mode": 2, "mirostat_tau": 3.0},
        {"seed": 6, "xtc_probability": 0.8, "xtc_threshold": 0.1},
        {"seed": 7, "dry_multiplier": 1.0, "dynatemp_range": 0.5, "top_n_sigma": 2.0},
        {"seed": 8, "samplers": ["min_p", "temperature", "top_k"], "top_k": 7},
        {"seed": 9, "logit_bias": {28: -5.0, 30: False}, "ignore_eos": True},
        {"seed": 10, "n": 3},
        {"temperature": 0, "grammar": 'root ::= " Lyon, " [a-z ]+ "." | " Nice."'},
        {"seed": 11, "stop": [" the", "."]},
    ],
    ids=lambda value: ",".join(value),
)
def test_it_draws_what_the_engine_draws(llm: Llama, settings: dict[str, Any]) -> None:
    # Both read the whole prompt at once: the last digits of logits depend on how many tokens go together.
    settings = {"max_tokens": 16, "cache_prompt": False, **settings}
    engine = llm(CAPITAL, **settings)
    custom = llm(CAPITAL, logits_processor=same, **settings)
    assert [c["text"] for c in custom["choices"]] == [c["text"] for c in engine["choices"]]
    assert [c["finish_reason"] for c in custom["choices"]] == [c["finish_reason"] for c in engine["choices"]]
    assert custom["usage"]["completion_tokens"] == engine["usage"]["completion_tokens"]
    assert custom["usage"]["prompt_tokens"] == engine["usage"]["prompt_tokens"]
    assert set(custom) == set(engine)


def test_logits_processor_sees_the_tokens_and_changes_the_choice(llm: Llama) -> None:
    rome = llm.tokenize(b" Rome")[0]
    seen: list[list[int]] = []

    def processor(ids: Any, scores: Any) -> Any:
        assert ids.dtype == np.intc
        assert scores.dtype == np.float32
        assert scores.shape == (llm.n_vocab(),)
        seen.append(ids.tolist())
        if len(seen) == 1:
            scores[rome] = scores.max() + 20
        return scores

    response = llm(CAPITAL, max_tokens=3, temperature=0, logits_processor=processor)
    assert text(response).startswith(" Rome")
    prompt = llm.tokenize(CAPITAL.encode())
    assert seen[0] == prompt
    assert seen[1] == [*prompt, rome]
    assert [len(ids) for ids in seen] == [5, 6, 7]


def test_several_processors_run_in_their_order(llm: Llama) -> None:
    paris, rome = llm.tokenize(b" Paris")[0], llm.tokenize(b" Rome")[0]

    def prefer(token: int) -> Callable[[Any, Any], Any]:
        def processor(ids: Any, scores: Any) -> Any:
            scores = np.full_like(scores, -100.0)
            scores[token] = 0
            return scores

        return processor

    for order, winner in (
        ([prefer(paris), prefer(rome)], " Rome"),
        ([prefer(rome), prefer(paris)], " Paris"),
    ):
        for given in (order, LogitsProcessorList(order), LogitsProcessorList([LogitsProcessorList(order)])):
            assert text(llm(CAPITAL, max_tokens=1, logits_processor=given)) == winner


def test_min_tokens_processor_keeps_the_answer_going(llm: Llama) -> None:
    short = llm.create_chat_completion(HELLO, temperature=0, max_tokens=80)
    assert short["choices"][0]["finish_reason"] == "stop"
    wanted = short["usage"]["completion_tokens"] + 5
    processor = MinTokensLogitsProcessor(wanted, llm.token_eos())
    longer = llm.create_chat_completion(HELLO, temperature=0, max_tokens=80, logits_processor=processor)
    assert longer["usage"]["completion_tokens"] >= wanted
    content = short["choices"][0]["message"]["content"]
    assert longer["choices"][0]["message"]["content"].startswith(content)


@pytest.mark.parametrize("make", [lambda f: f, lambda f: [f], lambda f: StoppingCriteriaList([f])])
def test_stopping_criteria(llm: Llama, make: Any) -> None:
    prompt = llm.tokenize(CAPITAL.encode())
    logits: list[Any] = []

    def criterion(ids: Any, scores: Any) -> bool:
        logits.append(scores)
        return len(ids) >= len(prompt) + 3

    response = llm(CAPITAL, max_tokens=20, temperature=0, stopping_criteria=make(criterion))
    assert response["usage"]["completion_tokens"] == 3
    assert response["choices"][0]["finish_reason"] == "stop"
    assert text(response) == text(llm(CAPITAL, max_tokens=3, temperature=0))
    assert [int(row.argmax()) for row in logits[:3]] == llm.tokenize((CAPITAL + text(response)).encode())[
        len(prompt) :
    ]


def test_a_criterion_that_is_met_at_once_gives_an_empty_answer(llm: Llama) -> None:
    response = llm(CAPITAL, stopping_criteria=lambda ids, logits: True)
    assert text(response) == ""
    assert response["usage"]["completion_tokens"] == 0


@pytest.mark.parametrize("stop", [None, ["zzz", "."], " the"])
def test_streaming_gives_the_same(llm: Llama, stop: Any) -> None:
    settings: dict[str, Any] = {"max_tokens": 20, "temperature": 0, "stop": stop, "logits_processor": same}
    whole = llm(STORY, logprobs=1, **settings)
    chunks = list(llm(STORY, logprobs=1, stream=True, **settings))
    assert "".join(c["choices"][0]["text"] for c in chunks) == text(whole)
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    streamed = [t for c in chunks if (p := c["choices"][0]["logprobs"]) for t in p["tokens"]]
    assert streamed == whole["choices"][0]["logprobs"]["tokens"]


def test_logprobs_are_those_of_the_engine(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 6, "temperature": 0, "logprobs": 3, "cache_prompt": False}
    engine = llm(CAPITAL, **settings)["choices"][0]["logprobs"]
    custom = llm(CAPITAL, logits_processor=same, **settings)["choices"][0]["logprobs"]
    assert custom["tokens"] == engine["tokens"]
    assert custom["text_offset"] == engine["text_offset"]
    assert custom["token_logprobs"] == pytest.approx(engine["token_logprobs"], abs=0.01)
    assert [list(top) for top in custom["top_logprobs"]] == [list(top) for top in engine["top_logprobs"]]


def test_chat_takes_them_too(llm: Llama) -> None:
    plain = llm.create_chat_completion(HELLO, temperature=0, max_tokens=12)
    custom = llm.create_chat_completion(HELLO, temperature=0, max_tokens=12, logits_processor=same)
    assert custom["choices"] == plain["choices"]
    chunks = llm.create_chat_completion(
        HELLO, temperature=0, max_tokens=12, logits_processor=same, stream=True
    )
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks]
    assert "".join(pieces) == plain["choices"][0]["message"]["content"]


def test_chat_with_a_schema_and_a_processor(llm: Llama) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    response_format = {"type": "json_schema", "json_schema": {"schema": schema}}
    response = llm.create_chat_completion(HELLO, response_format=response_format, logits_processor=same)
    assert response["choices"][0]["message"]["content"].replace(" ", "") in ('{"ok":true}', '{"ok":false}')


def test_a_forced_tool_and_a_processor(llm: Llama) -> None:
    tools = [
        {"type": "function", "function": {"name": "wave", "parameters": {"type": "object", "properties": {}}}}
    ]
    response = llm.create_chat_completion(HELLO, tools=tools, tool_choice="required", logits_processor=same)
    (call,) = response["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "wave", "arguments": "{}"}


def test_the_prompt_cache_is_used(llm: Llama) -> None:
    prompt = "A long prompt. " * 20
    llm(prompt, max_tokens=1, logits_processor=same)
    again = llm(prompt + "More.", max_tokens=1, logits_processor=same)
    n_prompt = len(llm.tokenize(prompt.encode()))
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= n_prompt - 2
    fresh = llm(prompt + "More.", max_tokens=1, logits_processor=same, cache_prompt=False)
    assert fresh["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_coroutines(llm: Llama) -> None:
    whole = llm(CAPITAL, max_tokens=6, temperature=0)
    jobs = [
        llm.acreate_completion(CAPITAL, max_tokens=6, temperature=0, logits_processor=same) for _ in range(4)
    ]
    assert [text(r) for r in await asyncio.gather(*jobs)] == [text(whole)] * 4
    stream = await llm.acreate_completion(
        CAPITAL, max_tokens=6, temperature=0, logits_processor=same, stream=True
    )
    assert "".join([c["choices"][0]["text"] async for c in stream]) == text(whole)


async def test_cancelling_a_coroutine_gives_the_context_back(llm: Llama) -> None:
    task = asyncio.create_task(llm.acreate_completion(STORY, max_tokens=None, logits_processor=same))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(200):
        if all(not s.lock.locked() if hasattr(s.lock, "locked") else True for s in llm._sessions._open):
            break
        await asyncio.sleep(0.01)
    assert (
        text(await llm.acreate_completion(CAPITAL, max_tokens=1, temperature=0, logits_processor=same))
        == " Paris"
    )


def test_streams_may_be_interleaved_and_abandoned(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "logits_processor": same, "stream": True}
    streams = [llm(prompt, **settings) for prompt in (CAPITAL, STORY, CAPITAL)]
    pieces: list[list[str]] = [[], [], []]
    for _ in range(4):
        for stream, out in zip(streams, pieces, strict=True):
            out.append(next(stream)["choices"][0]["text"])
    assert pieces[0] == pieces[2] != pieces[1]
    streams.pop().close()
    del streams
    gc.collect()
    assert len(llm._sessions._open) <= 1  # one is kept for the next request


def test_an_exception_comes_out_and_does_no_harm(llm: Llama) -> None:
    def processor(ids: Any, scores: Any) -> Any:
        if len(ids) > 6:
            raise ZeroDivisionError("mine")
        return scores

    with pytest.raises(ZeroDivisionError, match="mine"):
        llm(CAPITAL, logits_processor=processor)
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logits_processor=same)) == " Paris"


@pytest.mark.parametrize(
    "bad",
    [
        lambda ids, scores: scores[:5],
        lambda ids, scores: np.full_like(scores, np.nan),
        lambda ids, scores: np.full_like(scores, np.inf),
        lambda ids, scores: "scores",
        lambda ids, scores: None,
    ],
    ids=["shape", "nan", "inf", "text", "none"],
)
def test_bad_logits_are_refused(llm: Llama, bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"logits_processor\[1\]") as caught:
        llm(CAPITAL, logits_processor=[same, bad])
    assert caught.value.parameter == "logits_processor[1]"


def test_forbidding_every_token_is_an_error(llm: Llama) -> None:
    with pytest.raises(GenerationError, match="forbidden"):
        llm(CAPITAL, logits_processor=lambda ids, scores: np.full_like(scores, -np.inf))


def test_a_grammar_holds_against_a_processor(llm: Llama) -> None:
    paris = llm.tokenize(b" Paris")[0]

    def processor(ids: Any, scores: Any) -> Any:
        scores[paris] += 50
        return scores

    grammar = LlamaGrammar.from_string('root ::= " Lyon" | " Nice"')
    assert text(llm(CAPITAL, logits_processor=processor, grammar=grammar)) in (" Lyon", " Nice")


@pytest.mark.parametrize("field", ["n_indent", "t_max_predict_ms", "post_sampling_probs", "return_progress"])
def test_what_only_the_engine_can_do_is_refused(llm: Llama, field: str) -> None:
    value: Any = True if field in ("post_sampling_probs", "return_progress") else 5
    with pytest.raises(UnsupportedCapabilityError) as caught:
        llm(CAPITAL, logits_processor=same, **{field: value})
    assert caught.value.parameter == field


def test_empty_lists_leave_the_request_to_the_engine(llm: Llama) -> None:
    n_open = len(llm._sessions._open)
    response = llm(
        CAPITAL, max_tokens=1, temperature=0, logits_processor=[], stopping_criteria=StoppingCriteriaList()
    )
    assert text(response) == " Paris"
    assert len(llm._sessions._open) == n_open


@pytest.fixture
def small(smollm2_path: Any) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as loaded:
        yield loaded


def test_closing_ends_a_stream(small: Llama) -> None:
    stream = small(STORY, max_tokens=50, logits_processor=same, stream=True)
    next(stream)
    small.close()
    with pytest.raises(EngineClosedError):
        list(stream)
    with pytest.raises(EngineClosedError):
        small(STORY, logits_processor=same)


def test_it_ends_with_the_context(small: Llama) -> None:
    response = small(STORY, max_tokens=None, temperature=0, ignore_eos=True, logits_processor=same)
    assert response["choices"][0]["finish_reason"] == "length"
    assert response["usage"]["total_tokens"] == 256


def test_a_sampler_that_cannot_be_made_is_an_error(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="grammar"):
        TokenChooser(llm._sessions.engine, {"grammar": "root ::= nowhere"})


def test_a_chooser_gives_its_samplers_back_once(llm: Llama) -> None:
    chooser = TokenChooser(llm._sessions.engine, {"temperature": 0})
    chooser.read_prompt([1, 2, 3])
    chooser.close()
    chooser.close()


def test_a_budget_of_reasoning_holds_here_too(llm: Llama) -> None:
    settings = {"max_tokens": 8, "temperature": 0, "reasoning_budget_tokens": 4, "cache_prompt": False}
    engine = llm.create_chat_completion(HELLO, **settings)
    custom = llm.create_chat_completion(HELLO, logits_processor=same, **settings)
    assert custom["choices"] == engine["choices"]
