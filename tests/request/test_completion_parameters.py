"""Every parameter of create_completion changes the output of the real model as it should."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from llamacpp_core import InvalidParameterError, Llama, UnsupportedCapabilityError
from llamacpp_core.grammar import LlamaGrammar
from llamacpp_core.llama.completion import prepare_completion

CAPITAL = "The capital of France is"
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,"
STORY = "Once upon a time"
# Defaults of llama-cpp-python 0.3.36, in their order.
DEFAULTS: dict[str, Any] = {
    "suffix": None,
    "max_tokens": 16,
    "temperature": 0.8,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "logprobs": None,
    "echo": False,
    "stop": None,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repeat_penalty": 1.0,
    "top_k": 40,
    "stream": False,
    "seed": None,
    "tfs_z": 1.0,
    "mirostat_mode": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "model": None,
    "stopping_criteria": None,
    "logits_processor": None,
    "grammar": None,
    "logit_bias": None,
}


def text(response: Any, index: int = 0) -> str:
    return str(response["choices"][index]["text"])


def n_distinct(llm: Llama, prompt: str = STORY, n: int = 6, **parameters: Any) -> int:
    """How many different texts some seeds give."""
    settings: dict[str, Any] = {"max_tokens": 6, "temperature": 1.0, **parameters}
    return len({text(llm(prompt, seed=seed, **settings)) for seed in range(n)})


def test_the_defaults_are_those_of_llama_cpp_python() -> None:
    parameters = list(inspect.signature(Llama.create_completion).parameters.values())[2:]
    named = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert list(named)[: len(DEFAULTS)] == list(DEFAULTS)
    assert {name: named[name] for name in DEFAULTS} == DEFAULTS


def test_positional_arguments_work_as_there(llm: Llama) -> None:
    assert text(llm.create_completion(CAPITAL, None, 2, 0.0)) == text(
        llm(CAPITAL, max_tokens=2, temperature=0.0)
    )
    assert llm.create_completion(CAPITAL, None, 2)["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("max_tokens", [None, 0, -1, -7])
def test_max_tokens_without_a_limit_goes_to_the_end_of_the_context(
    smollm2_path: Any, max_tokens: Any
) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as small:
        response = small(COUNT, max_tokens=max_tokens, temperature=0, ignore_eos=True)
        assert response["choices"][0]["finish_reason"] == "length"
        assert response["usage"]["total_tokens"] >= 255


def test_max_tokens_default_is_16(llm: Llama) -> None:
    assert llm(COUNT, temperature=0)["usage"]["completion_tokens"] == 16


def test_temperature(llm: Llama) -> None:
    assert n_distinct(llm, temperature=0.0) == 1
    assert n_distinct(llm, temperature=2.0, top_k=0, min_p=0.0, top_p=1.0) > 4


@pytest.mark.parametrize(
    "narrow",
    [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"typical_p": 1e-6}, {"top_n_sigma": 1e-6}],
    ids=lambda given: next(iter(given)),
)
def test_each_truncation_leaves_one_choice_at_its_extreme(llm: Llama, narrow: dict[str, float]) -> None:
    open_settings: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert n_distinct(llm, **open_settings) > 1
    assert n_distinct(llm, **{**open_settings, **narrow}) == 1


def test_top_p_and_min_p_act_between_their_extremes(llm: Llama) -> None:
    likely = llm(STORY, max_tokens=1, temperature=0, logprobs=5)["choices"][0]["logprobs"]["top_logprobs"][0]
    first, second = sorted(likely.values(), reverse=True)[:2]
    assert n_distinct(llm, max_tokens=1, n=20, top_p=math.exp(first) - 0.01, min_p=0.0) == 1
    assert n_distinct(llm, max_tokens=1, n=20, min_p=math.exp(second - first) + 0.01, top_p=1.0) == 1


def test_seed_repeats(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 8, "temperature": 1.5}
    assert text(llm(STORY, seed=11, **settings)) == text(llm(STORY, seed=11, **settings))
    assert n_distinct(llm, max_tokens=8, temperature=1.5) > 1


def test_stop(llm: Llama) -> None:
    assert text(llm(COUNT, temperature=0, max_tokens=20, stop=" 14")) == " 12, 13,"
    assert text(llm(COUNT, temperature=0, max_tokens=20, stop=[" 13", " 14"])) == " 12,"


def test_stop_as_an_empty_list_is_llama_cpp_pythons_default(llm: Llama) -> None:
    assert text(llm(COUNT, temperature=0, stop=[])) == text(llm(COUNT, temperature=0))


REPEATING = "x x x x x x x x x x x x"


def n_tokens_used(llm: Llama, **parameters: Any) -> int:
    """How many different tokens a greedy answer to a repeating prompt has, of 16."""
    return len(set(llm.tokenize(text(llm(REPEATING, max_tokens=16, temperature=0, **parameters)).encode())))


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty", "repeat_penalty"])
def test_penalties_make_repetition_rarer(llm: Llama, name: str) -> None:
    assert n_tokens_used(llm) <= 2
    assert n_tokens_used(llm, **{name: 2.0}) > 10
    assert n_tokens_used(llm, **{name: 2.0}, repeat_last_n=0) <= 2


@pytest.mark.parametrize("mode", [1, 2])
def test_mirostat_steers_surprise(llm: Llama, mode: int) -> None:
    def surprise(tau: float) -> float:
        values: list[float] = []
        for seed in range(3):
            settings: dict[str, Any] = {
                "mirostat_mode": mode,
                "mirostat_tau": tau,
                "mirostat_eta": 0.3,
                "seed": seed,
            }
            response = llm(STORY, max_tokens=40, temperature=1.0, logprobs=0, **settings)
            values += response["choices"][0]["logprobs"]["token_logprobs"]
        return -sum(values) / len(values)

    assert surprise(0.5) + 0.5 < surprise(8.0)


def test_mirostat_eta_is_used(llm: Llama) -> None:
    settings: dict[str, Any] = {"mirostat_mode": 2, "max_tokens": 40, "temperature": 1.0, "seed": 5}
    assert text(llm(STORY, **settings, mirostat_eta=0.0)) != text(llm(STORY, **settings, mirostat_eta=1.0))


def test_tfs_z_is_accepted_at_its_neutral_value_only(llm: Llama) -> None:
    assert text(llm(CAPITAL, max_tokens=2, temperature=0, tfs_z=1.0)) == " Paris."
    with pytest.raises(InvalidParameterError, match="tail-free") as caught:
        llm(CAPITAL, tfs_z=0.5)
    assert caught.value.parameter == "tfs_z"


def test_model_is_the_name_in_the_response(llm: Llama) -> None:
    assert llm(CAPITAL, max_tokens=1, model="gpt-0")["model"] == "gpt-0"


def test_echo_puts_the_prompt_first(llm: Llama) -> None:
    plain = text(llm(CAPITAL, max_tokens=3, temperature=0))
    assert text(llm(CAPITAL, max_tokens=3, temperature=0, echo=True)) == CAPITAL + plain
    chunks = llm(CAPITAL, max_tokens=3, temperature=0, echo=True, stream=True)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == CAPITAL + plain


def test_logprobs_hold_the_chosen_token_beside_the_likeliest(llm: Llama) -> None:
    logprobs = llm(CAPITAL, max_tokens=3, temperature=2.0, seed=1, top_k=0, logprobs=2)["choices"][0][
        "logprobs"
    ]
    for token, value, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert top[token] == value
        assert 2 <= len(top) <= 3
    assert logprobs["text_offset"][0] == len(CAPITAL)


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_with_echo_tell_of_the_prompt(llm: Llama, stream: bool) -> None:
    settings: dict[str, Any] = {"max_tokens": 2, "temperature": 0, "logprobs": 1, "echo": True}
    if stream:
        parts = [c["choices"][0]["logprobs"] for c in llm(CAPITAL, stream=True, **settings)]
        found = {key: [v for part in parts if part for v in part[key]] for key in parts[0]}
    else:
        found = llm(CAPITAL, **settings)["choices"][0]["logprobs"]
    assert found["tokens"] == ["The", " capital", " of", " France", " is", " Paris", "."]
    assert found["token_logprobs"][0] is None
    assert found["top_logprobs"][0] is None
    assert all(value < 0 for value in found["token_logprobs"][1:])
    assert found["text_offset"] == [0, 3, 11, 14, 21, 24, 30]
    # the answer's own are those of the engine
    plain = llm(CAPITAL, max_tokens=2, temperature=0, logprobs=1)["choices"][0]["logprobs"]
    assert found["token_logprobs"][5:] == pytest.approx(plain["token_logprobs"], abs=0.01)


def test_logit_bias(llm: Llama) -> None:
    rome, paris = llm.tokenize(b" Rome")[0], llm.tokenize(b" Paris")[0]
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logit_bias={rome: 50.0})) == " Rome"
    assert text(llm(CAPITAL, max_tokens=1, temperature=0, logit_bias={str(paris): -math.inf})) != " Paris"


@pytest.mark.parametrize("make", [str, LlamaGrammar.from_string], ids=["text", "object"])
def test_grammar(llm: Llama, make: Callable[[str], Any]) -> None:
    assert text(llm(CAPITAL, max_tokens=8, grammar=make('root ::= " Lyon" | " Nice"'))) in (" Lyon", " Nice")


def test_suffix_needs_tokens_for_filling_in(llm: Llama) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="filling in the middle") as caught:
        llm("def f(", suffix="): pass")
    assert caught.value.parameter == "suffix"


FIM = {f"tokenizer.ggml.fim_{name}_token_id": 5 + i for i, name in enumerate(("pre", "suf", "mid"))}


@pytest.mark.parametrize("suffix_first", [False, True])
def test_suffix_goes_around_the_place_to_fill_in(smollm2_path: Any, suffix_first: bool) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, kv_overrides=FIM, spm_infill=suffix_first) as llm:
        before, after = llm.tokenize(b"def f("), llm.tokenize(b"): return 1 <|im_end|>")
        assert 2 not in after  # the text of a suffix is text
        prepared = prepare_completion(llm, "def f(", {"suffix": "): return 1 <|im_end|>"})
        parts = [[5, *before], [6, *after]]
        expected = [*parts[1], *parts[0], 7] if suffix_first else [*parts[0], *parts[1], 7]
        assert prepared.plan.tokens() == expected
        # and it is this prompt that the model answers
        filled = text(llm("def f(", suffix="): return 1 <|im_end|>", max_tokens=6, temperature=0))
        assert filled == text(llm(expected, max_tokens=6, temperature=0))


def test_n_gives_several_answers(llm: Llama) -> None:
    response = llm(STORY, max_tokens=6, temperature=1.5, n=3, seed=2)
    assert [choice["index"] for choice in response["choices"]] == [0, 1, 2]
    assert len({choice["text"] for choice in response["choices"]}) == 3


def test_best_of_keeps_the_likeliest(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 6, "temperature": 1.5, "seed": 2, "logprobs": 0}
    everything = llm(STORY, n=4, **settings)
    means = {c["text"]: float(np.mean(c["logprobs"]["token_logprobs"])) for c in everything["choices"]}
    best = llm(STORY, best_of=4, n=2, **settings)
    assert [choice["text"] for choice in best["choices"]] == sorted(means, key=lambda t: -means[t])[:2]
    assert [choice["index"] for choice in best["choices"]] == [0, 1]
    assert best["usage"]["completion_tokens"] == everything["usage"]["completion_tokens"]
    assert "logprobs" in best["choices"][0]
    assert llm(STORY, best_of=2, max_tokens=2)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"best_of": 0}, "best_of"),
        ({"n": 0}, "n"),
        ({"echo": "yes"}, "echo"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"typical_p": 2}, "typical_p"),
        ({"top_k": "many"}, "top_k"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"presence_penalty": math.inf}, "presence_penalty"),
        ({"frequency_penalty": "high"}, "frequency_penalty"),
        ({"mirostat_mode": 3}, "mirostat_mode"),
        ({"mirostat_tau": -1}, "mirostat_tau"),
        ({"mirostat_eta": -1}, "mirostat_eta"),
        ({"seed": -2}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"stream": 1}, "stream"),
        ({"model": 5}, "model"),
        ({"suffix": 5}, "suffix"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {49152: 1.0}}, "logit_bias"),
        ({"grammar": 'root ::= "'}, None),
        ({"grammar": 5}, "grammar"),
        ({"logits_processor": 5}, "logits_processor[0]"),
        ({"stopping_criteria": [5]}, "stopping_criteria[0]"),
        ({"stream_options": {"usage": True}}, "stream_options"),
        ({"lora": {0: 1.0}}, "lora"),
        ({"temprature": 1}, "temprature"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_values_name_the_parameter(llm: Llama, parameters: dict[str, Any], name: str | None) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        llm(CAPITAL, **{"max_tokens": 1, **parameters})
    if name is not None:
        assert caught.value.parameter == name
        assert name in str(caught.value)


async def test_the_async_twin_takes_the_same(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 4, "temperature": 0, "echo": True, "stop": [","], "logprobs": 1}
    assert (await llm.acreate_completion(CAPITAL, **settings))["choices"] == llm(CAPITAL, **settings)[
        "choices"
    ]
    assert (await llm.acreate_completion(COUNT, temperature=0))["usage"]["completion_tokens"] == 16
