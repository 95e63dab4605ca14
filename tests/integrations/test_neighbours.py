"""Arguments of other classes: each answer says what to write here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import ScriptedLlama
from integrations.kinds import CHATS, KINDS, Kind, ways_to_chat

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations import langchain, llama_index

CHAT_OLLAMA = """
    reasoning validate_model_on_init mirostat num_ctx num_gpu num_thread num_predict tfs_z format base_url
    client_kwargs async_client_kwargs sync_client_kwargs
"""
CHAT_OPENAI = """
    model_name openai_api_key openai_api_base openai_organization openai_proxy request_timeout stream_usage
    default_headers default_query http_client http_async_client http_socket_options stream_chunk_timeout
    extra_body include_response_headers disabled_params service_tier store truncation context_management
    include
    prompt_cache_options use_previous_response_id use_responses_api verbosity tiktoken_model_name
    max_completion_tokens model_kwargs
"""
COMMUNITY = """
    lora_base lora_path n_parts f16_kv logits_all vocab_only suffix echo last_n_tokens_size model_kwargs
    grammar_path client
"""
OLLAMA = """
    base_url context_window request_timeout prompt_key json_mode is_function_calling_model thinking headers
    client async_client num_ctx num_predict mirostat
"""
LLAMA_CPP = "model_url max_new_tokens context_window generate_kwargs model_kwargs"
OPENAI_LIKE = """
    api_base api_key api_version max_retries is_chat_model is_function_calling_model context_window
    default_headers reuse_client tokenizer http_client async_http_client
"""
OLLAMA_EMBEDDING = "base_url ollama_additional_kwargs client_kwargs num_ctx num_thread num_gpu temperature"
OPENAI_EMBEDDINGS = """
    deployment openai_api_base embedding_ctx_length chunk_size request_timeout tiktoken_enabled skip_empty
    show_progress_bar allowed_special check_embedding_ctx_length retry_min_seconds
"""

OF_NEIGHBOURS: list[tuple[Callable[..., Any], str]] = [
    (kind, name)
    for kind, names in [
        (langchain.ChatLlamaCpp, CHAT_OLLAMA + CHAT_OPENAI + COMMUNITY),
        (llama_index.LlamaCpp, OLLAMA + LLAMA_CPP + OPENAI_LIKE.replace("async_http_client", "")),
        (langchain.LlamaCppEmbeddings, OLLAMA_EMBEDDING + OPENAI_EMBEDDINGS + " device f16_kv n_parts"),
        (llama_index.LlamaCppEmbedding, OLLAMA_EMBEDDING + " max_length device timeout api_key"),
    ]
    for name in dict.fromkeys(names.split())
]


@pytest.mark.parametrize(("kind", "name"), OF_NEIGHBOURS, ids=lambda value: getattr(value, "__name__", value))
def test_every_argument_of_a_neighbour_has_an_answer(kind: Callable[..., Any], name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"has no {name}: ") as caught:
        kind(llama=ScriptedLlama(), **{name: 3})
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("num_ctx", "n_ctx here"),
        ("num_predict", "max_tokens here"),
        ("request_timeout", "timeout here"),
        ("format", r"response_format="),
        ("thinking", r'chat_template_kwargs={"enable_thinking": False}'),
        ("model_kwargs", r"load_options={...}"),
    ],
)
@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_the_answer_names_what_to_write(kind: Kind, name: str, answer: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        kind.make(llama=ScriptedLlama(), **{name: 3})
    assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("num_predict", "max_tokens here"),
        ("max_completion_tokens", "max_tokens here"),
        ("num_ctx", "give n_ctx to the constructor"),
        ("format", "response_format="),
        ("keep_alive", "constructor"),
    ],
)
@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_calls_have_answers_too(kind: Kind, name: str, answer: str) -> None:
    made = kind.make(llama=ScriptedLlama())
    for way in ways_to_chat(made, {name: 3}):
        with pytest.raises(InvalidParameterError) as caught:
            way()
        assert answer in str(caught.value)
        assert caught.value.parameter == name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_hint_names_each_name_once(kind: Kind) -> None:
    with pytest.raises(InvalidParameterError, match=r"did you mean 'n_ctx'\?"):
        kind.make(llama=ScriptedLlama(), n_ctxx=3)
    with pytest.raises(InvalidParameterError) as caught:
        kind.make(llama=ScriptedLlama(), jason_mode=3)
    assert "did you mean" not in str(caught.value)


# None where a field cannot be None


@pytest.mark.parametrize("name", ["temperature", "top_p", "repeat_penalty", "load_options"])
@pytest.mark.parametrize("kind", CHATS, ids=str)
def test_none_is_the_default(kind: Kind, name: str) -> None:
    default = getattr(kind.make(llama=ScriptedLlama()), name)
    made = kind.make(llama=ScriptedLlama(), **{name: None})
    assert getattr(made, name) == default
    if name != "load_options":
        setattr(made, name, 0.5)
        assert getattr(made.model_copy(update={name: None}), name) == default
        setattr(made, name, None)
        assert getattr(made, name) == default


def test_none_stays_where_it_means_something() -> None:
    made = langchain.LlamaCppEmbeddings(llama=ScriptedLlama(), show_progress=None)
    assert made.show_progress is None
