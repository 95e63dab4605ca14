"""Handlers: what they ask of the model, and what they make of its text.

The model here is scripted; it records the calls of ``tokenize`` and ``create_completion``.
"""

from __future__ import annotations

from typing import Any

import pytest
from chat_format.scripted import (
    FORCE,
    HI,
    NOW,
    TOOLS,
    USAGE,
    WEATHER,
    ScriptedLlama,
    ask,
    ask_streamed,
    deltas_of,
)

from llamacpp_core.chat_format import (
    ChatFormatterResponse,
    Jinja2ChatFormatter,
    chat_formatter_to_chat_completion_handler,
    get_chat_completion_handler,
    hf_tokenizer_config_to_chat_completion_handler,
    hf_tokenizer_config_to_chat_formatter,
)
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.grammar import LlamaGrammar


def test_an_answer() -> None:
    llama = ScriptedLlama("Hel", "lo")
    assert ask(llama, max_tokens=9, stop="END") == {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": USAGE,
    }
    assert llama.prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert llama.add_bos is True
    assert llama.asked == {
        "temperature": 0.2,
        "top_p": 0.95,
        "top_k": 40,
        "min_p": 0.05,
        "typical_p": 1.0,
        "stop": ["END", "<|im_end|>", "<|im_start|>"],
        "max_tokens": 9,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repeat_penalty": 1.0,
        "tfs_z": 1.0,
        "mirostat_mode": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
    }


def test_no_second_bos_where_the_template_writes_it() -> None:
    llama = ScriptedLlama("x")
    ask(llama, "llama-2")
    assert (llama.prompt, llama.add_bos) == ("<s>[INST] Hi [/INST]", False)


def test_parameters_of_the_model_are_passed_on() -> None:
    llama = ScriptedLlama("x")
    bias = {3: 1.0}
    ask(llama, seed=4, model="name", logit_bias=bias, n=1, repeat_last_n=7, grammar="root ::= [a]")
    given = {
        key: llama.asked[key] for key in ("seed", "model", "logit_bias", "n", "repeat_last_n", "grammar")
    }
    assert given == {
        "seed": 4,
        "model": "name",
        "logit_bias": bias,
        "n": 1,
        "repeat_last_n": 7,
        "grammar": "root ::= [a]",
    }


def test_a_stream() -> None:
    chunks = ask_streamed(ScriptedLlama("Hel", "lo"))
    assert deltas_of(chunks) == [
        {"role": "assistant", "content": ""},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert [chunk.get("usage") for chunk in chunks] == [None, None, None, USAGE]
    assert {(chunk["id"], chunk["created"]) for chunk in chunks} == {("chatcmpl-7", 1700000000)}


def test_text_in_the_last_chunk_is_not_lost() -> None:
    llama = ScriptedLlama()
    llama.create_completion = lambda **_: iter([llama._answer("Hello", "stop")])  # type: ignore[method-assign]
    assert deltas_of(ask_streamed(llama)) == [{"role": "assistant", "content": ""}, {"content": "Hello"}, {}]


def test_a_last_chunk_with_usage_only() -> None:
    llama = ScriptedLlama()
    end = llama._answer("", None) | {"choices": [], "usage": USAGE}
    llama.create_completion = lambda **_: iter([llama._answer("Hello", "stop"), end])  # type: ignore[method-assign]
    last = ask_streamed(llama, stream_options={"include_usage": True})[-1]
    assert (last["choices"], last["usage"]) == ([], USAGE)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_closing_a_stream_closes_the_generation(taken: int) -> None:
    llama = ScriptedLlama("a", "b", "c")
    stream: Any = get_chat_completion_handler("chatml")(llama=llama, messages=HI, stream=True)
    with stream:
        for _ in range(taken):
            next(stream)
        assert not llama.chunks.closed
    assert llama.chunks.closed
    stream.close()
    assert list(stream) == []


def test_several_choices() -> None:
    llama = ScriptedLlama()
    answer = llama._answer("A", "stop") | {"usage": USAGE}
    answer["choices"].append({"text": "B", "index": 1, "logprobs": None, "finish_reason": "length"})
    llama.create_completion = lambda **_: answer  # type: ignore[method-assign]
    choices = ask(llama, n=2)["choices"]
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in choices] == [
        (0, "A", "stop"),
        (1, "B", "length"),
    ]


LOGPROBS = {
    "tokens": ["é", "\N{REPLACEMENT CHARACTER}"],
    "token_logprobs": [-0.5, -1.5],
    "top_logprobs": [{"é": -0.5, "x": -2.0}, None],
    "text_offset": [0, 1],
}


