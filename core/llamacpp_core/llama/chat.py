"""The chat completion methods of :class:`~llamacpp_core.Llama`, which lists them."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from llamacpp_core._checks import boolean
from llamacpp_core.errors import InvalidMessageError, InvalidParameterError, MissingDependencyError
from llamacpp_core.llama.chat_formats import chat_handler_for, check_handler, check_name, formatter_for
from llamacpp_core.llama.running import arun_prepared, default_arguments, run_prepared, with_own_defaults
from llamacpp_core.request.chat_settings import ChatSettings, read_chat_settings
from llamacpp_core.request.runner import aoff_loop

if TYPE_CHECKING:
    from llamacpp_core.chat_format import ChatFormatter
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.llama.llama import Llama
    from llamacpp_core.request.runner import Prepared
    from llamacpp_core.request.template import PlannedChat
    from llamacpp_core.types import (
        ChatCompletionParameters,
        CreateChatCompletionResponse,
        CreateChatCompletionStreamResponse,
    )

__all__ = [
    "acreate_chat_completion",
    "answer_with",
    "apply_chat_template",
    "chat_settings",
    "count_tokens",
    "create_chat_completion",
    "create_chat_completion_openai_v1",
    "prepare_chat",
]

# Arguments that llama-cpp-python's handlers do not know: passed on when they say something.
_NEWER = {
    "chat_template_kwargs": None,
    "n": 1,
    "parallel_tool_calls": None,
    "reasoning_effort": None,
    "stopping_criteria": None,
    "stream_options": None,
}


@overload
def create_chat_completion(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[True],
    **parameters: Unpack[ChatCompletionParameters],
) -> Generator[CreateChatCompletionStreamResponse, None, None]: ...


@overload
def create_chat_completion(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[False] = False,
    **parameters: Unpack[ChatCompletionParameters],
) -> CreateChatCompletionResponse: ...


@overload
def create_chat_completion(
    self: Llama, messages: Sequence[Mapping[str, Any]], *arguments: Any, **parameters: Any
) -> CreateChatCompletionResponse | Generator[CreateChatCompletionStreamResponse, None, None]: ...


def create_chat_completion(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    functions: Sequence[Mapping[str, Any]] | None = None,
    function_call: str | Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float = 0.2,
    top_p: float = 0.95,
    top_k: int = 40,
    min_p: float = 0.05,
    typical_p: float = 1.0,
    stream: bool = False,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    response_format: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    presence_penalty: float = 0.0,
    frequency_penalty: float = 0.0,
    repeat_penalty: float = 1.0,
    tfs_z: float = 1.0,
    mirostat_mode: int = 0,
    mirostat_tau: float = 5.0,
    mirostat_eta: float = 0.1,
    model: str | None = None,
    logits_processor: Any = None,
    grammar: LlamaGrammar | str | None = None,
    logit_bias: Mapping[Any, float] | None = None,
    logprobs: bool | None = None,
    top_logprobs: int | None = None,
    n: int = 1,
    parallel_tool_calls: bool | None = None,
    reasoning_effort: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    stream_options: Mapping[str, Any] | None = None,
    stopping_criteria: Any = None,
    **more: Any,
) -> CreateChatCompletionResponse | Generator[CreateChatCompletionStreamResponse, None, None]:
    """Answers a conversation, through the model's chat template.

    Args:
        messages: OpenAI chat messages.
        functions: Deprecated form of ``tools``.
        function_call: Deprecated form of ``tool_choice``.
        tools: Functions that the model may call.
        tool_choice: "none", "auto", "required", or ``{"type": "function", "function": {"name": ...}}``.
        temperature: 0 picks the likeliest token; higher is more random.
        top_p: Keep the likeliest tokens that together reach this probability.
        top_k: Keep this many likeliest tokens; 0 turns it off.
        min_p: Drop tokens less likely than this fraction of the likeliest.
        typical_p: Locally typical sampling; 1 turns it off.
        stream: Return an iterator of chunks.
        stop: Strings that end the answer.
        seed: As for :meth:`create_completion`: the same random choices for the same logits.
        response_format: ``{"type": "json_object"}``, or
            ``{"type": "json_schema", "json_schema": {"schema": {...}}}``.
        max_tokens: Tokens to generate at most; None, 0 or less: to the end of the context.
        presence_penalty: Lower a token's logit by this once it occurred.
        frequency_penalty: Lower a token's logit by this for each time it occurred.
        repeat_penalty: Divide the logits of recent tokens by this; 1 turns it off.
        tfs_z: Accepted at 1 only: llama.cpp has dropped tail-free sampling.
        mirostat_mode: 0, 1 or 2.
        mirostat_tau: Mirostat's target entropy.
        mirostat_eta: Mirostat's learning rate.
        model: The name to report in the response.
        logits_processor: A function of (token ids so far, logits) that returns logits, or several in a
            list. The request then runs in a context of its own, beside the batch.
        grammar: A LlamaGrammar, or GBNF text.
        logit_bias: From token id to a number to add to its logit; -inf or False bans it.
        logprobs: Report the tokens' log-probabilities. Several tokens that make one character (an emoji,
            say) have one entry, that of the last.
        top_logprobs: Alternatives to report per token.
        n: Answers to generate.
        parallel_tool_calls: Whether one answer may hold several calls.
        reasoning_effort: "none" to "xhigh", for templates that know it.
        chat_template_kwargs: Variables for the template.
        stream_options: ``{"include_usage": True}`` sends the usage as a last chunk of its own.
        stopping_criteria: As ``logits_processor``, but what it returns says whether to stop.
        more: ``schema_limits`` and ``schema_strictness`` (see :doc:`/how-to/structured-output`),
            ``continue_final_message`` (a last message of the assistant is the beginning of the answer),
            ``add_generation_prompt``, ``reasoning_format``, ``reasoning_budget_tokens``, ``lora`` (scales by
            position or name), names in :data:`~llamacpp_core.request.sampling.EXTRA_FIELDS`.

    Returns:
        A ``CreateChatCompletionResponse``, or with ``stream`` an iterator of
        ``CreateChatCompletionStreamResponse`` with ``close()``; the last chunk holds the usage.

    Raises:
        InvalidMessageError: A message cannot be used; names its index.
        InvalidParameterError: Another argument is unknown or cannot work.
        ContextOverflowError: The conversation is longer than the context.
    """
    arguments = {
        "functions": functions,
        "function_call": function_call,
        "tools": tools,
        "tool_choice": tool_choice,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "typical_p": typical_p,
        "stream": stream,
        "stop": stop,
        "seed": seed,
        "response_format": response_format,
        "max_tokens": max_tokens,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "repeat_penalty": repeat_penalty,
        "tfs_z": tfs_z,
        "mirostat_mode": mirostat_mode,
        "mirostat_tau": mirostat_tau,
        "mirostat_eta": mirostat_eta,
        "model": model,
        "logits_processor": logits_processor,
        "grammar": grammar,
        "logit_bias": logit_bias,
        "logprobs": logprobs,
        "top_logprobs": top_logprobs,
        "n": n,
        "parallel_tool_calls": parallel_tool_calls,
        "reasoning_effort": reasoning_effort,
        "chat_template_kwargs": chat_template_kwargs,
        "stream_options": stream_options,
        "stopping_criteria": stopping_criteria,
        **more,
    }
    handler, formatter = _answers_chats(self)
    if handler is not None:
        return handler(llama=self, messages=_listed(messages), **_for_handler(arguments))  # type: ignore[no-any-return]
    return run_prepared(self, prepare_chat(self, messages, arguments, formatter))  # type: ignore[return-value]


@overload
async def acreate_chat_completion(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[True],
    **parameters: Unpack[ChatCompletionParameters],
) -> AsyncGenerator[CreateChatCompletionStreamResponse, None]: ...


@overload
async def acreate_chat_completion(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    *,
    stream: Literal[False] = False,
    **parameters: Unpack[ChatCompletionParameters],
) -> CreateChatCompletionResponse: ...


async def acreate_chat_completion(
    self: Llama, messages: Sequence[Mapping[str, Any]], *, stream: bool = False, **parameters: Any
) -> CreateChatCompletionResponse | AsyncGenerator[CreateChatCompletionStreamResponse, None]:
    """:meth:`create_chat_completion` for coroutines; with ``stream`` it gives an async iterator.

    A chat handler is called on another thread.
    """
    arguments = default_arguments(create_chat_completion) | parameters | {"stream": stream}
    handler, formatter = _answers_chats(self)
    if handler is not None:
        from llamacpp_core.engine.python_loop.threads import on_thread, stream_on_thread

        found = await on_thread(
            lambda: handler(llama=self, messages=_listed(messages), **_for_handler(arguments))
        )
        return stream_on_thread(found) if stream else found
    prepared = await aoff_loop(
        lambda: prepare_chat(self, messages, arguments, formatter), _size(messages, arguments)
    )
    return await arun_prepared(self, prepared)  # type: ignore[return-value]


def create_chat_completion_openai_v1(self: Llama, *arguments: Any, **parameters: Any) -> Any:
    """:meth:`create_chat_completion` with the answer as objects of the ``openai`` package.

    Returns:
        An ``openai.types.chat.ChatCompletion``, or with ``stream=True`` an iterator of
        ``ChatCompletionChunk``.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    try:
        from openai.types.chat import (  # type: ignore[import-not-found, unused-ignore]
            ChatCompletion,
            ChatCompletionChunk,
        )
    except ImportError:
        raise MissingDependencyError(
            "create_chat_completion_openai_v1 needs the openai package: pip install openai"
        ) from None
    answer: Any = self.create_chat_completion(*arguments, **parameters)
    if isinstance(answer, Mapping):
        return ChatCompletion(**answer)
    return (ChatCompletionChunk(**chunk) for chunk in answer)


