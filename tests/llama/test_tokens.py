"""Tokens, templates and facts about a model."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamacpp_core import ContextOverflowError, InvalidParameterError, Llama

TEXTS = [
    "",
    "Hello world",
    "  spaces  ",
    "Zeile\nzwei\ttab",
    "漢字かな",
    "한국어 텍스트",
    "😀👨‍👩‍👧‍👦🇩🇪",
    "हिन्दी",
    "a" * 5000,
    "\r\n",
    "é",
]


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(llm: Llama, text: str) -> None:
    ids = llm.tokenize(text, add_bos=False)
    assert llm.detokenize(ids) == text.encode()
    assert llm.tokenize(text.encode(), add_bos=False) == ids
    assert llm.count_tokens(text) == len(ids)


# The model's vocabulary has no token for some control characters, and for bytes that only planes without
# assigned characters use.
CHARACTERS = st.characters(
    exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="\0", max_codepoint=0x1FFFF
)


@settings(max_examples=150, deadline=None)
@given(text=st.text(CHARACTERS, max_size=60))
def test_any_text_comes_back(llm: Llama, text: str) -> None:
    assert llm.detokenize(llm.tokenize(text, add_bos=False)) == text.encode()


def test_special_tokens_only_when_asked_for(llm: Llama) -> None:
    assert len(llm.tokenize("<|im_end|>", add_bos=False)) > 1
    ids = llm.tokenize("<|im_end|>", add_bos=False, special=True)
    assert ids == [llm.token_eos()]
    assert llm.detokenize(ids) == b""
    assert llm.detokenize(ids, special=True) == b"<|im_end|>"


@pytest.mark.parametrize(
    "text", ["a\0b", "\ud800", b"a\0b", b"\xff\xfe", b"\xe6\xbc", 5, None, ["a"], bytearray(b"\x80")]
)
def test_what_is_no_text(llm: Llama, text: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        llm.tokenize(text)
    assert caught.value.parameter == "text"


@pytest.mark.parametrize("tokens", [[-1], [49152], ["a"], [1.0], "abc", b"abc", 5, None, [None], [2**40]])
def test_what_is_no_token(llm: Llama, tokens: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        llm.detokenize(tokens)
    assert str(caught.value.parameter).startswith("tokens")


def test_count_tokens_of_a_conversation(llm: Llama) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
    ids = llm.apply_chat_template(messages, tokenize=True)
    assert llm.count_tokens(messages=messages) == len(ids)
    prompt = llm.apply_chat_template(messages)
    assert prompt == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert llm.detokenize(ids, special=True).decode() == prompt
    tool = {"type": "function", "function": {"name": "f", "description": "Does a thing"}}
    assert llm.count_tokens(messages=messages, tools=[tool]) > len(ids)


def test_template_arguments(llm: Llama) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, my"}]
    open_end = llm.apply_chat_template(messages, continue_final_message=True)
    assert str(open_end).endswith("<|im_start|>assistant\nHello, my")
    answered = llm.apply_chat_template(messages)
    assert str(answered).endswith("Hello, my<|im_end|>\n<|im_start|>assistant\n")
    closed = llm.apply_chat_template(messages[:1], add_generation_prompt=False)
    assert str(closed).endswith("Hi<|im_end|>\n")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"text": "a", "messages": [{"role": "user", "content": "x"}]}, {"messages": []}, {"text": 5}],
)
def test_count_tokens_refuses(llm: Llama, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        llm.count_tokens(**arguments)


def test_unknown_template_argument(llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="add_generation_promt"):
        llm.apply_chat_template([{"role": "user", "content": "x"}], add_generation_promt=True)


def test_counting_is_not_limited_by_the_context(llm: Llama) -> None:
    assert llm.count_tokens("word " * 5000) > 4999
    with pytest.raises(ContextOverflowError):
        llm("word " * 5000)


def test_info(llm: Llama, embedder: Llama) -> None:
    info = llm.info
    assert (info.architecture, info.n_embd, info.n_vocab, info.n_ctx_train) == ("llama", 576, 49152, 8192)
    assert (info.n_ctx, info.n_parallel, info.quantization) == (2048, 4, "Q4_1")
    assert 134_000_000 < info.n_params < 136_000_000
    assert info.capabilities.completion
    assert info.capabilities.chat
    assert not info.capabilities.embedding
    assert info.capabilities.rerank == "yes-no"
    assert "im_start" in info.chat_template
    encoder = embedder.info
    assert (encoder.architecture, encoder.n_embd, encoder.pooling, encoder.n_ctx) == (
        "bert",
        384,
        "mean",
        512,
    )
    assert not encoder.capabilities.completion
    assert encoder.capabilities.rerank == "embedding"
    assert encoder.prompt_cache.slot_bytes == 0
    json.dumps(info.as_dict())


def test_names_of_llama_cpp_python(llm: Llama) -> None:
    assert llm.n_ctx() == 2048
    assert llm.n_embd() == 576
    assert llm.n_vocab() == 49152
    assert llm.token_bos() == 1
    assert llm.token_eos() == 2
    assert llm.detokenize([llm.token_nl()]) == b"\n"
    assert llm.metadata["general.architecture"] == "llama"
    assert "tokenizer.ggml.tokens" not in llm.metadata


def test_a_conversation_longer_than_the_context_can_be_counted_and_shown(llm: Llama) -> None:
    messages = [{"role": "user", "content": "hello " * (2 * llm.n_ctx())}]
    n_tokens = llm.count_tokens(messages=messages)
    assert n_tokens > 2 * llm.n_ctx()
    assert len(llm.apply_chat_template(messages, tokenize=True)) == n_tokens
    with pytest.raises(ContextOverflowError) as caught:
        llm.create_chat_completion(messages)
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (n_tokens, llm.n_ctx())
