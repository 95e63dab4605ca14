"""Every parameter of a generation: what is accepted, what is refused and by which name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_core.request.sampling import EXTRA_FIELDS, SAMPLER_NAMES, sampling_fields

NAN, INF = math.nan, math.inf
NOT_NUMBERS: tuple[Any, ...] = (NAN, INF, -INF, "1", True, [1], {}, ...)
NOT_WHOLE: tuple[Any, ...] = (1.5, NAN, "1", True, [1], 2**40)

# name: values that work, values that cannot
TABLE: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "temperature": ((0, 0.0, 1, 5.5), (-0.1, *NOT_NUMBERS)),
    "top_p": ((0.0, 0.5, 1), (-0.01, 1.01, *NOT_NUMBERS)),
    "min_p": ((0.0, 0.5, 1), (-0.01, 1.01, *NOT_NUMBERS)),
    "typical_p": ((0.1, 1), (-0.01, 1.01, *NOT_NUMBERS)),
    "top_k": ((0, 1, 40, 10**6, -1), NOT_WHOLE),
    "repeat_penalty": ((0.5, 1, 1.5), (0, -1, *NOT_NUMBERS)),
    "presence_penalty": ((-2, 0, 2), NOT_NUMBERS),
    "frequency_penalty": ((-2, 0, 2), NOT_NUMBERS),
    "mirostat_mode": ((0, 1, 2), (9, -1, "1", True, 1.5, [1])),
    "mirostat_tau": ((0, 5.0), (-1, *NOT_NUMBERS)),
    "mirostat_eta": ((0, 0.1), (-1, *NOT_NUMBERS)),
    "tfs_z": ((1, 1.0), (0.5, 0, *NOT_NUMBERS)),
    "seed": ((0, 7, -1, 2**32 - 1), (-2, 2**32, 1.5, "1", True)),
    "max_tokens": ((1, 3), NOT_WHOLE),
    "n": ((1, 2), (0, -1, 1025, *NOT_WHOLE)),
    "stop": (("x", ["x", "y"], (), []), ("", [""], ["x", 5], 5, {"x": 1}, ["a\0"], ["\ud800"])),
    "logit_bias": (
        ({}, {5: 1.0}, {"5": -1}, {5: -INF}, {5: False}),
        (
            *([], "x", {-1: 1}, {10**6: 1}, {"a": 1}, {5: NAN}, {5: "x"}, {5: True}, {None: 1}),
            *({5.7: 1}, {True: 1}, {INF: 1}, {b"5": 1}, {"5": 1, 5: 2}, {5: 1e300}, {5: np.ones(2)}),
        ),
    ),
    "repeat_last_n": ((0, 64), (-2, 2**31 - 1, *NOT_WHOLE)),
    "dynatemp_range": ((0, 0.5), (-1, *NOT_NUMBERS)),
    "dynatemp_exponent": ((1, 0.5), (0, -1, *NOT_NUMBERS)),
    "xtc_probability": ((0, 0.5), (-0.1, 1.1, *NOT_NUMBERS)),
    "xtc_threshold": ((0, 0.5), (-0.1, 1.1, *NOT_NUMBERS)),
    "top_n_sigma": ((-1, 1.0), NOT_NUMBERS),
    "dry_multiplier": ((0, 0.8), (-1, *NOT_NUMBERS)),
    "dry_base": ((1, 1.75), (0.5, *NOT_NUMBERS)),
    "dry_allowed_length": ((0, 2), (-1, *NOT_WHOLE)),
    "dry_penalty_last_n": ((0, 64), (-2, 2**31 - 1, *NOT_WHOLE)),
    "dry_sequence_breakers": ((["\n"], ["a", "b"]), ([], "x", [5], ["\0"], [""], ["é" * 21])),
    "adaptive_target": ((-1, 0.5), (2, *NOT_NUMBERS)),
    "adaptive_decay": ((0, 0.9), (-1, 1, *NOT_NUMBERS)),
    "min_keep": ((0, 1), (-1, *NOT_WHOLE)),
    "samplers": (
        (["top_k", "temperature"], ["top_k", *SAMPLER_NAMES]),
        (["top_z"], "top_k", [5], {"top_k": 1}, ["infill"], ["temperature", "infill", "top_k"]),
    ),
    "ignore_eos": ((True, False), (1, "yes", [True])),
    "cache_prompt": ((True, False), (1, "yes")),
    "deterministic": ((True, False), (1, "yes")),
    "n_keep": ((-1, 0, 5), (-2, *NOT_WHOLE)),
    "n_indent": ((0, 2), (-1, *NOT_WHOLE)),
    "t_max_predict_ms": ((-1, 0, 10_000), (-2, *NOT_WHOLE)),
    "post_sampling_probs": ((True, False), (1, "yes")),
    "return_progress": ((True, False), (1, "yes")),
    "lora": (({},), ({0: 1.0}, [], "x", {"a": 1})),
}
GOOD = [(name, value) for name, (good, _) in TABLE.items() for value in good]
BAD = [(name, value) for name, (_, bad) in TABLE.items() for value in bad]


def test_the_table_names_every_field() -> None:
    assert set(EXTRA_FIELDS) <= set(TABLE)


@pytest.mark.parametrize(("name", "value"), GOOD, ids=repr)
def test_accepted(name: str, value: Any) -> None:
    sampling_fields({name: value}, n_vocab=1000)


@pytest.mark.parametrize(("name", "value"), BAD, ids=repr)
def test_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        sampling_fields({name: value}, n_vocab=1000)
    message = str(caught.value)
    assert name.removesuffix("s") in message, message
    assert len(message) < 400
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_none_stands_for_the_default(name: str) -> None:
    assert sampling_fields({name: None}, n_vocab=1000) == {}


ODD_NUMBERS = (np.ones(2), np.bool_(True), np.complex64(1), np.array("1"), b"1", float, 10**400)


@pytest.mark.parametrize("value", [*ODD_NUMBERS, np.array([3]), int], ids=repr)
@pytest.mark.parametrize("name", ["temperature", "top_k"])
def test_what_only_looks_like_a_number(name: str, value: Any) -> None:
    if name == "temperature" and value is int:
        value = complex(1)
    with pytest.raises(InvalidParameterError, match=name):
        sampling_fields({name: value}, n_vocab=10)


def test_a_bias_that_leaves_no_token() -> None:
    with pytest.raises(InvalidParameterError, match="bans every token"):
        sampling_fields({"logit_bias": dict.fromkeys(range(10), -INF)}, n_vocab=10)
    fields = sampling_fields({"logit_bias": {3: np.float32(-INF), "4": np.float64(2)}}, n_vocab=10)
    assert fields == {"logit_bias": [[3, False], [4, 2.0]]}


def test_mirostat_aims_at_some_surprise() -> None:
    with pytest.raises(InvalidParameterError, match="mirostat_tau"):
        sampling_fields({"mirostat_mode": 2, "mirostat_tau": 0}, n_vocab=10)


def test_numpy_numbers_are_numbers() -> None:
    fields = sampling_fields(
        {"temperature": np.float32(0.5), "top_k": np.int64(5), "seed": np.uint32(3)}, n_vocab=10
    )
    assert fields == {"temperature": 0.5, "top_k": 5, "seed": 3}
    assert [type(value) for value in fields.values()] == [float, int, int]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("temprature", "temperature"), ("topk", "top_k"), ("max_token", "max_tokens"), ("stops", "stop")],
)
def test_an_unknown_name_is_refused_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"did you mean.*{right}") as caught:
        sampling_fields({wrong: 1}, n_vocab=10)
    assert caught.value.parameter == wrong


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("mirostat_mode", 9),
        ("samplers", ["nope"]),
        ("stop", ""),
        ("logit_bias", {10**6: 1}),
        ("logprobs", -1),
        ("logprobs", 1000),
        ("echo", "yes"),
        ("stream", 1),
        ("n", 0),
        ("grammar", ""),
        ("colour", "red"),
    ],
)
def test_public_methods_refuse(llm: Llama, name: str, value: Any, stream: bool) -> None:
    arguments = {"stream": stream, name: value}
    with pytest.raises(InvalidParameterError, match=name):
        llm.create_completion("Hi", **arguments)
    with pytest.raises(InvalidParameterError, match=name):
        llm("Hi", **arguments)


@pytest.mark.parametrize(("name", "value"), [("temperature", -1), ("colour", "red"), ("stop", [""])])
async def test_async_methods_refuse(llm: Llama, name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        await llm.acreate_completion("Hi", **{name: value})
    with pytest.raises(InvalidParameterError, match=name):
        await llm.acreate_chat_completion([{"role": "user", "content": "Hi"}], **{name: value})


def test_every_field_reaches_the_engine_and_is_taken(llm: Llama) -> None:
    """The engine itself refuses none of the values that the table calls good."""
    left_out = {"n", "lora", "ignore_eos", "max_tokens"}
    if not llm.info.prompt_cache.shares_prefixes:  # llama.cpp was compiled without our changes
        left_out.add("deterministic")
    for name, value in GOOD:
        if name in left_out:
            continue
        llm("Hi", max_tokens=1, **{name: value})


def test_effects_of_single_fields(llm: Llama) -> None:
    def first(**settings: Any) -> str:
        return str(llm("The capital of France is", max_tokens=1, **settings)["choices"][0]["text"])

    assert {first(temperature=2.0, top_k=1) for _ in range(4)} == {" Paris"}
    assert {first(temperature=2.0, min_p=0.9) for _ in range(4)} == {" Paris"}
    assert {first(temperature=1.0, top_p=0.05) for _ in range(4)} == {" Paris"}
    repeated = "a b a b a b a b a b a b a"
    plain = llm(repeated, max_tokens=8, temperature=0)["choices"][0]["text"]
    penalised = llm(repeated, max_tokens=8, temperature=0, repeat_penalty=3.0)["choices"][0]["text"]
    assert penalised != plain


def test_a_time_limit_ends_a_generation(llm: Llama) -> None:
    response = llm("1\n2\n3\n4\n", max_tokens=1500, temperature=0, ignore_eos=True, t_max_predict_ms=50)
    assert response["usage"]["completion_tokens"] < 1500


def test_progress_of_a_long_prompt_is_reported_when_asked_for(llm: Llama) -> None:
    ids = llm.tokenize("word " * 600)
    settings: dict[str, Any] = {"max_tokens": 1, "stream": True, "cache_prompt": False}
    assert not any("prompt_progress" in chunk for chunk in llm(ids[:50], **settings))
    steps = [
        chunk["prompt_progress"]
        for chunk in llm(ids, **settings, return_progress=True)
        if "prompt_progress" in chunk
    ]
    assert [step["total"] for step in steps] == [len(ids)] * len(steps)
    assert [step["processed"] for step in steps] == sorted(step["processed"] for step in steps)
    assert steps[-1]["processed"] == len(ids)
