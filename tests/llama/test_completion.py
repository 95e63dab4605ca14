"""Text completion on a real model."""

from __future__ import annotations

from typing import Any

import pytest

from llamacpp_core import ContextOverflowError, InvalidParameterError, Llama, UnsupportedCapabilityError

CAPITAL = "The capital of France is"
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,"


def text(response: dict[str, Any], index: int = 0) -> str:
    return str(response["choices"][index]["text"])


def streamed(chunks: Any, index: int = 0) -> str:
    return "".join(c["text"] for chunk in chunks for c in chunk["choices"] if c["index"] == index)


def test_shape_of_a_response(llm: Llama) -> None:
    response = llm.create_completion(CAPITAL, max_tokens=4, temperature=0)
    assert response["id"].startswith("cmpl-")
    assert response["object"] == "text_completion"
    assert response["model"] == "smollm2-135m-instruct"
    assert isinstance(response["created"], int)
    choice = response["choices"][0]
    assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
    assert choice["text"].startswith(" Paris")
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    usage = response["usage"]
    assert usage["prompt_tokens"] == len(llm.tokenize(CAPITAL, special=True))
    assert usage["completion_tokens"] == 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert response["timings"]["predicted_n"] == 4


def test_calling_the_object_completes(llm: Llama) -> None:
    assert text(llm(CAPITAL, max_tokens=1, temperature=0)) == " Paris"


def test_token_ids_as_prompt(llm: Llama) -> None:
    ids = llm.tokenize(CAPITAL)
    assert text(llm(ids, max_tokens=4, temperature=0)) == text(llm(CAPITAL, max_tokens=4, temperature=0))


