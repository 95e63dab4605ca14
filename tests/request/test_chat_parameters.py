"""Every parameter of create_chat_completion changes the answer of the real model as it should."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, MissingDependencyError

FRANCE = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "What is the capital of France?"},
]
STORY = [{"role": "user", "content": "Tell me a story."}]
# The seed's defaults, in their order; repeat_penalty is that of llama-cpp-python 0.3.36.
DEFAULTS: dict[str, Any] = {
    "functions": None,
    "function_call": None,
    "tools": None,
    "tool_choice": None,
    "temperature": 0.2,
    "top_p": 0.95,
    "top_k": 40,
    "min_p": 0.05,
    "typical_p": 1.0,
    "stream": False,
    "stop": None,
    "seed": None,
    "response_format": None,
    "max_tokens": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repeat_penalty": 1.0,
    "tfs_z": 1.0,
    "mirostat_mode": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "model": None,
    "logits_processor": None,
    "grammar": None,
    "logit_bias": None,
}
WEATHER = {
    "name": "get_weather",
    "description": "Current weather",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "maxLength": 12}},
        "required": ["location"],
    },
}


def content(response: Any) -> str:
    return str(response["choices"][0]["message"]["content"])


def ask(llm: Llama, messages: Any = FRANCE, **parameters: Any) -> str:
    return content(llm.create_chat_completion(messages, **{"max_tokens": 12, "temperature": 0, **parameters}))


def n_distinct(llm: Llama, **parameters: Any) -> int:
    settings: dict[str, Any] = {"temperature": 1.0, "max_tokens": 10, **parameters}
    return len({ask(llm, STORY, seed=seed, **settings) for seed in range(5)})


def test_the_defaults_are_the_seeds() -> None:
    parameters = list(inspect.signature(Llama.create_chat_completion).parameters.values())[2:]
    named = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert list(named)[: len(DEFAULTS)] == list(DEFAULTS)
    assert {name: named[name] for name in DEFAULTS} == DEFAULTS


def test_temperature_and_seed(llm: Llama) -> None:
    assert n_distinct(llm, temperature=0) == 1
    assert n_distinct(llm, temperature=2.0, min_p=0.0) > 3
    assert ask(llm, STORY, temperature=1.5, seed=4) == ask(llm, STORY, temperature=1.5, seed=4)


@pytest.mark.parametrize(
    "narrow",
    [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"typical_p": 1e-6}],
    ids=lambda given: next(iter(given)),
)
def test_truncation(llm: Llama, narrow: dict[str, float]) -> None:
    open_settings: dict[str, Any] = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert n_distinct(llm, **open_settings) > 1
    assert n_distinct(llm, **{**open_settings, **narrow}) == 1


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty", "repeat_penalty"])
def test_penalties_change_the_choice(llm: Llama, name: str) -> None:
    messages = [{"role": "user", "content": "Say: no no no no no no no no"}]
    plain = ask(llm, messages, max_tokens=24)
    assert ask(llm, messages, max_tokens=24, **{name: 2.0}) != plain


@pytest.mark.parametrize("mode", [1, 2])
def test_mirostat(llm: Llama, mode: int) -> None:
    settings: dict[str, Any] = {"temperature": 1.0, "seed": 3, "max_tokens": 24}
    calm = ask(llm, STORY, mirostat_mode=mode, mirostat_tau=0.1, mirostat_eta=0.9, **settings)
    wild = ask(llm, STORY, mirostat_mode=mode, mirostat_tau=9.0, mirostat_eta=0.9, **settings)
    assert calm != wild
    assert n_distinct(llm, mirostat_mode=mode, mirostat_tau=9.0) > 1


def test_tfs_z(llm: Llama) -> None:
    assert "Paris" in ask(llm, tfs_z=1.0)
    with pytest.raises(InvalidParameterError, match="tfs_z"):
        ask(llm, tfs_z=0.9)


def test_stop(llm: Llama) -> None:
    assert ask(llm) == "The capital of France is Paris."
    assert ask(llm, stop="France") == "The capital of "
    assert ask(llm, stop=["Paris", "zzz"]) == "The capital of France is "


def test_stream(llm: Llama) -> None:
    chunks = list(llm.create_chat_completion(FRANCE, temperature=0, stream=True))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks]
    assert "".join(pieces) == "The capital of France is Paris."
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_stream_options(llm: Llama) -> None:
    options = {"include_usage": True}
    chunks = list(llm.create_chat_completion(FRANCE, temperature=0, stream=True, stream_options=options))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("max_tokens", [None, 0, -1])
def test_max_tokens_none_goes_to_the_end_of_the_context(smollm2_path: Any, max_tokens: Any) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as small:
        response = small.create_chat_completion(STORY, max_tokens=max_tokens, ignore_eos=True, temperature=0)
        assert response["choices"][0]["finish_reason"] == "length"
        assert response["usage"]["total_tokens"] >= 255


def test_max_tokens(llm: Llama) -> None:
    response = llm.create_chat_completion(STORY, max_tokens=3)
    assert response["usage"]["completion_tokens"] == 3


def test_response_format(llm: Llama) -> None:
    assert isinstance(json.loads(ask(llm, response_format={"type": "json_object"}, max_tokens=300)), dict)
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
    shaped = ask(
        llm, response_format={"type": "json_schema", "json_schema": {"schema": schema}}, max_tokens=60
    )
    assert json.loads(shaped) in ({"city": "Rome"}, {"city": "Oslo"})
    as_llama_cpp_python = ask(llm, response_format={"type": "json_object", "schema": schema}, max_tokens=60)
    assert json.loads(as_llama_cpp_python) in ({"city": "Rome"}, {"city": "Oslo"})
    assert ask(llm, response_format={"type": "text"}) == ask(llm)


def test_grammar(llm: Llama) -> None:
    assert ask(llm, grammar='root ::= "Oslo" | "Bern"') in ("Oslo", "Bern")


def test_logit_bias(llm: Llama) -> None:
    the = llm.tokenize(b"The")[0]
    assert not ask(llm, logit_bias={the: -100}).startswith("The")
    assert not ask(llm, logit_bias={str(the): float("-inf")}).startswith("The")


def test_logits_processor_and_stopping_criteria(llm: Llama) -> None:
    the = llm.tokenize(b"The")[0]

    def processor(ids: Any, scores: Any) -> Any:
        scores[the] = float("-inf")
        return scores

    assert not ask(llm, logits_processor=processor).startswith("The")
    n_prompt = llm.count_tokens(messages=FRANCE)
    assert ask(llm, stopping_criteria=lambda ids, logits: len(ids) >= n_prompt + 2) == "The capital"


def test_logprobs(llm: Llama) -> None:
    plain = llm.create_chat_completion(FRANCE, max_tokens=4, temperature=0)
    assert plain["choices"][0]["logprobs"] is None
    answer = llm.create_chat_completion(FRANCE, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert "".join(t["token"] for t in tokens) == content(answer)
    assert all(len(t["top_logprobs"]) == 2 and t["logprob"] <= 0 for t in tokens)
    assert all(t["bytes"] == list(t["token"].encode()) for t in tokens)
    with pytest.raises(InvalidParameterError, match="top_logprobs"):
        ask(llm, top_logprobs=2)


def test_n(llm: Llama) -> None:
    response = llm.create_chat_completion(STORY, n=3, temperature=1.5, seed=1, max_tokens=8)
    assert len({choice["message"]["content"] for choice in response["choices"]}) == 3


def test_model(llm: Llama) -> None:
    assert llm.create_chat_completion(FRANCE, max_tokens=1, model="gpt-0")["model"] == "gpt-0"


TOOLS = [{"type": "function", "function": WEATHER}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_tools_and_tool_choice(llm: Llama, choice: Any) -> None:
    response = llm.create_chat_completion(FRANCE, tools=TOOLS, tool_choice=choice, temperature=0)
    assert response["choices"][0]["finish_reason"] == "tool_calls"
    (call,) = response["choices"][0]["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"location"}


def test_tool_choice_none_keeps_the_model_from_calling(llm: Llama) -> None:
    response = llm.create_chat_completion(
        FRANCE, tools=TOOLS, tool_choice="none", temperature=0, max_tokens=12
    )
    assert "tool_calls" not in response["choices"][0]["message"]
    assert content(response)


@pytest.mark.parametrize("stream", [False, True])
def test_functions_and_function_call(llm: Llama, stream: bool) -> None:
    given: dict[str, Any] = {
        "functions": [WEATHER],
        "function_call": {"name": "get_weather"},
        "temperature": 0,
    }
    if stream:
        chunks = list(llm.create_chat_completion(FRANCE, stream=True, **given))
        parts = [c["choices"][0]["delta"].get("function_call") or {} for c in chunks]
        name = "".join(part.get("name") or "" for part in parts)
        arguments = "".join(part.get("arguments") or "" for part in parts)
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        (choice,) = llm.create_chat_completion(FRANCE, **given)["choices"]
        name, arguments = choice["message"]["function_call"].values()
        reason = choice["finish_reason"]
    assert name == "get_weather"
    assert set(json.loads(arguments)) == {"location"}
    assert reason == "function_call"


def test_function_messages_come_back(llm: Llama) -> None:
    called = llm.create_chat_completion(FRANCE, functions=[WEATHER], function_call={"name": "get_weather"})
    messages = [
        *FRANCE,
        called["choices"][0]["message"],
        {"role": "function", "name": "get_weather", "content": "Sunny, 21 degrees."},
    ]
    assert content(
        llm.create_chat_completion(messages, functions=[WEATHER], function_call="none", max_tokens=12)
    )


def test_function_call_none(llm: Llama) -> None:
    given: dict[str, Any] = {
        "functions": [WEATHER],
        "function_call": "none",
        "temperature": 0,
        "max_tokens": 12,
    }
    assert "function_call" not in llm.create_chat_completion(FRANCE, **given)["choices"][0]["message"]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"function_call": "auto"}, "function_call"),
        ({"functions": [WEATHER], "tools": TOOLS}, "functions"),
        ({"functions": [WEATHER], "function_call": "always"}, "function_call"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, "grammar"),
        ({"logprobs": 3}, "logprobs"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
        ({"logits_processor": "no"}, "logits_processor[0]"),
        ({"max_token": 5}, "max_token"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_values_name_the_parameter(llm: Llama, parameters: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ask(llm, **parameters)
    assert caught.value.parameter == name


async def test_the_async_twin_takes_the_same(llm: Llama) -> None:
    settings: dict[str, Any] = {"max_tokens": 5, "temperature": 0, "stop": ["France"], "logprobs": True}
    whole = await llm.acreate_chat_completion(FRANCE, **settings)
    assert whole["choices"] == llm.create_chat_completion(FRANCE, **settings)["choices"]


def test_cached_tokens_are_reported(llm: Llama) -> None:
    long = [{"role": "system", "content": "You know a lot about geography. " * 12}, *FRANCE]
    first = llm.create_chat_completion(long, max_tokens=1)["usage"]
    again = llm.create_chat_completion(long, max_tokens=1)["usage"]
    assert again["prompt_tokens_details"]["cached_tokens"] >= again["prompt_tokens"] - 64
    assert first["prompt_tokens_details"]["cached_tokens"] < 60
    cold = llm.create_chat_completion(long, max_tokens=1, cache_prompt=False)["usage"]
    assert cold["prompt_tokens_details"]["cached_tokens"] == 0


def test_openai_objects(llm: Llama) -> None:
    try:
        import openai.types.chat as shapes
    except ImportError:
        with pytest.raises(MissingDependencyError, match="pip install openai"):
            llm.create_chat_completion_openai_v1(FRANCE, max_tokens=1)
        return
    answer = llm.create_chat_completion_openai_v1(FRANCE, temperature=0)
    assert isinstance(answer, shapes.ChatCompletion)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    chunks = list(llm.create_chat_completion_openai_v1(FRANCE, temperature=0, stream=True))
    assert all(isinstance(chunk, shapes.ChatCompletionChunk) for chunk in chunks)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "The capital of France is Paris."