def answer_with(
    self: Llama, formatter: ChatFormatter, messages: Sequence[Mapping[str, Any]], **parameters: Any
) -> Any:
    """:meth:`create_chat_completion` with a prompt that a formatter writes.

    Args:
        formatter: What writes the prompt.
        messages: The conversation.
        parameters: As for :meth:`create_chat_completion`.
    """
    return run_prepared(self, prepare_chat(self, messages, parameters, formatter))


def count_tokens(
    self: Llama,
    text: str | None = None,
    *,
    messages: Sequence[Mapping[str, Any]] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **template: Any,
) -> int:
    """How many tokens a text, or a conversation with its template, has.

    Args:
        text: Plain text, counted without special tokens.
        messages: A conversation, counted as the model would read it.
        tools: Tools that go with the conversation.
        template: As for :meth:`apply_chat_template`.
    """
    if (text is None) == (messages is None):
        raise InvalidParameterError("give text or messages", parameter="text")
    if text is not None:
        if tools is not None or template:
            name = "tools" if tools is not None else next(iter(template))
            raise InvalidParameterError(
                f"{name} goes with messages: a text is counted by itself", parameter=name
            )
        return len(self._vocab.tokenize(text, add_special=False, parse_special=False))
    return _prompt(self, messages, {"tools": tools, **template}).plan.n_tokens()


