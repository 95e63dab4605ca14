"""The language model of LlamaIndex: :class:`LlamaCpp`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import BeforeValidator, Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import ToolSelection

from llamacpp_core._checks import boolean, text
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.llama.handle import is_load_keyword
from llamacpp_integrations._time_limits import read_timeout
from llamacpp_integrations.llama_index._arguments import (
    UNUSED_HOOKS,
    call_arguments,
    call_names,
    check_arguments,
    refuse_hook,
    text_arguments,
)
from llamacpp_integrations.llama_index._calls import Call
from llamacpp_integrations.llama_index._messages import checks_messages, to_openai_messages
from llamacpp_integrations.llama_index._model import LlamaCppComponent
from llamacpp_integrations.llama_index._responses import (
    ChatStream,
    CompletionStream,
    as_completion,
    chat_response,
    completion_response,
)
from llamacpp_integrations.llama_index._structured import StructuredOutputLLM
from llamacpp_integrations.llama_index._tools import (
    conversation,
    first_call_only,
    tool_choice_of,
    tool_selections,
    tool_specs,
)

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

__all__ = ["LlamaCpp"]

_SAMPLING = (
    "frequency_penalty",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "repeat_penalty",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "top_p",
)


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class LlamaCpp(LlamaCppComponent, StructuredOutputLLM):
    """llama.cpp in this process, as an LLM of LlamaIndex with tools and structured output.

    One object serves any number of threads and event loops at once; their requests share the steps of one
    batch. Objects of the same model and load options share the weights.

    Args:
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        llama: A loaded :class:`~llamacpp_core.Llama` to use instead of ``model``.
        fields: The fields below; load options of :class:`~llamacpp_core.LoadOptions`, such as ``n_ctx`` or
            ``chat_template``; ``progress``, as for :class:`~llamacpp_core.Llama`.

    Every call takes the keywords of :meth:`Llama.create_chat_completion
    <llamacpp_core.Llama.create_chat_completion>` and ``timeout``, and refuses others: ``temperature``,
    ``max_tokens``, ``stop``, ``response_format``, ``grammar``, ``logprobs`` with ``top_logprobs``, and so on.

    Raises:
        ModelNotFoundError: There is no such model.
        UnsupportedCapabilityError: The model computes embeddings only.
        InvalidParameterError: An argument is unknown or cannot work.

    Example:
        >>> from llamacpp_integrations.llama_index import LlamaCpp
        >>> llm = LlamaCpp("smollm2-135m-instruct", temperature=0)  # doctest: +SKIP
        >>> llm.complete("Paul Graham is").text  # doctest: +SKIP
    """

    temperature: float = Field(default=0.2, description="0 picks the likeliest token; higher is more random.")
    max_tokens: int | None = Field(
        default=None, description="Tokens to generate at most. None: to the end of the context."
    )
    top_p: float = Field(
        default=0.95, description="Keep the likeliest tokens that together reach this probability."
    )
    top_k: int = Field(default=40, description="Keep this many likeliest tokens; 0 turns it off.")
    min_p: float = Field(
        default=0.05, description="Drop tokens less likely than this fraction of the likeliest."
    )
    repeat_penalty: float = Field(
        default=1.0, description="Divide the logits of recent tokens by this; 1: off."
    )
    presence_penalty: float = Field(
        default=0.0, description="Lower a token's logit by this once it occurred."
    )
    frequency_penalty: float = Field(
        default=0.0, description="Lower a token's logit by this for each time it occurred."
    )
    seed: int | None = Field(
        default=None, description="Makes answers repeatable. None: a new seed each time."
    )
    stop: Annotated[list[str] | None, BeforeValidator(_listed)] = Field(
        default=None, description="Strings that end an answer; one string is taken as a list of it."
    )
    timeout: float | None = Field(
        default=None,
        description="Seconds after which a call is cancelled with a TimeoutError. None: no limit.",
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Any other argument of Llama.create_chat_completion, for every call of this object.",
    )

    def __init__(self, model: Any = None, *, llama: Any = None, **fields: Any) -> None:
        for name in UNUSED_HOOKS:
            refuse_hook(name, fields.pop(name, None))
        super().__init__(model, llama=llama, **fields)
        info = self.client.info
        if not info.capabilities.completion:
            raise UnsupportedCapabilityError(
                f"{info.name} computes embeddings only: use LlamaCppEmbedding", parameter="model"
            )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in UNUSED_HOOKS:
            refuse_hook(name, value)
        super().__setattr__(name, value)

    def _settled(self, name: str, value: Any) -> Any:
        if name in _SAMPLING:
            check_arguments({name: value}, n_vocab=0)
        elif name == "timeout":
            read_timeout(value)
        elif name == "additional_kwargs":
            check_arguments(value, n_vocab=self.client.info.n_vocab)
        return value

    @classmethod
    def _sorted(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        for name in given:
            if name in call_names() and name not in cls.model_fields and not is_load_keyword(name):
                raise InvalidParameterError(
                    f"{name} is an argument of calls: give it to them, or for all of them as "
                    f"additional_kwargs={{{name!r}: ...}}",
                    parameter=name,
                )
        return super()._sorted(given)

    @classmethod
    def class_name(cls) -> str:
        """The name of the class in serialized objects."""
        return "LlamaCpp"

    @property
    def metadata(self) -> LLMMetadata:
        """The context length, what is kept free for an answer, and what the model can do."""
        info = self.client.info
        limit = self.additional_kwargs.get("max_tokens") or self.max_tokens or 0
        return LLMMetadata(
            context_window=info.n_ctx,
            # An answer without a limit may go on to the end of the context: keep a quarter of it free.
            num_output=min(limit if limit > 0 else info.n_ctx // 4, info.n_ctx),
            is_chat_model=info.capabilities.chat,
            is_function_calling_model=info.capabilities.chat,
            model_name=info.name,
            system_role=MessageRole.SYSTEM if info.capabilities.system_role else MessageRole.USER,
        )

    # Chat

    @checks_messages
    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answers a conversation.

        Args:
            messages: The conversation; not changed.
            kwargs: Arguments of :meth:`Llama.create_chat_completion
                <llamacpp_core.Llama.create_chat_completion>` for this call.

        Raises:
            InvalidMessageError: A message cannot be used; names its index.
            InvalidParameterError: An argument is unknown or cannot work.
            ContextOverflowError: The conversation is longer than the context.
            IncompleteOutputError: A forced call, or an answer bound to a schema, was cut off.
            GenerationTimeoutError: The answer was not complete within ``timeout``; a :class:`TimeoutError`.
        """
        return self._chat(messages, kwargs)

    @checks_messages
    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """:meth:`chat`, in pieces: each response has the message so far, and what is new as ``delta``.

        The last one has the usage and timings. Closing or dropping the generator frees the slot.
        """
        return self._stream_chat(messages, kwargs)

    @checks_messages
    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """:meth:`chat` for coroutines."""
        return await self._achat(messages, kwargs)

    @checks_messages
    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """:meth:`stream_chat` for coroutines."""
        return await self._astream_chat(messages, kwargs)

    def _chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        call = self._chat_call(messages, kwargs)
        return chat_response(call.run(), call.params)

    async def _achat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        call = self._chat_call(messages, kwargs)
        return chat_response(await call.arun(), call.params)

    def _stream_chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponseGen:
        call = self._chat_call(messages, kwargs)
        return call.stream(ChatStream(call.params).add)

    async def _astream_chat(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> ChatResponseAsyncGen:
        call = self._chat_call(messages, kwargs)
        return await call.astream(ChatStream(call.params).add)

    def _chat_call(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Call:
        llama, timeout, params = self.client, *self._params(kwargs)
        translated = to_openai_messages(messages, llama.info.capabilities)
        return Call(llama.create_chat_completion, llama.acreate_chat_completion, translated, params, timeout)

    def _text_call(self, prompt: str, kwargs: Mapping[str, Any]) -> Call:
        llama, timeout, params = self.client, *self._params(kwargs)
        return Call(
            llama.create_completion, llama.acreate_completion, prompt, text_arguments(params), timeout
        )

    def _params(self, kwargs: Mapping[str, Any]) -> tuple[float | None, dict[str, Any]]:
        """The time limit of one call, and its arguments over those of the object."""
        given = dict(kwargs)
        timeout = read_timeout(given.pop("timeout", self.timeout))
        configured = {name: getattr(self, name) for name in _SAMPLING} | self.additional_kwargs
        return timeout, call_arguments(configured, given)

    # Completion

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answers a prompt.

        Args:
            prompt: The prompt.
            formatted: Send the text as it is. Otherwise it becomes a user message in the model's chat
                template; a model without a template gets the text as it is.
            kwargs: As for :meth:`chat`; of :meth:`Llama.create_completion
                <llamacpp_core.Llama.create_completion>` when the text goes as it is.
        """
        if not self._raw(prompt, formatted):
            return as_completion(self._chat([ChatMessage(content=prompt)], kwargs))
        return completion_response(self._text_call(prompt, kwargs).run())

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """:meth:`complete`, in pieces: each response has the text so far, and what is new as ``delta``."""
        if not self._raw(prompt, formatted):
            responses = self._stream_chat([ChatMessage(content=prompt)], kwargs)
            return (as_completion(response) for response in responses)
        return self._text_call(prompt, kwargs).stream(CompletionStream().add)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """:meth:`complete` for coroutines."""
        if not self._raw(prompt, formatted):
            return as_completion(await self._achat([ChatMessage(content=prompt)], kwargs))
        return completion_response(await self._text_call(prompt, kwargs).arun())

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """:meth:`stream_complete` for coroutines."""
        if not self._raw(prompt, formatted):
            responses = await self._astream_chat([ChatMessage(content=prompt)], kwargs)
            return (as_completion(response) async for response in responses)
        return await self._text_call(prompt, kwargs).astream(CompletionStream().add)

    def _raw(self, prompt: str, formatted: bool) -> bool:
        """Whether the prompt goes as it is; one that is not text would become an empty message."""
        text("prompt", prompt)
        return boolean("formatted", formatted) or not self.client.info.capabilities.chat

    # Tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002 - the framework prints, not the model
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        boolean("tool_required", tool_required)
        boolean("allow_parallel_tool_calls", allow_parallel_tool_calls)
        specs = tool_specs(tools)
        arguments: dict[str, Any] = {"messages": conversation(user_msg, chat_history), **kwargs}
        choice = tool_choice_of(tool_choice, tool_required, specs)
        if specs or choice not in ("auto", "none"):
            # Who names a tool wants it called: once.
            parallel = allow_parallel_tool_calls and not isinstance(choice, dict)
            arguments |= {"tools": specs, "tool_choice": choice, "parallel_tool_calls": parallel}
        return arguments

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002 - as the framework calls it
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else first_call_only(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **kwargs: Any,  # noqa: ARG002 - as the framework calls it
    ) -> list[ToolSelection]:
        """The calls in a response; in one that is still being streamed with the arguments so far.

        Raises:
            MissingToolCallError: There is none, and ``error_on_no_tool_call`` is set.
        """
        return tool_selections(response, error_on_no_tool_call=error_on_no_tool_call)
