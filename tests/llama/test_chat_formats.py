"""Chat formats of the constructor: built-in names, templates, and handlers of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama
from llamacpp_core.chat_format import (
    NAMED_FORMATS,
    Jinja2ChatFormatter,
    NamedChatFormatter,
    named_format,
    register_chat_completion_handler,
)
from llamacpp_core.chat_format.registry import default_registry
from llamacpp_core.llama.chat import prepare_chat

MESSAGES = [
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "How are you?"},
]
SHORT: dict[str, Any] = {"max_tokens": 8, "temperature": 0}
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]"


def content(response: Any) -> str:
    return str(response["choices"][0]["message"]["content"])


def load(path: Path, **options: Any) -> Llama:
    return Llama(path, n_ctx=512, n_parallel=1, warmup=False, **options)


@pytest.mark.parametrize("name", NAMED_FORMATS)
def test_every_built_in_name_can_be_used(smollm2_path: Path, name: str) -> None:
    with load(smollm2_path, chat_format=name) as llm:
        assert llm.chat_format == name
        expected = NamedChatFormatter(name)(messages=MESSAGES).prompt
        shown = llm.apply_chat_template(MESSAGES)
        # the engine writes the model's own BOS and EOS where the format says its own
        form = named_format(name)
        for own, models in ((form.bos_token, "<|im_start|>"), (form.eos_token, "<|im_end|>")):
            for name in filter(None, (own, models)):
                expected, shown = (str(value).replace(name, "@") for value in (expected, shown))
        assert shown.lstrip("@") == expected.lstrip("@")
        response = llm.create_chat_completion(MESSAGES, **SHORT)
        assert isinstance(content(response), str)
        prepared = prepare_chat(llm, MESSAGES, {"stop": ["mine"]}, None)
        assert prepared.params["stop"] == ["mine", *form.stop]


def test_a_formats_stop_ends_the_answer(smollm2_path: Path, llm: Llama) -> None:
    messages = [{"role": "user", "content": "What is the capital of Italy?"}]
    with load(smollm2_path, chat_format="alpaca") as alpaca:
        alpaca._chat._stops = ("Rome",)
        assert (
            content(alpaca.create_chat_completion(messages, max_tokens=16, temperature=0)).find("Rome") == -1
        )


def test_unknown_formats_are_named(smollm2_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="chatml") as caught:
        load(smollm2_path, chat_format="chat-ml")
    assert caught.value.parameter == "chat_format"
    with pytest.raises(InvalidParameterError, match="chat_template"):
        load(smollm2_path, chat_format="chat_template.tool_use")


@pytest.mark.parametrize("kind", ["text", "path", "str path"])
def test_chat_template(smollm2_path: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(TEMPLATE, encoding="utf-8")
    given = {"text": TEMPLATE, "path": file, "str path": str(file)}[kind]
    with load(smollm2_path, chat_template=given) as llm:
        assert (
            llm.apply_chat_template(MESSAGES)
            == "[user] Hello!\n[assistant] Hi.\n[user] How are you?\n[assistant]"
        )
        response = llm.create_chat_completion(MESSAGES, **SHORT)
        assert response["usage"]["prompt_tokens"] == llm.count_tokens(messages=MESSAGES)
        chunks = llm.create_chat_completion(MESSAGES, stream=True, **SHORT)
        streamed = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        assert streamed == content(response)


def test_the_models_own_template_by_name(smollm2_path: Path, llm: Llama) -> None:
    with load(smollm2_path, chat_format="chat_template.default") as named:
        assert named.apply_chat_template(MESSAGES) == llm.apply_chat_template(MESSAGES)


def echo_handler(*, llama: Any, messages: Any, stream: bool = False, **kwargs: Any) -> Any:
    """Answers with what it was given."""
    message = {"role": "assistant", "content": f"{messages[-1]['content']} {sorted(kwargs)}"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": llama.info.name}
    if stream:
        return iter([answer | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]}])
    return answer | {"choices": [choice], "usage": {}}


LLAMA_CPP_PYTHON_KEYWORDS = sorted(
    [
        "functions",
        "function_call",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "stop",
        "seed",
        "response_format",
        "max_tokens",
        "presence_penalty",
        "frequency_penalty",
        "repeat_penalty",
        "tfs_z",
        "mirostat_mode",
        "mirostat_tau",
        "mirostat_eta",
        "model",
        "logits_processor",
        "grammar",
        "logit_bias",
        "logprobs",
        "top_logprobs",
    ]
)


@pytest.fixture
def registered() -> Iterator[str]:
    register_chat_completion_handler("echoing", echo_handler)
    yield "echoing"
    default_registry.unregister_chat_completion_handler("echoing")


def test_a_registered_handler_is_called_in_place_of_the_engine(smollm2_path: Path, registered: str) -> None:
    with load(smollm2_path, chat_format=registered) as llm:
        answer = llm.create_chat_completion(MESSAGES)
        assert content(answer) == f"How are you? {LLAMA_CPP_PYTHON_KEYWORDS}"
        (chunk,) = llm.create_chat_completion(MESSAGES, stream=True)
        assert chunk["choices"][0]["delta"]["content"].startswith("How are you?")
        more = content(llm.create_chat_completion(MESSAGES, n=2, mine=5))
        assert more == f"How are you? {sorted([*LLAMA_CPP_PYTHON_KEYWORDS, 'n', 'mine'])}"


async def test_a_handler_answers_coroutines(smollm2_path: Path) -> None:
    with load(smollm2_path, chat_handler=echo_handler) as llm:
        assert content(await llm.acreate_chat_completion(MESSAGES)).startswith("How are you?")
        chunks = [c async for c in await llm.acreate_chat_completion(MESSAGES, stream=True)]
        assert len(chunks) == 1


def test_a_handler_over_a_registered_built_in_name(smollm2_path: Path) -> None:
    register_chat_completion_handler("vicuna", echo_handler, overwrite=True)
    try:
        with load(smollm2_path, chat_format="vicuna") as llm:
            assert content(llm.create_chat_completion(MESSAGES)).startswith("How are you? [")
    finally:
        default_registry.unregister_chat_completion_handler("vicuna")


TOOLS = [
    {
        "type": "function",
        "function": {"name": "wave", "parameters": {"type": "object", "properties": {"n": {"enum": [1, 2]}}}},
    }
]


def test_a_formatters_handler_answers_as_the_engine(smollm2_path: Path, llm: Llama) -> None:
    handler = Jinja2ChatFormatter(llm.info.chat_template, "<|im_end|>", "<|im_start|>").to_chat_handler()
    with load(smollm2_path, chat_handler=handler) as own:
        assert content(own.create_chat_completion(MESSAGES, **SHORT)) == content(
            llm.create_chat_completion(MESSAGES, **SHORT)
        )
        chunks = list(own.create_chat_completion(MESSAGES, stream=True, **SHORT))
        streamed = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        assert streamed == content(own.create_chat_completion(MESSAGES, **SHORT))
        choice = {"type": "function", "function": {"name": "wave"}}
        forced = own.create_chat_completion(MESSAGES, tools=TOOLS, tool_choice=choice, max_tokens=40)
        (call,) = forced["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "wave"


def test_stop_token_ids_of_a_formatter_end_the_answer(smollm2_path: Path, llm: Llama) -> None:
    template = llm.info.chat_template
    dot = llm.tokenize(b".")[0]
    handler = Jinja2ChatFormatter(
        template, "<|im_end|>", "<|im_start|>", stop_token_ids=[dot]
    ).to_chat_handler()
    with load(smollm2_path, chat_handler=handler) as own:
        answer = own.create_chat_completion([{"role": "user", "content": "Tell me a story."}], temperature=0)
        assert content(answer).count(".") == 1
        assert content(answer).endswith(".")


def test_the_format_can_be_changed_after_loading(smollm2_path: Path, registered: str) -> None:
    with load(smollm2_path) as llm:
        own = llm.create_chat_completion(MESSAGES, **SHORT)
        llm.chat_format = "vicuna"
        other = llm.create_chat_completion(MESSAGES, **SHORT)
        assert other["usage"]["prompt_tokens"] != own["usage"]["prompt_tokens"]
        llm.chat_format = registered
        assert content(llm.create_chat_completion(MESSAGES)).startswith("How are you? [")
        llm.chat_format = "chat_template.default"
        assert content(llm.create_chat_completion(MESSAGES, **SHORT)) == content(own)
        llm.chat_format = "no-such-format"
        with pytest.raises(InvalidParameterError, match="no-such-format"):
            llm.create_chat_completion(MESSAGES)
        llm.chat_handler = echo_handler
        assert content(llm.create_chat_completion(MESSAGES)).startswith("How are you? [")
