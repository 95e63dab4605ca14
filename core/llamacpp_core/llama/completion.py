"""The text completion methods of :class:`~llamacpp_core.Llama`, which lists them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from llamacpp_core.llama.running import arun_prepared, default_arguments, run_prepared, with_own_defaults
from llamacpp_core.request.completion import read_completion_settings
from llamacpp_core.request.runner import Prepared, aoff_loop

if TYPE_CHECKING:
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.types import CompletionParameters, CreateCompletionResponse

__all__ = ["acreate_completion", "create_completion", "prepare_completion"]


@overload
def create_completion(
    self: Llama,
    prompt: str | Sequence[int],
    *,
    stream: Literal[True],
    **parameters: Unpack[CompletionParameters],
) -> Generator[CreateCompletionResponse, None, None]: ...


@overload
def create_completion(
    self: Llama,
    prompt: str | Sequence[int],
    *,
    stream: Literal[False] = False,
    **parameters: Unpack[CompletionParameters],
) -> CreateCompletionResponse: ...


@overload
def create_completion(
    self: Llama, prompt: str | Sequence[int], *arguments: Any, **parameters: Any
) -> CreateCompletionResponse | Generator[CreateCompletionResponse, None, None]: ...


def create_completion(
    self: Llama,
    prompt: str | Sequence[int],
    suffix: str | None = None,
    max_tokens: int | None = 16,
    temperature: float = 0.8,
    top_p: float = 0.95,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    logprobs: int | None = None,
    echo: bool = False,
    stop: str | Sequence[str] | None = None,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    repeat_penalty: float = 1.0,
    top_k: int = 40,
    stream: bool = False,
    seed: int | None = None,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_tau: float = 5.0,
    mirostat_eta: float = 0.1,
    model: str | None = None,
    stopping_criteria: Any = None,
    logits_processor: Any = None,
    grammar: LlamaGrammar | str | None = None,
    logit_bias: Mapping[Any, float] | None = None,
    n: int = 1,
    best_of: int | None = None,
    **more: Any,
) -> CreateCompletionResponse | Generator[CreateCompletionResponse, None, None]:
    """Continues a text.

    Args:
        prompt: Text, or token ids. Names of control tokens in a text become those tokens.
        suffix: Text that comes after the answer, for models that can fill in the middle.
        max_tokens: Tokens to generate at most; None, 0 or less: to the end of the context.
        temperature: 0 picks the likeliest token; higher is more random.
        top_p: Keep the likeliest tokens that together reach this probability.
        min_p: Drop tokens less likely than this fraction of the likeliest.
        typical_p: Locally typical sampling; 1 turns it off.
        logprobs: Alternatives to report per token; None for none. With ``echo`` also of the prompt.
        echo: Put the prompt in front of the answer.
        stop: Strings that end the answer.
        frequency_penalty: Lower a token's logit by this for each time it occurred.
        presence_penalty: Lower a token's logit by this once it occurred.
        repeat_penalty: Divide the logits of recent tokens by this; 1 turns it off.
        top_k: Keep this many likeliest tokens; 0 turns it off.
        stream: Return an iterator of chunks.
        seed: Makes the random choices the same for the same logits; None for new ones each time. The
            logits of the same request can differ in their last digits with what runs beside it and what
            is cached, and then an answer takes another turn: ``deterministic=True`` rules that out.
        tfs_z: Accepted at 1 only: llama.cpp has dropped tail-free sampling.
        mirostat_mode: 0, 1 or 2.
        mirostat_tau: Mirostat's target entropy.
        mirostat_eta: Mirostat's learning rate.
        model: The name to report in the response.
        stopping_criteria: A function of (token ids so far, logits) that says whether to stop, or
            several in a list. The request then runs in a context of its own, beside the batch.
        logits_processor: A function of (token ids so far, logits) that returns logits, or several in a
            list; runs as ``stopping_criteria`` do.
        grammar: A LlamaGrammar, or GBNF text.
        logit_bias: From token id to a number to add to its logit; -inf or False bans it.
        n: Answers to generate.
        best_of: Answers to generate and to choose the ``n`` likeliest from, per token.
        more: ``stream_options`` (``{"include_usage": True}``), ``lora`` (from the position or the file's
            name of an adapter to its scale, for this request), ``deterministic`` (the same request gives
            the same tokens, whatever runs beside it and is cached, in this process or another on the same
            machine; without a seed, the seed is 0. It is computed in steps of its own, which slows down
            what runs beside it, and uses of the cache only whole steps of ``n_batch`` tokens that
            requests of its kind have left) and the names in
            :data:`~llamacpp_core.request.sampling.EXTRA_FIELDS`.

    Returns:
        A ``CreateCompletionResponse``, or with ``stream`` an iterator of such chunks with ``close()``.

    Raises:
        InvalidParameterError: A parameter is unknown or cannot work.
        UnsupportedCapabilityError: The model cannot do what was asked.
        ContextOverflowError: The prompt is longer than the context.
    """
    arguments = {
        "suffix": suffix,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "logprobs": logprobs,
        "echo": echo,
        "stop": stop,
        "frequency_penalty": frequency_penalty,
        "presence_penalty": presence_penalty,
        "repeat_penalty": repeat_penalty,
        "top_k": top_k,
        "stream": stream,
        "seed": seed,
        "tfs_z": tfs_z,
        "mirostat_mode": mirostat_mode,
        "mirostat_tau": mirostat_tau,
        "mirostat_eta": mirostat_eta,
        "model": model,
        "stopping_criteria": stopping_criteria,
        "logits_processor": logits_processor,
        "grammar": grammar,
        "logit_bias": logit_bias,
        "n": n,
        "best_of": best_of,
        **more,
    }
    return run_prepared(self, prepare_completion(self, prompt, arguments))  # type: ignore[return-value]


@overload
async def acreate_completion(
    self: Llama,
    prompt: str | Sequence[int],
    *,
    stream: Literal[True],
    **parameters: Unpack[CompletionParameters],
) -> AsyncGenerator[CreateCompletionResponse, None]: ...


@overload
async def acreate_completion(
    self: Llama,
    prompt: str | Sequence[int],
    *,
    stream: Literal[False] = False,
    **parameters: Unpack[CompletionParameters],
) -> CreateCompletionResponse: ...


async def acreate_completion(
    self: Llama, prompt: str | Sequence[int], *, stream: bool = False, **parameters: Any
) -> CreateCompletionResponse | AsyncGenerator[CreateCompletionResponse, None]:
    """:meth:`create_completion` for coroutines; with ``stream`` it gives an async iterator."""
    arguments = default_arguments(create_completion) | parameters | {"stream": stream}
    size = len(prompt) if isinstance(prompt, str) else 0
    prepared = await aoff_loop(lambda: prepare_completion(self, prompt, arguments), size)
    return await arun_prepared(self, prepared)  # type: ignore[return-value]


def prepare_completion(llama: Llama, prompt: Any, arguments: Mapping[str, Any]) -> Prepared:
    """The request that a text completion is, tokenized and checked."""
    given = with_own_defaults(llama, arguments)
    settings = read_completion_settings(given, n_vocab=llama.info.n_vocab, lora=llama._adapters.numbers)
    return llama._completion.prepare(prompt, settings)