def test_stream_gives_the_same_text_and_usage(llm: Llama) -> None:
    whole = llm(COUNT, max_tokens=12, temperature=0)
    chunks = list(llm(COUNT, max_tokens=12, temperature=0, stream=True))
    assert streamed(chunks) == text(whole)
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert len(chunks) > 5
    counted = {
        key: chunks[-1]["usage"][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    assert counted == {key: whole["usage"][key] for key in counted}
    assert not any("usage" in chunk for chunk in chunks[:-1])


def test_include_usage_sends_a_chunk_of_its_own(llm: Llama) -> None:
    chunks = list(
        llm(CAPITAL, max_tokens=2, temperature=0, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert "usage" not in chunks[-2]


async def test_async_gives_the_same(llm: Llama) -> None:
    whole = llm(COUNT, max_tokens=6, temperature=0)
    response = await llm.acreate_completion(COUNT, max_tokens=6, temperature=0)
    assert text(response) == text(whole)
    chunks = [c async for c in await llm.acreate_completion(COUNT, max_tokens=6, temperature=0, stream=True)]
    assert streamed(chunks) == text(whole)


def test_end_of_text_stops(llm: Llama) -> None:
    response = llm(
        "<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\n", max_tokens=200, temperature=0
    )
    assert response["choices"][0]["finish_reason"] == "stop"
    assert response["usage"]["completion_tokens"] < 200
    assert "<|im_end|>" not in text(response)


@pytest.mark.parametrize("stop", [" 14", [" 14"], ["zzz", " 14", " 15"], "14,", ", 14"])
def test_stop_strings_end_the_text_before_them(llm: Llama, stop: Any) -> None:
    response = llm(COUNT, max_tokens=30, temperature=0, stop=stop)
    expected = " 12, 13," if "," not in stop else (" 12, 13, " if stop == "14," else " 12, 13")
    assert text(response) == expected
    assert response["choices"][0]["finish_reason"] == "stop"
    assert streamed(llm(COUNT, max_tokens=30, temperature=0, stop=stop, stream=True)) == expected


@pytest.mark.parametrize("logprobs", [None, 1])
@pytest.mark.parametrize("max_tokens", range(1, 9))
def test_a_stop_string_that_has_only_begun_is_text(llm: Llama, max_tokens: int, logprobs: int | None) -> None:
    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": 0,
        "stop": [" 12, 13, 99", ", 14, x", "14, 15 "],
        "logprobs": logprobs,
    }
    whole = llm(COUNT, **settings)
    assert text(whole) == text(llm(COUNT, max_tokens=max_tokens, temperature=0))
    assert streamed(llm(COUNT, **settings, stream=True)) == text(whole)


def test_stop_string_over_token_borders(llm: Llama) -> None:
    full = text(llm(CAPITAL, max_tokens=16, temperature=0))
    for start in range(1, len(full) - 6, 7):
        stop = full[start : start + 5]
        expected = full[: full.index(stop)]
        assert text(llm(CAPITAL, max_tokens=16, temperature=0, stop=stop)) == expected
        assert streamed(llm(CAPITAL, max_tokens=16, temperature=0, stop=stop, stream=True)) == expected


def test_echo(llm: Llama) -> None:
    plain = text(llm(CAPITAL, max_tokens=3, temperature=0))
    settings: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "echo": True}
    assert text(llm(CAPITAL, **settings)) == CAPITAL + plain
    assert streamed(llm(CAPITAL, **settings, stream=True)) == CAPITAL + plain
    assert text(llm(llm.tokenize(CAPITAL), **settings)) == CAPITAL + plain


def test_suffix_needs_a_model_that_fills_in_the_middle(llm: Llama) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="suffix"):
        llm(CAPITAL, suffix=" and that is it.")


def test_logprobs(llm: Llama) -> None:
    response = llm(CAPITAL, max_tokens=4, temperature=0, logprobs=3)
    logprobs = response["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == text(response)
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == 4
    for token, value, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert value <= 0
        assert len(top) == 3
        assert top[token] == value == max(top.values())  # greedy
    for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
        assert (CAPITAL + text(response))[offset:].startswith(token)


def test_streamed_logprobs_are_those_of_the_whole(llm: Llama) -> None:
    whole = llm(CAPITAL, max_tokens=5, temperature=0, logprobs=2)["choices"][0]["logprobs"]
    parts = [
        chunk["choices"][0]["logprobs"]
        for chunk in llm(CAPITAL, max_tokens=5, temperature=0, logprobs=2, stream=True)
        if chunk["choices"][0]["logprobs"]
    ]
    assert [token for part in parts for token in part["tokens"]] == whole["tokens"]
    assert [offset for part in parts for offset in part["text_offset"]] == whole["text_offset"]
    found = [value for part in parts for value in part["token_logprobs"]]
    assert found == pytest.approx(whole["token_logprobs"], abs=1e-3)


def test_zero_logprobs_reports_the_chosen_token_only(llm: Llama) -> None:
    logprobs = llm(CAPITAL, max_tokens=2, temperature=0, logprobs=0)["choices"][0]["logprobs"]
    assert len(logprobs["tokens"]) == 2
    assert [list(top) for top in logprobs["top_logprobs"]] in (
        [[], []],
        [[token] for token in logprobs["tokens"]],
    )


@pytest.mark.parametrize("n", [2, 4, 7])
def test_n_answers_also_more_than_slots(llm: Llama, n: int) -> None:
    assert llm.info.n_parallel == 4
    response = llm(CAPITAL, max_tokens=3, temperature=0, n=n)
    assert [choice["index"] for choice in response["choices"]] == list(range(n))
    assert {choice["text"] for choice in response["choices"]} == {text(response)}
    assert response["usage"]["completion_tokens"] == 3 * n
    assert response["usage"]["prompt_tokens"] == len(llm.tokenize(CAPITAL))
    chunks = list(llm(CAPITAL, max_tokens=3, temperature=0, n=n, stream=True))
    assert {streamed(chunks, i) for i in range(n)} == {text(response)}
    assert sum("usage" in chunk for chunk in chunks) == 1
    assert chunks[-1]["usage"]["completion_tokens"] == 3 * n


def test_n_answers_differ_and_a_seed_repeats_them(llm: Llama) -> None:
    settings: dict[str, Any] = {
        "max_tokens": 12,
        "temperature": 1.5,
        "seed": 7,
        "n": 3,
        "cache_prompt": False,
    }
    first = [c["text"] for c in llm("Once upon a time", **settings)["choices"]]
    again = [c["text"] for c in llm("Once upon a time", **settings)["choices"]]
    assert first == again
    assert len(set(first)) == 3


def test_seed_repeats_and_no_seed_does_not(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 12, "temperature": 1.5}
    assert text(llm("My", **settings, seed=3)) == text(llm("My", **settings, seed=3))
    assert text(llm("My", **settings, seed=3)) != text(llm("My", **settings, seed=4))
    assert len({text(llm("My", **settings)) for _ in range(4)}) > 1


EMOJI = "Repeat: 😀🎉漢字한국어 😀🎉漢字한국어 😀🎉漢字한국어 😀🎉"


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 4, 5, 7, 11])
def test_characters_split_over_tokens_come_whole(llm: Llama, max_tokens: int) -> None:
    settings: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0}
    whole = text(llm(EMOJI, **settings))
    pieces = [chunk["choices"][0]["text"] for chunk in llm(EMOJI, **settings, stream=True)]
    assert "".join(pieces) == whole
    assert not any("�" in piece for piece in pieces)
    assert whole in text(llm(EMOJI, max_tokens=max_tokens + 4, temperature=0))


