"""The arguments of calls: their names, and how those of an object and of a call are combined."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.generic_utils import messages_to_prompt
from llama_index.core.llms.llm import default_completion_to_prompt

from llamacpp_core._checks import unknown_name
from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_integrations._refusals import refuse_load_options

__all__ = [
    "UNUSED_HOOKS",
    "call_arguments",
    "call_names",
    "check_arguments",
    "refuse_hook",
    "text_arguments",
]

#: Fields that the framework has for models without a chat template.
UNUSED_HOOKS = ("messages_to_prompt", "completion_to_prompt", "query_wrapper_prompt")


@functools.cache
def call_names() -> frozenset[str]:
    """The names of all arguments that chats and text completions take."""
    from llamacpp_core.types.parameters import ChatCompletionParameters, CompletionParameters

    both = {**ChatCompletionParameters.__annotations__, **CompletionParameters.__annotations__}
    return frozenset(both)


def check_arguments(given: Mapping[str, Any], *, n_vocab: int) -> None:
    """Checks arguments that are set for every call, so that a mistake is reported where it was made.

    Args:
        given: The arguments.
        n_vocab: Size of the vocabulary, for ``logit_bias``.

    Raises:
        InvalidParameterError: One is unknown or cannot work; names it.
    """
    _refuse_others(given)
    refuse_load_options(given, "LlamaCpp")
    names = call_names()
    for name, value in given.items():
        if name not in names and name != "extra_headers":
            raise unknown_name(name, names, "parameter")
        if name in _checked_alone():
            sampling_fields({name: value}, n_vocab=n_vocab)


def call_arguments(configured: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of one call, which override those of the object. None means not given.

    Raises:
        InvalidParameterError: One of them means something else here.
    """
    refuse_load_options(given, "LlamaCpp")
    params = {**configured, **{name: value for name, value in given.items() if value is not None}}
    # The framework's extractors send some to every LLM; there is no HTTP here.
    params.pop("extra_headers", None)
    _refuse_others(params)
    return {name: value for name, value in params.items() if value is not None}


def text_arguments(params: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a text completion, whose ``logprobs`` is a number; chat has a flag and a number.

    Raises:
        InvalidParameterError: ``top_logprobs`` without ``logprobs``.
    """
    top = params.pop("top_logprobs", None)
    if top is not None and params.get("logprobs") is not True:
        raise InvalidParameterError("top_logprobs needs logprobs=True", parameter="top_logprobs")
    if params.get("logprobs") is True:
        params["logprobs"] = top or 0
    elif params.get("logprobs") is False:
        del params["logprobs"]
    params.setdefault("max_tokens", 0)  # to the end of the context, as in chat
    return params


def _refuse_others(params: Mapping[str, Any]) -> None:
    if "stream" in params:
        raise InvalidParameterError("stream is not an argument here: call stream_chat()", parameter="stream")
    if params.get("n") not in (None, 1):
        raise InvalidParameterError("n must be 1: a response of LlamaIndex holds one answer", parameter="n")


def refuse_hook(name: str, value: Any) -> None:
    """Refuses a value of one of ``UNUSED_HOOKS``; what the framework itself puts there does nothing.

    Raises:
        InvalidParameterError: The value would have no effect.
    """
    if value not in (None, messages_to_prompt, default_completion_to_prompt):
        raise InvalidParameterError(
            f"{name} is not used: the model's own chat template is applied. Give another one as "
            "chat_template=, or pass finished text to complete(..., formatted=True)",
            parameter=name,
        )


@functools.cache
def _checked_alone() -> frozenset[str]:
    """Sampling parameters that can be checked without the loaded model."""
    from llamacpp_core.types.parameters import SamplingParameters

    others = {"grammar", "logits_processor", "lora", "model", "stopping_criteria", "stream_options"}
    return frozenset(SamplingParameters.__annotations__) - others
