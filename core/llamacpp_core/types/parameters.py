"""Keyword arguments of the completion methods, for annotations. All of them may be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

__all__ = ["ChatCompletionParameters", "CompletionParameters", "SamplingParameters"]


class SamplingParameters(TypedDict, total=False):
    """How tokens are chosen. Keys: as explained at :meth:`llamacpp_core.Llama.create_completion`."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    stop: str | Sequence[str] | None
    seed: int | None
    max_tokens: int | None
    presence_penalty: float
    frequency_penalty: float
    repeat_penalty: float
    tfs_z: float
    mirostat_mode: int
    mirostat_tau: float
    mirostat_eta: float
    model: str | None
    logits_processor: Any
    stopping_criteria: Any
    grammar: Any  # a LlamaGrammar, or GBNF text
    logit_bias: Mapping[Any, float] | None
    n: int
    stream_options: Mapping[str, Any] | None
    adaptive_decay: float
    adaptive_target: float
    cache_prompt: bool
    deterministic: bool
    dry_allowed_length: int
    dry_base: float
    dry_multiplier: float
    dry_penalty_last_n: int
    dry_sequence_breakers: Sequence[str]
    dynatemp_exponent: float
    dynatemp_range: float
    ignore_eos: bool
    lora: str | Sequence[str] | Mapping[int | str, float]
    min_keep: int
    n_indent: int
    n_keep: int
    post_sampling_probs: bool
    repeat_last_n: int
    return_progress: bool
    samplers: Sequence[str]
    t_max_predict_ms: int
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float


class CompletionParameters(SamplingParameters, total=False):
    """Arguments of a text completion. Keys: those of its base; as at ``Llama.create_completion``."""

    suffix: str | None
    echo: bool
    logprobs: int | None
    best_of: int | None


class ChatCompletionParameters(SamplingParameters, total=False):
    """Arguments of a chat completion. Keys: as explained at ``Llama.create_chat_completion``."""

    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    response_format: Mapping[str, Any] | None
    schema_limits: Any  # a SchemaLimits, or its fields
    schema_strictness: Literal["exact", "report"] | None
    logprobs: bool | None
    top_logprobs: int | None
    parallel_tool_calls: bool | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None
    reasoning_format: str
    reasoning_budget_tokens: int
    chat_template_kwargs: Mapping[str, Any] | None
    add_generation_prompt: bool
    continue_final_message: bool