def test_characters_come_back(llm: Llama) -> None:
    assert text(llm(EMOJI, max_tokens=12, temperature=0)).startswith("漢字한")


def test_generation_stops_where_the_context_ends(smollm2_path: Any) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as small:
        response = small("word " * 220, max_tokens=None, temperature=0, ignore_eos=True)
        assert response["choices"][0]["finish_reason"] == "length"
        assert response["usage"]["total_tokens"] in (255, 256, 257)
        with pytest.raises(ContextOverflowError) as caught:
            small("word " * 300, max_tokens=1)
        assert caught.value.n_prompt_tokens == len(small.tokenize("word " * 300))
        assert caught.value.n_ctx == 256
        assert caught.value.parameter == "prompt"
        assert "256" in str(caught.value)
        longest = small.tokenize("word " * 300)[:255]
        assert small(longest, max_tokens=5, temperature=0)["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(
    ("prompt", "parameter"),
    [
        ("a\0b", "prompt"),
        ("a\ud800b", "prompt"),
        (None, "prompt"),
        (5, "prompt"),
        (b"bytes", "prompt"),
        (["text"], "prompt"),
        ([1, -1], "prompt[1]"),
        ([49152], "prompt[0]"),
        ([1.5], "prompt"),
    ],
)
def test_prompts_that_cannot_work(llm: Llama, prompt: Any, parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        llm(prompt, max_tokens=1)
    assert caught.value.parameter == parameter
    assert parameter in str(caught.value)


@pytest.mark.parametrize("prompt", ["", []])
def test_an_empty_prompt_begins_with_bos(llm: Llama, prompt: Any) -> None:
    response = llm(prompt, max_tokens=3, temperature=0)
    assert response["usage"]["prompt_tokens"] == 1
    assert response["usage"]["completion_tokens"] == 3


def test_logit_bias_bans_and_forces(llm: Llama) -> None:
    paris = llm.tokenize(" Paris")
    assert len(paris) == 1
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logit_bias={paris[0]: float("-inf")})) != " Paris"
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logit_bias={paris[0]: -100})) != " Paris"
    rome = llm.tokenize(" Rome")[0]
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logit_bias={str(rome): 100.0})) == " Rome"


def test_grammar_constrains(llm: Llama) -> None:
    answer = text(llm("Is the sky blue?", max_tokens=5, grammar='root ::= "yes" | "no"'))
    assert answer in ("yes", "no")


def test_model_name_is_reported(llm: Llama) -> None:
    assert llm(CAPITAL, max_tokens=1, model="mine")["model"] == "mine"