@pytest.mark.parametrize(("asked", "passed"), [({}, 0), ({"top_logprobs": 2}, 2)])
def test_logprobs(asked: dict[str, Any], passed: int) -> None:
    llama = ScriptedLlama("é?", logprobs=LOGPROBS)
    answer = ask(llama, logprobs=True, **asked)
    assert llama.asked["logprobs"] == passed
    first, second = answer["choices"][0]["logprobs"]["content"]
    assert (first["token"], first["logprob"], first["bytes"]) == ("é", -0.5, [0xC3, 0xA9])
    assert [top["token"] for top in first["top_logprobs"]] == ["é", "x"]
    assert (second["bytes"], second["top_logprobs"]) == (None, [])
    streamed = ask_streamed(ScriptedLlama("é?", logprobs=LOGPROBS), logprobs=True)
    assert [c["choices"][0]["logprobs"] for c in streamed if c["choices"][0]["logprobs"]] == [
        answer["choices"][0]["logprobs"]
    ]


def test_top_logprobs_need_logprobs() -> None:
    with pytest.raises(InvalidParameterError, match="top_logprobs needs logprobs=True"):
        ask(ScriptedLlama("x"), top_logprobs=2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "nope"}}}, "'nope', which is not among tools"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice must be 'auto'"),
        ({"tool_choice": "required"}, "tool_choice needs tools"),
        ({"tools": TOOLS, "functions": [NOW]}, "cannot be given together"),
        ({"tools": TOOLS, "function_call": "auto"}, "function_call goes with the other form"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": [{"type": "function"}]}, r"tools\[0\] must declare a function"),
        ({"tools": [*TOOLS, TOOLS[0]]}, r"tools\[2\]: a function named 'get_weather' came before"),
        ({"functions": [{"name": "f", "parameters": "x"}]}, r"functions\[0\]: the parameters of 'f'"),
        ({"tools": TOOLS, "tool_choice": FORCE, "grammar": "root ::= [a]"}, "combined with a forced tool"),
        (
            {"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"},
            "combined with response_format",
        ),
        ({"response_format": {"type": "yaml"}}, "response_format must be"),
        ({"response_format": {"type": "json_schema"}}, "response_format must be"),
        ({"stop": [""]}, "stop must hold texts"),
        ({"stop": [3]}, "stop must hold texts"),
        ({"tools": TOOLS, "parallel_tool_calls": False}, "parallel_tool_calls"),
    ],
)
def test_a_request_that_cannot_work_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        ask(ScriptedLlama("x"), **params)


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_object", "schema": WEATHER["parameters"]},
        {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER["parameters"]}},
    ],
)
def test_a_response_format_becomes_a_grammar(response_format: dict[str, Any]) -> None:
    llama = ScriptedLlama("{}")
    ask(llama, response_format=response_format)
    assert isinstance(llama.asked["grammar"], LlamaGrammar)


def test_plain_text_needs_no_grammar() -> None:
    llama = ScriptedLlama("x")
    ask(llama, response_format={"type": "text"})
    assert "grammar" not in llama.asked


def test_a_formatter_of_ones_own() -> None:
    seen: dict[str, Any] = {}

    def formatter(*, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        seen.update(kwargs)
        return ChatFormatterResponse(
            prompt=f"Q: {messages[0]['content']}\nA:",
            stop="\n",
            stopping_criteria=lambda *_: True,
        )

    llama = ScriptedLlama(" Yes")
    handler = chat_formatter_to_chat_completion_handler(formatter)
    handler(
        llama=llama,
        messages=HI,
        tools=TOOLS,
        tool_choice="auto",
        chat_template_kwargs={"enable_thinking": False},
        reasoning_effort="low",
    )
    assert llama.prompt == "Q: Hi\nA:"
    assert llama.add_bos is True
    assert llama.asked["stop"] == ["\n"]
    assert llama.asked["stopping_criteria"](None, None)
    assert seen == {
        "functions": None,
        "function_call": None,
        "tools": TOOLS,
        "tool_choice": "auto",
        "enable_thinking": False,
        "reasoning_effort": "low",
    }


def test_a_handler_of_a_template() -> None:
    formatter = Jinja2ChatFormatter("{{ bos_token }}{{ messages[0].content }}", "</s>", "<s>", [2])
    llama = ScriptedLlama("Hello")
    answer: Any = formatter.to_chat_handler()(llama=llama, messages=HI)
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert (llama.prompt, llama.add_bos) == ("<s>Hi", False)
    assert llama.asked["stop"] == ["</s>"]
    assert llama.asked["stopping_criteria"]([1, 2], None)


def test_a_formatter_must_be_callable() -> None:
    with pytest.raises(InvalidParameterError, match="chat_formatter must be callable"):
        chat_formatter_to_chat_completion_handler("chatml")  # type: ignore[arg-type]


def test_a_tokenizer_config() -> None:
    config = {
        "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
        "bos_token": None,
        "eos_token": {"content": "<end>", "special": True},
    }
    formatted = hf_tokenizer_config_to_chat_formatter(config)(messages=HI)
    assert (formatted.prompt, formatted.stop) == ("Hi<end>", ["<end>"])
    llama = ScriptedLlama("x")
    hf_tokenizer_config_to_chat_completion_handler(config)(llama=llama, messages=HI)
    assert llama.prompt == "Hi<end>"
    with pytest.raises(InvalidParameterError, match="no text for 'chat_template'"):
        hf_tokenizer_config_to_chat_formatter({"eos_token": "x"})
