"""Handlers: what they ask of the model, and what they make of its text.

The model here is scripted; it records the calls of ``tokenize`` and ``create_completion``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typeddict_check import validate

from llamacpp_core.chat_format import (
    ChatFormatterResponse,
    Jinja2ChatFormatter,
    chat_formatter_to_chat_completion_handler,
    get_chat_completion_handler,
    hf_tokenizer_config_to_chat_completion_handler,
    hf_tokenizer_config_to_chat_formatter,
)
from llamacpp_core.chat_format._tools import plan_tools
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.grammar import LlamaGrammar
from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

HI = [{"role": "user", "content": "Hi"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NOW = {"name": "now", "parameters": {"$ref": "#/$defs/Nothing", "$defs": {"Nothing": {"type": "object"}}}}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": NOW}]
FORCE = {"type": "function", "function": {"name": "get_weather"}}


class Chunks:
    """A stream of the scripted model that knows whether it was closed."""

    def __init__(self, chunks: list[dict[str, Any]]) -> None:
        self._chunks = iter(chunks)
        self.closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._chunks)

    def close(self) -> None:
        self.closed = True


class ScriptedLlama:
    """Answers every prompt with the same pieces of text."""

    def __init__(self, *pieces: str, finish_reason: str = "stop", logprobs: Any = None) -> None:
        self.pieces = pieces
        self.finish_reason = finish_reason
        self.logprobs = logprobs
        self.prompt = ""
        self.add_bos: bool | None = None
        self.asked: dict[str, Any] = {}
        self.chunks = Chunks([])

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        assert special
        self.prompt, self.add_bos = text.decode(), add_bos
        return list(text)

    def create_completion(self, prompt: list[int], stream: bool = False, **asked: Any) -> Any:
        assert bytes(prompt).decode() == self.prompt
        self.asked = asked
        if not stream:
            return self._answer("".join(self.pieces), self.finish_reason) | {"usage": USAGE}
        chunks = [self._answer(piece, None) for piece in self.pieces]
        self.chunks = Chunks([*chunks, self._answer("", self.finish_reason) | {"usage": USAGE}])
        return self.chunks

    def _answer(self, text: str, finish_reason: str | None) -> dict[str, Any]:
        logprobs = self.logprobs if text else None
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish_reason}
        head = {"id": "cmpl-7", "object": "text_completion", "created": 1700000000, "model": "m"}
        return head | {"choices": [choice]}


def ask(llama: ScriptedLlama, name: str = "chatml", **params: Any) -> Any:
    answer: Any = get_chat_completion_handler(name)(llama=llama, messages=HI, **params)
    assert validate(answer, CreateChatCompletionResponse) == []
    return answer


def ask_streamed(llama: ScriptedLlama, name: str = "chatml", **params: Any) -> list[Any]:
    stream: Any = get_chat_completion_handler(name)(llama=llama, messages=HI, stream=True, **params)
    chunks = list(stream)
    for chunk in chunks:
        assert validate(chunk, CreateChatCompletionStreamResponse) == []
    return chunks


def deltas_of(chunks: list[Any]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


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
    ("name", "end_of_prompt"),
    [
        ("chatml", '<|im_start|>assistant\n<tool_call>\n{"name": "get_weather", "arguments": '),
        ("chatml-function-calling", "<|im_start|>assistant\nfunctions.get_weather:\n"),
        ("functionary", "assistant to=functions.get_weather:\n"),
        ("functionary-v1", "assistant:\n<|START_OF_FUNCTION_CALL|>get_weather:\n"),
        ("functionary-v2", "<|recipient|>get_weather\n<|content|>"),
        ("vicuna", "USER: Hi ASSISTANT:"),
    ],
)
def test_a_forced_tool(name: str, end_of_prompt: str) -> None:
    llama = ScriptedLlama('{"city": ', '"Oslo"}')
    (choice,) = ask(llama, name, tools=TOOLS, tool_choice=FORCE)["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["message"]["content"] is None
    assert "function_call" not in choice["message"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert call["id"].startswith("call_")
    assert llama.prompt.endswith(end_of_prompt)
    assert isinstance(llama.asked["grammar"], LlamaGrammar)


def test_a_forced_tool_streamed() -> None:
    chunks = ask_streamed(ScriptedLlama('{"city": ', '"Oslo"}'), "vicuna", tools=TOOLS, tool_choice=FORCE)
    parts = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", ())]
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert [part.get("id") is not None for part in parts] == [True, False, False]
    assert "".join(part["function"]["arguments"] for part in parts) == '{"city": "Oslo"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_forced_call_that_is_cut_off_says_so() -> None:
    (choice,) = ask(ScriptedLlama('{"ci', finish_reason="length"), tools=TOOLS, tool_choice=FORCE)["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"ci'


def test_two_calls_have_two_ids() -> None:
    answers = [ask(ScriptedLlama("{}"), tools=TOOLS, tool_choice=FORCE) for _ in range(2)]
    ids = {answer["choices"][0]["message"]["tool_calls"][0]["id"] for answer in answers}
    assert len(ids) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_one_of_several_tools_is_required(stream: bool) -> None:
    llama = ScriptedLlama('{"name": "now", ', '"arguments": {"zone": "é"}}')
    params: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required"}
    if stream:
        chunks = ask_streamed(llama, **params)
        (call,) = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", ())]
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        (choice,) = ask(llama, **params)["choices"]
        (call,), reason = choice["message"]["tool_calls"], choice["finish_reason"]
    assert call["function"] == {"name": "now", "arguments": '{"zone": "é"}'}
    assert reason == "tool_calls"
    assert llama.prompt.endswith("<|im_start|>assistant\n<tool_call>\n")
    assert isinstance(llama.asked["grammar"], LlamaGrammar)


def test_a_required_call_that_is_cut_off_is_given_as_text() -> None:
    llama = ScriptedLlama('{"name": "no', finish_reason="length")
    (choice,) = ask(llama, tools=TOOLS, tool_choice="required")["choices"]
    assert choice["message"] == {"role": "assistant", "content": '{"name": "no'}
    assert choice["finish_reason"] == "length"


def test_the_schema_of_several_forced_tools_keeps_its_references() -> None:
    schema = json.loads(plan_tools(TOOLS, "required", None, None).forced_schema())
    assert [call["properties"]["name"]["const"] for call in schema["anyOf"]] == ["get_weather", "now"]
    assert schema["anyOf"][1]["properties"]["arguments"] == {"$ref": "#/$defs/arguments_1"}
    assert schema["$defs"]["arguments_1"]["$ref"] == "#/$defs/arguments_1/$defs/Nothing"


def test_a_tool_without_parameters_takes_none() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    schema = json.loads(plan_tools(tools, "required", None, None).forced_schema())
    assert schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_legacy_functions() -> None:
    llama = ScriptedLlama('{"city": "Oslo"}')
    (choice,) = ask(llama, functions=[WEATHER], function_call={"name": "get_weather"})["choices"]
    assert choice["message"]["function_call"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert choice["finish_reason"] == "function_call"
    chunks = ask_streamed(
        ScriptedLlama('{"city": "Oslo"}'), functions=[WEATHER], function_call={"name": "get_weather"}
    )
    parts = [delta["function_call"] for delta in deltas_of(chunks) if "function_call" in delta]
    assert parts[0]["name"] == "get_weather"
    assert "".join(part["arguments"] for part in parts) == '{"city": "Oslo"}'


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_may_call_a_tool(stream: bool) -> None:
    pieces = ("Sure. ", "<tool", '_call>\n{"name": "now", "argu', 'ments": {}}\n</tool_call>')
    llama = ScriptedLlama(*pieces)
    if stream:
        deltas = deltas_of(ask_streamed(llama, tools=TOOLS))
        assert deltas[1] == {"content": "Sure."}
        assert deltas[2]["tool_calls"][0]["function"]["name"] == "now"
    else:
        message = ask(llama, tools=TOOLS)["choices"][0]["message"]
        assert message["content"] == "Sure."
        assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}
    assert '{"type": "function", "function": {"name": "get_weather"' in llama.prompt
    assert "grammar" not in llama.asked


def test_tool_choice_none_hides_the_tools() -> None:
    llama = ScriptedLlama('<tool_call>{"name": "now", "arguments": {}}</tool_call>')
    message = ask(llama, tools=TOOLS, tool_choice="none")["choices"][0]["message"]
    assert "get_weather" not in llama.prompt
    assert message["content"].startswith("<tool_call>")


def test_tools_that_the_format_cannot_write_are_refused() -> None:
    with pytest.raises(UnsupportedCapabilityError, match="cannot tell the model about tools"):
        ask(ScriptedLlama("x"), "vicuna", tools=TOOLS)
    plain = chat_formatter_to_chat_completion_handler(Jinja2ChatFormatter("{{ messages[0].content }}"))
    with pytest.raises(UnsupportedCapabilityError, match="cannot tell the model about tools"):
        plain(llama=ScriptedLlama("x"), messages=HI, tools=TOOLS)


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
