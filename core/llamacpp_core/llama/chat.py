"""The chat completion methods of :class:`~llamacpp_core.Llama`."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from llamacpp_core.errors import InvalidMessageError, MissingDependencyError
from llamacpp_core.llama.completion import CompletionMethods, call_arguments, default_arguments
from llamacpp_core.request.runner import aoff_loop

if TYPE_CHECKING:
    from llamacpp_core.grammar import LlamaGrammar
    from llamacpp_core.models import ResolvedModel
    from llamacpp_core.request.chat import ChatPreparer
    from llamacpp_core.types import (
        ChatCompletionParameters,
        CreateChatCompletionResponse,
        CreateChatCompletionStreamResponse,
    )

__all__ = ["ChatMethods"]

# Arguments that llama-cpp-python's handlers do not know: passed on when they say something.
_NEWER = {
    "chat_template_kwargs": None,
    "n": 1,
    "parallel_tool_calls": None,
    "reasoning_effort": None,
    "stopping_criteria": None,
    "stream_options": None,
}


class ChatMethods(CompletionMethods):
    """Chat completion; mixed into ``Llama``, which sets the attributes.

    Attributes:
        chat_format: Name of the chat format; can be set at any time.
        chat_handler: What answers conversations in place of the engine; can be set at any time.
    """

    chat_format: str | None
    chat_handler: Callable[..., Any] | None
    _chat: ChatPreparer
    _resolved: ResolvedModel
    _engine_format: str | None  # the format whose template the engine has
    _format_stops: tuple[str, ...]

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[True],
        **parameters: Unpack[ChatCompletionParameters],
    ) -> Generator[CreateChatCompletionStreamResponse, None, None]: ...

    @overload
    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[ChatCompletionParameters],
    ) -> CreateChatCompletionResponse: ...

    @overload
    def create_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], *arguments: Any, **parameters: Any
    ) -> CreateChatCompletionResponse | Generator[CreateChatCompletionStreamResponse, None, None]: ...

    def create_chat_completion(
        self,
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
            stopping_criteria: A function of (token ids so far, logits) that says whether to stop, or several
                in a list; runs as ``logits_processor`` does.
            more: ``continue_final_message``, ``add_generation_prompt``, ``reasoning_format``,
                ``reasoning_budget_tokens``, ``lora`` (from the position of an adapter to its scale, for this
                request) and the names in :data:`~llamacpp_core.request.sampling.EXTRA_FIELDS`.

        Returns:
            A ``CreateChatCompletionResponse``, or with ``stream`` an iterator of
            ``CreateChatCompletionStreamResponse`` with ``close()``; the last chunk holds the usage.

        Raises:
            InvalidMessageError: A message cannot be used; names its index.
            InvalidParameterError: Another argument is unknown or cannot work.
            ContextOverflowError: The conversation is longer than the context.
        """
        params = call_arguments(locals(), "messages")
        handler = self._handler()
        if handler is not None:
            return handler(llama=self, messages=_listed(messages), **_for_handler(params))  # type: ignore[no-any-return]
        runs = self._runs(params)
        prepared = self._chat.prepare(messages, self._with_format(params))
        return self._run(prepared, stream, runs)  # type: ignore[return-value]

    @overload
    async def acreate_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[True],
        **parameters: Unpack[ChatCompletionParameters],
    ) -> AsyncGenerator[CreateChatCompletionStreamResponse, None]: ...

    @overload
    async def acreate_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[False] = False,
        **parameters: Unpack[ChatCompletionParameters],
    ) -> CreateChatCompletionResponse: ...

    async def acreate_chat_completion(
        self, messages: Sequence[Mapping[str, Any]], *, stream: bool = False, **parameters: Any
    ) -> CreateChatCompletionResponse | AsyncGenerator[CreateChatCompletionStreamResponse, None]:
        """:meth:`create_chat_completion` for coroutines; with ``stream`` it gives an async iterator.

        A chat handler is called on another thread.
        """
        params = default_arguments(ChatMethods.create_chat_completion) | parameters | {"stream": stream}
        handler = self._handler()
        if handler is not None:
            from llamacpp_core.engine.python_loop.threads import on_thread, stream_on_thread

            found = await on_thread(
                lambda: handler(llama=self, messages=_listed(messages), **_for_handler(params))
            )
            return stream_on_thread(found) if stream else found
        runs = self._runs(params)
        prepared = await aoff_loop(
            lambda: self._chat.prepare(messages, self._with_format(params)), _size(messages, params)
        )
        return await self._arun(prepared, stream, runs)  # type: ignore[return-value]

    def create_chat_completion_openai_v1(self, *arguments: Any, **parameters: Any) -> Any:
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

    def _handler(self) -> Callable[..., Any] | None:
        """What answers conversations; None for the engine."""
        from llamacpp_core.llama.settings import (
            chat_handler_for,
            chat_template_for,
            check_handler,
            check_name,
        )

        if self.chat_handler is not None:
            return check_handler(self.chat_handler)
        name = check_name(self.chat_format)
        registered = chat_handler_for(name)
        if registered is not None or name is None or name == self._engine_format:
            return registered
        # The format was changed after loading: the engine keeps its template, so Python does this one.
        template, stops = chat_template_for(name, self._resolved.header)
        from llamacpp_core.chat_format import Jinja2ChatFormatter, get_chat_completion_handler

        if stops:
            return get_chat_completion_handler(name)
        text = template or self._resolved.header.chat_template or ""
        return Jinja2ChatFormatter(text, self.info.eos_token, self.info.bos_token).to_chat_handler()

    def _with_format(self, params: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the model's defaults, and the strings that end answers in the chat format."""
        defaults = default_arguments(ChatMethods.create_chat_completion)
        params = {name: defaults.get(name) if value is None else value for name, value in params.items()}
        params = self._with_defaults(params)
        given = params.get("stop")
        if not self._format_stops or not (given is None or isinstance(given, str | list | tuple)):
            return params
        stops = [given] if isinstance(given, str) else list(given or ())
        return params | {"stop": [*stops, *(s for s in self._format_stops if s not in stops)]}


def _for_handler(params: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a chat handler is called with: llama-cpp-python's, and what else was given."""
    out = {k: v for k, v in params.items() if k not in _NEWER or v != _NEWER[k]}
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
