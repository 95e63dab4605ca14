"""Handlers of formatters: the formatter writes the prompt, all else is as for the model's own template."""

from __future__ import annotations

from typing import Any

import pytest
from chat_format.scripted import FORCE, HI, NOW, TOOLS, WEATHER, prepare, prompt

from llamacpp_core import Llama
from llamacpp_core.chat_format import (
    ChatFormatterResponse,
    Jinja2ChatFormatter,
    chat_formatter_to_chat_completion_handler,
    get_chat_completion_handler,
    hf_tokenizer_config_to_chat_completion_handler,
    hf_tokenizer_config_to_chat_formatter,
)
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.llama.chat import prepare_chat

# Without the cache, since the last digits of logits depend on how many tokens are read together.
SHORT: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "cache_prompt": False}


def content(response: Any) -> str:
    return str(response["choices"][0]["message"]["content"])


def test_a_named_format_answers(llm: Llama) -> None:
    handler: Any = get_chat_completion_handler("chatml")
    whole = handler(llama=llm, messages=HI, **SHORT)
    assert whole["object"] == "chat.completion"
    assert whole["usage"]["prompt_tokens"] == len(llm.tokenize(prompt(llm).encode(), special=True))
    chunks = list(handler(llama=llm, messages=HI, stream=True, **SHORT))
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == content(whole)
    assert chunks[-1]["usage"] == whole["usage"] | {
        "prompt_tokens_details": chunks[-1]["usage"]["prompt_tokens_details"]
    }


def test_closing_a_stream_frees_the_slot(llm: Llama, idle: Any) -> None:
    stream: Any = get_chat_completion_handler("chatml")(llama=llm, messages=HI, stream=True)
    next(stream)
    stream.close()
    idle()


def test_prompts_and_their_first_token(llm: Llama) -> None:
    assert prompt(llm) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert prompt(llm, "llama-2") == "<s>[INST] Hi [/INST]"
    written = prepare(llm, "llama-2").plan.tokens()
    assert written == llm.tokenize(b"<s>[INST] Hi [/INST]", add_bos=False, special=True)


def test_the_formats_stops_come_after_the_callers(llm: Llama) -> None:
    assert prepare(llm, stop="END").params["stop"] == ["END", "<|im_end|>", "<|im_start|>"]
    assert prepare(llm, stop=["<|im_end|>"]).params["stop"] == ["<|im_end|>", "<|im_start|>"]


def test_sampling_has_the_defaults_of_the_method(llm: Llama) -> None:
    given = prepare(llm, seed=4, repeat_last_n=7).params
    own = prepare_chat(llm, HI, {"seed": 4, "repeat_last_n": 7}, None).params
    names = ("temperature", "top_p", "top_k", "min_p", "seed", "repeat_last_n", "repeat_penalty")
    assert {name: given[name] for name in names} == {name: own[name] for name in names}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": TOOLS, "tool_choice": {"function": {"name": "nope"}}}, "tool_choice: 'nope'"),
    ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice must be 'none', 'auto'"),
    ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice must be 'none', 'auto', 'required'"),
    ({"tool_choice": "required"}, "needs at least one tool"),
    ({"tools": TOOLS, "functions": [NOW]}, "not both"),
    ({"tools": TOOLS, "function_call": "auto"}, "function_call needs functions"),
    ({"functions": [NOW], "tool_choice": "auto"}, "tool_choice goes with tools"),
    ({"tools": {}}, "tools must be a list"),
    ({"tools": [{"type": "function"}]}, r"tools\[0\] must be"),
    ({"tools": [*TOOLS, TOOLS[0]]}, r"tools\[2\].function.name: 'get_weather' is defined twice"),
    ({"functions": [{"name": "f", "parameters": "x"}]}, r"tools\[0\].function.parameters must be"),
    ({"tools": TOOLS, "tool_choice": FORCE, "grammar": "root ::= [a]"}, "grammar and callable tools"),
    ({"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"}, "grammar or response_format"),
    ({"response_format": {"type": "yaml"}}, "response_format must be"),
    ({"response_format": {"type": "json_schema"}}, "response_format needs the schema"),
    ({"stop": [""]}, r"stop\[0\] must be"),
    ({"stop": [3]}, r"stop\[0\] must be"),
    ({"top_logprobs": 2}, "top_logprobs needs logprobs=True"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls must be"),
    ({"no_such_name": 1}, "unknown parameter 'no_such_name'"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown role 'narrator'"),
    ({"messages": "Hi"}, "messages must be a list"),
]


@pytest.mark.parametrize("formatter", ["chatml", None], ids=["handler", "engine"])
@pytest.mark.parametrize(("params", "message"), REFUSED)
def test_what_cannot_work_is_refused_in_the_same_words(
    llm: Llama, params: dict[str, Any], message: str, formatter: str | None
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        prepare(llm, formatter, **params)


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_object", "schema": WEATHER["parameters"]},
        {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER["parameters"]}},
    ],
)
def test_a_response_format_has_the_engines_grammar(llm: Llama, response_format: dict[str, Any]) -> None:
    given = prepare(llm, response_format=response_format).params["grammar"]
    assert given == prepare_chat(llm, HI, {"response_format": response_format}, None).params["grammar"]
    assert not prepare(llm, response_format={"type": "text"}).params.get("grammar")


