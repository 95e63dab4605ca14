"""What arguments of neighbouring classes are called here.

The classes are ChatOllama, OllamaEmbeddings, ChatOpenAI, OpenAIEmbeddings and the community's ChatLlamaCpp
for LangChain, and Ollama, OllamaEmbedding, OpenAILike and LlamaCPP for LlamaIndex.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from llamacpp_core.errors import InvalidParameterError

__all__ = ["neighbour_refusal"]

_OF_SERVERS = """
    api_base api_key api_version async_client async_client_kwargs base_url client client_kwargs
    context_management default_headers default_query deployment extra_body headers http_async_client
    http_client http_socket_options include include_response_headers max_retries openai_api_base
    openai_api_key openai_api_type openai_api_version openai_organization openai_proxy organization
    prompt_cache_options prompt_key retry_max_seconds retry_min_seconds reuse_client service_tier
    store stream_chunk_timeout sync_client_kwargs truncation use_previous_response_id
    use_responses_api verbosity
"""
_OF_TIKTOKEN = """
    allowed_special check_embedding_ctx_length disallowed_special tiktoken_enabled tiktoken_model_name
"""
_ITS_OPTIONS = "load_options={...}, or the options themselves as keywords"
_THINKING = 'chat_template_kwargs={"enable_thinking": False} turns it off; models that think do so by default'

#: By name, the field that has its value here.
_RENAMED = {
    "context_window": "n_ctx",
    "device": "n_gpu_layers",
    "embedding_ctx_length": "max_tokens",
    "last_n_tokens_size": "repeat_last_n",
    "lora_path": "lora",
    "max_completion_tokens": "max_tokens",
    "max_length": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "max_tokens_to_sample": "max_tokens",
    "mirostat": "mirostat_mode",
    "model_id": "model",
    "model_name": "model",
    "n_predict": "max_tokens",
    "num_batch": "n_batch",
    "num_ctx": "n_ctx",
    "num_gpu": "n_gpu_layers",
    "num_predict": "max_tokens",
    "num_thread": "n_threads",
    "request_timeout": "timeout",
    "show_progress_bar": "show_progress",
    "stop_sequences": "stop",
}

_ELSEWHERE = {
    "chunk_size": "leave it out, all texts of a call share the engine's batch",
    "disabled_params": "leave it out, what is None is not sent",
    "echo": "the class for text completion has it",
    "f16_kv": 'type_k="f16" and type_v="f16", which is the default',
    "generate_kwargs": "additional_kwargs={...}, or arguments of a call",
    "grammar_path": "grammar=LlamaGrammar.from_file(path)",
    "is_chat_model": "leave it out, it is known from the model",
    "is_function_calling_model": "leave it out, it is known from the model",
    "logits_all": "leave it out, and ask Llama(logits_all=True) for logits",
    "lora_base": "leave it out, an adapter goes onto the model that is loaded",
    "model_kwargs": _ITS_OPTIONS,
    "model_url": "model='hf:owner/repo:file.gguf', or the path of a file that you have fetched",
    "n_parts": "leave it out, the files of a split model are found by themselves",
    "ollama_additional_kwargs": _ITS_OPTIONS,
    "options": "the options themselves as keywords",
    "reasoning": _THINKING,
    "request_timeout": "leave it out, only models that generate have one",
    "skip_empty": "leave it out, an empty text has a vector, too",
    "stream_usage": "leave it out, a stream's last piece always has the usage",
    "suffix": "the class for text completion has it",
    "temperature": "leave it out, vectors are not sampled",
    "tfs_z": "top_p, min_p or typical_p: llama.cpp has no tail-free sampling any more",
    "think": _THINKING,
    "thinking": _THINKING,
    "timeout": "leave it out, only models that generate have one",
    "tokenizer": "leave it out, the model has its own; objects have it as .tokenizer",
    "vocab_only": "leave it out, and ask Llama(vocab_only=True) for tokens",
    "validate_model_on_init": "leave it out, the model is loaded, or refused, when the object is made",
    **dict.fromkeys(_OF_TIKTOKEN.split(), "leave it out, texts are counted by the model's own tokenizer"),
    **dict.fromkeys(_OF_SERVERS.split(), "leave it out, there is no server"),
}

_JSON_OBJECT = 'response_format={"type": "json_object"}'
#: What a constructor says where the classes of a framework differ, and what a call says.
_OF_LANGCHAIN = {
    "format": "with_structured_output(schema), or response_format= in a call",
    "json_mode": f'with_structured_output(schema, method="json_mode"), or {_JSON_OBJECT} in a call',
}
_OF_LLAMA_INDEX = {
    "format": "as_structured_llm(cls), or response_format= in a call",
    "json_mode": f"{_JSON_OBJECT} in a call, or for all of them in additional_kwargs",
}
_OF_CALLS = {
    "format": "response_format=",
    "json_mode": _JSON_OBJECT,
    "keep_alive": "it belongs to the object: give it to the constructor",
    "model_kwargs": "the options of a model belong to the constructor",
}


def neighbour_refusal(
    name: str, owner: str, known: Collection[str], *, framework: str = ""
) -> InvalidParameterError | None:
    """The refusal of a name that another class has for something; None for a name that none has.

    Args:
        name: The name.
        owner: Our class.
        known: The names that a constructor, or a call, takes here.
        framework: "langchain" or "llama_index" for a constructor; empty for a call.
    """
    special: Mapping[str, str] = {"langchain": _OF_LANGCHAIN, "llama_index": _OF_LLAMA_INDEX}.get(
        framework, _OF_CALLS
    )
    advice = special.get(name)
    renamed = _RENAMED.get(name)
    if advice is None and renamed is not None:
        if renamed in known:
            advice = f"it is called {renamed} here"
        elif framework == "llama_index" and renamed in ("mirostat_mode", "repeat_last_n"):
            advice = f"it is called {renamed} here, in a call or in additional_kwargs"
        elif not framework and renamed.startswith("n_"):
            advice = f"it is fixed when the model is loaded, give {renamed} to the constructor"
    if advice is None:
        advice = _ELSEWHERE.get(name)
    if advice is None:
        return None
    return InvalidParameterError(f"{owner} has no {name}: {advice}", parameter=name)