def apply_chat_template(
    self: Llama,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    *,
    tokenize: bool = False,
    tool_choice: str | Mapping[str, Any] | None = None,
    **template: Any,
) -> str | list[int]:
    """The prompt that a conversation becomes.

    Args:
        messages: The conversation.
        tools: Tools that go with it.
        tokenize: Return token ids instead of text.
        tool_choice: As for :meth:`create_chat_completion`.
        template: ``add_generation_prompt``, ``continue_final_message``, ``chat_template_kwargs``,
            ``reasoning_effort``.
    """
    boolean("tokenize", tokenize)
    planned = _prompt(self, messages, {"tools": tools, "tool_choice": tool_choice, **template})
    return planned.plan.tokens() if tokenize else planned.text


def _prompt(llama: Llama, messages: Any, arguments: Mapping[str, Any]) -> PlannedChat:
    _, formatter = _answers_chats(llama)
    return llama._chat.prompt(messages, chat_settings(llama, arguments), formatter)


def prepare_chat(
    llama: Llama, messages: Any, arguments: Mapping[str, Any], formatter: ChatFormatter | None
) -> Prepared:
    """The request that a chat completion is, rendered and checked."""
    return llama._chat.prepare(messages, chat_settings(llama, arguments), formatter)


def chat_settings(llama: Llama, arguments: Mapping[str, Any]) -> ChatSettings:
    """The arguments of a chat completion, with what was set for the whole model, read and checked."""
    given = default_arguments(create_chat_completion) | with_own_defaults(llama, arguments)
    return read_chat_settings(given, n_vocab=llama.info.n_vocab, lora=llama._adapters.numbers)


def _answers_chats(llama: Llama) -> tuple[Callable[..., Any] | None, ChatFormatter | None]:
    """A handler that answers conversations in the engine's place, or a formatter that writes its prompts.

    Both are None where the engine's own chat template does.
    """
    handler = check_handler(llama.chat_handler)
    name = check_name(llama.chat_format)
    handler = handler or chat_handler_for(name)
    if handler is not None:
        formatter = getattr(handler, "chat_formatter", None)
        return (handler, None) if formatter is None else (None, formatter)
    if name is None or name == llama._engine_format:
        return None, None
    # The format was changed after loading: the engine keeps its template, so Python does this one.
    info = llama.info
    return None, formatter_for(name, llama._resolved.header, info.eos_token, info.bos_token)


def _for_handler(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a chat handler is called with: llama-cpp-python's, and what else was given."""
    out = {k: v for k, v in arguments.items() if k not in _NEWER or v != _NEWER[k]}
    if out.get("stop") is None:
        out["stop"] = []
    return out


def _listed(messages: Any) -> list[Any]:
    """The messages for a handler, which checks each of them."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InvalidMessageError("messages must be a list of message dicts", parameter="messages")
    return list(messages)


def _size(messages: Any, params: Mapping[str, Any]) -> int:
    """Roughly how much text a chat request holds; tools make it costly to plan."""
    try:
        if params.get("tools") or params.get("functions") or params.get("response_format"):
            return sys.maxsize
        return sum(len(message.get("content") or "") for message in messages)
    except (TypeError, AttributeError, ValueError):
        return 0