def test_a_formatter_of_ones_own(llm: Llama) -> None:
    seen: dict[str, Any] = {}

    def formatter(*, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        seen.update(kwargs)
        return ChatFormatterResponse(
            prompt=f"Q: {messages[0]['content']}\nA:",
            stop="\n",
            stopping_criteria=lambda *_: True,
        )

    more: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "low"}
    prepared = prepare(llm, formatter, tools=TOOLS, tool_choice="auto", **more)
    assert prepared.plan.tokens() == llm.tokenize(b"Q: Hi\nA:", special=True)
    assert prepared.params["stop"] == ["\n"]
    assert prepared.needs_python
    tools = seen.pop("tools")
    assert [tool["function"]["name"] for tool in tools] == ["get_weather", "now"]
    assert seen == {"tool_choice": "auto", "enable_thinking": False, "reasoning_effort": "low"}
    handler: Any = chat_formatter_to_chat_completion_handler(formatter)
    assert handler(llama=llm, messages=HI)["usage"]["completion_tokens"] == 0  # the criterion says stop


def test_a_formatter_that_returns_no_prompt_is_named(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match=r"must return a ChatFormatterResponse.*got str"):
        prepare(llm, lambda **_: "Q: Hi")  # type: ignore[arg-type, return-value]


def test_a_last_message_of_the_assistant_is_continued_on_demand(llm: Llama) -> None:
    begun = [*HI, {"role": "assistant", "content": "Hello"}]
    assert prompt(llm, messages=begun, continue_final_message=True) == prompt(llm) + "Hello"
    closed = prompt(llm, messages=begun)
    assert closed == prompt(llm) + "Hello<|im_end|>\n<|im_start|>assistant\n"
    assert prompt(llm, add_generation_prompt=False) == "<|im_start|>user\nHi<|im_end|>\n"


def test_images_are_refused(llm: Llama) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(UnsupportedCapabilityError, match=r"messages\[0\].content\[0\]"):
        prepare(llm, messages=[{"role": "user", "content": [picture]}])


def test_arguments_of_a_call_that_are_not_json_are_refused(llm: Llama) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{broken"}}
    with pytest.raises(InvalidMessageError, match=r"messages\[1\].*must be a JSON object"):
        prepare(llm, messages=[*HI, {"role": "assistant", "content": None, "tool_calls": [call]}, *HI])


def test_a_handler_of_a_template(llm: Llama) -> None:
    formatter = Jinja2ChatFormatter("{{ bos_token }}{{ messages[0].content }}", "</s>", "<s>", [2])
    prepared = prepare(llm, formatter)
    assert prepared.plan.tokens() == llm.tokenize(b"<s>Hi", add_bos=False, special=True)
    assert prepared.params["stop"] == ["</s>"]
    (criterion,) = prepared.criteria
    assert criterion([1, 2], None)
    assert not criterion([2, 1], None)


def test_a_formatter_must_be_callable() -> None:
    with pytest.raises(InvalidParameterError, match="chat_formatter must be callable"):
        chat_formatter_to_chat_completion_handler("chatml")  # type: ignore[arg-type]


def test_a_tokenizer_config(llm: Llama) -> None:
    config = {
        "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
        "bos_token": None,
        "eos_token": {"content": "<end>", "special": True},
    }
    formatted = hf_tokenizer_config_to_chat_formatter(config)(messages=HI)
    assert (formatted.prompt, formatted.stop) == ("Hi<end>", ["<end>"])
    handler: Any = hf_tokenizer_config_to_chat_completion_handler(config)
    n_prompt = handler(llama=llm, messages=HI, max_tokens=1)["usage"]["prompt_tokens"]
    assert n_prompt == len(llm.tokenize(b"Hi<end>", add_bos=False))
    with pytest.raises(InvalidParameterError, match="no text for 'chat_template'"):
        hf_tokenizer_config_to_chat_formatter({"eos_token": "x"})
