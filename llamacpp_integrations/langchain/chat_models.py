"""A chat model of llama.cpp in this process, for chains and agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._time_limits import anext_timed, atimed, timed, timed_stream
from llamacpp_integrations.langchain._batch import SharedBatch
from llamacpp_integrations.langchain._counting import TokenCounts
from llamacpp_integrations.langchain._dangling import without_dangling_calls
from llamacpp_integrations.langchain._errors import translated_errors
from llamacpp_integrations.langchain._generation import StreamReader, check_response
from llamacpp_integrations.langchain._messages import chat_result, openai_messages
from llamacpp_integrations.langchain._model import LlamaCppModel, check_generates
from llamacpp_integrations.langchain._profile import model_profile
from llamacpp_integrations.langchain._sampling import Sampling
from llamacpp_integrations.langchain._structured import (
    Method,
    openai_response_format,
    structured_output,
    with_schema,
)
from llamacpp_integrations.langchain._tools import has_tools, openai_tool_choice, openai_tools

__all__ = ["ChatLlamaCpp"]

_CHAT_FIELDS = (
    "chat_template_kwargs",
    "logprobs",
    "reasoning_budget_tokens",
    "reasoning_effort",
    "reasoning_format",
    "top_logprobs",
)


class ChatLlamaCpp(SharedBatch, TokenCounts, Sampling, LlamaCppModel, BaseChatModel):
    """A chat model of llama.cpp in this process.

    Setup:
        ``pip install "llamacpp-integrations[langchain,models]"``. There is no server and no key; a model
        given by name is fetched on first use.

    Key init args (sampling):
        temperature: 0 picks the likeliest token; higher is more random. Default 0.2.
        max_tokens: Tokens to generate at most. Default: to the end of the context.
        stop: Strings that end the answer.
        seed: Makes the answer repeatable.
        top_p, top_k, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty, ...: See the
            fields; ``repeat_penalty`` is off (1.0) unless given.

    Key init args (model):
        model: A catalog name, a path to a GGUF file, or ``hf:owner/repo:file-or-glob.gguf``.
        n_ctx: Context length of one request. Default: what the model was trained with.
        n_parallel: Requests that run at once in one batch. Default 4.
        n_gpu_layers, n_threads, ...: Any field of :class:`~llamacpp_core.LoadOptions`.
        llama: A loaded :class:`~llamacpp_core.Llama` in place of all of these.

    Instantiate:
        >>> from llamacpp_integrations.langchain import ChatLlamaCpp
        >>> llm = ChatLlamaCpp(model="smollm2-135m-instruct", temperature=0)  # doctest: +SKIP

    Invoke:
        >>> llm.invoke([("system", "Answer in one word."), ("human", "Capital of France?")])  # doctest: +SKIP
        AIMessage(content='Paris', ...)

    Stream:
        >>> for chunk in llm.stream("Tell me a story."):  # doctest: +SKIP
        ...     print(chunk.text, end="", flush=True)

    Async:
        >>> await llm.ainvoke("Hello")  # doctest: +SKIP
        >>> await llm.abatch(["Hello", "Good morning"])  # doctest: +SKIP

    Tool calling:
        >>> def multiply(a: int, b: int) -> int:
        ...     '''Multiply two numbers.'''
        ...     return a * b
        >>> llm.bind_tools([multiply], tool_choice="any").invoke("6 times 7?").tool_calls  # doctest: +SKIP
        [{'name': 'multiply', 'args': {'a': 6, 'b': 7}, 'id': 'call_...', 'type': 'tool_call'}]

    Structured output:
        >>> from pydantic import BaseModel
        >>> class Person(BaseModel):
        ...     name: str
        ...     age: int
        >>> llm.with_structured_output(Person).invoke("Anna is 31.")  # doctest: +SKIP
        Person(name='Anna', age=31)

    Response metadata and token usage:
        >>> answer = llm.invoke("Hello")  # doctest: +SKIP
        >>> answer.usage_metadata["input_token_details"]["cache_read"]  # doctest: +SKIP
        30
        >>> answer.response_metadata["timings"]["predicted_per_second"]  # doctest: +SKIP
        95.1
    """

    logprobs: bool | None = None
    """Report the tokens' log-probabilities, in ``response_metadata["logprobs"]``."""

    top_logprobs: int | None = None
    """Alternatives to report per token."""

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """"none" to "xhigh", for templates that know it."""

    reasoning_format: Literal["none", "auto", "deepseek", "deepseek-legacy"] | None = None
    """"auto" and "deepseek" take the reasoning out of the text, "none" leaves it there."""

    reasoning_budget_tokens: int | None = Field(default=None, ge=-1)
    """Tokens of reasoning at most. -1: no bound, 0: none."""

    chat_template_kwargs: dict[str, Any] | None = None
    """Variables for the chat template, e.g. ``{"enable_thinking": False}``."""

    on_dangling_call: Literal["error", "drop"] = "error"
    """What to do with calls in a history that have no result, and results that answer no call, as interrupted
    agents and shortened histories leave them: refuse the conversation, or drop them."""

    streaming: bool = False
    """Let ``invoke`` use a stream, for callbacks that want every token."""

    # What LangChain asks about a model

    @property
    def _llm_type(self) -> str:
        return "llamacpp-chat"

    @property
    def _default_params(self) -> dict[str, Any]:
        chat = {name: getattr(self, name) for name in _CHAT_FIELDS}
        return self._sampling_params | {name: value for name, value in chat.items() if value is not None}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._identity | self._default_params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop or self.stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "llamacpp"
        params.setdefault("ls_model_name", self.client.info.name)
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        return model_profile(self.client.info)

    def _settle(self) -> None:
        super()._settle()
        check_generates(self.client.info)

    # Requests

    def _params(self, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a chat completion; what the call gives takes the place of what the object has.

        Raises:
            InvalidParameterError: Something cannot work here; the engine checks the rest.
        """
        self._check_call(given)
        params = self._default_params | given
        for name in ("stream", "ls_structured_output_format", "structured_output_format", "timeout"):
            params.pop(name, None)
        if stop is not None:
            params["stop"] = stop
        self._check_name(params.pop("model", None))
        if has_tools(params.get("tools")):
            params["tools"] = openai_tools(params["tools"], strict=params.pop("strict", None))
        if "tool_choice" in params:
            params["tool_choice"] = openai_tool_choice(params["tool_choice"], params.get("tools") or [])
        if "response_format" in params:
            params["response_format"] = openai_response_format(params["response_format"])
        if params.get("tool_choice") not in (None, "auto", "none"):
            params.pop("response_format", None)  # it is for the answer after the calls
        params.pop("strict", None)
        return params

    def _conversation(self, messages: list[BaseMessage], params: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages as the engine takes them; takes out of the arguments what concerns them."""
        describe = params.pop("describe_schema", False)
        if self.on_dangling_call == "drop":
            messages = without_dangling_calls(messages)
        converted = openai_messages(messages)
        return with_schema(converted, params.get("response_format")) if describe else converted

    def _check_name(self, name: Any) -> None:
        if name is not None and name not in (self.model, self.client.info.name):
            raise InvalidParameterError(
                f"this object runs {self.model or self.client.info.name!r}, not {name!r}: make another one, "
                "or use configurable_fields()",
                parameter="model",
            )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        with translated_errors():
            params = self._params(stop, kwargs)
            converted = self._conversation(messages, params)
            timeout = self._time_limit(kwargs)
            if timeout is None:
                response = self.client.create_chat_completion(converted, **params)
            else:
                response = timed(lambda: self.client.acreate_chat_completion(converted, **params), timeout)
            check_response(response, params)
            return chat_result(response)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002  LangChain's signature
        **kwargs: Any,
    ) -> ChatResult:
        with translated_errors():
            params = self._params(stop, kwargs)
            converted = self._conversation(messages, params)
            async with atimed(self._time_limit(kwargs)):
                response = await self.client.acreate_chat_completion(converted, **params)
            check_response(response, params)
            return chat_result(response)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with translated_errors():
            params = self._params(stop, kwargs)
            converted = self._conversation(messages, params)
            reader = self._reader(params)
            timeout = self._time_limit(kwargs)
            if timeout is None:
                source = self.client.create_chat_completion(converted, stream=True, **reader.params)
            else:
                source = timed_stream(
                    lambda: self.client.acreate_chat_completion(converted, stream=True, **reader.params),
                    timeout,
                )
            try:
                for chunk in source:
                    for piece in reader.read(chunk):
                        if run_manager:
                            run_manager.on_llm_new_token(piece.text, chunk=piece)
                        yield piece
            finally:
                source.close()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with translated_errors():
            params = self._params(stop, kwargs)
            converted = self._conversation(messages, params)
            reader = self._reader(params)
            timeout = self._time_limit(kwargs)
            deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
            async with atimed(timeout):
                source: Any = await self.client.acreate_chat_completion(
                    converted, stream=True, **reader.params
                )
            try:
                while (chunk := await anext_timed(source, deadline)) is not None:
                    for piece in reader.read(chunk):
                        if run_manager:
                            await run_manager.on_llm_new_token(piece.text, chunk=piece)
                        yield piece
            finally:
                await source.aclose()

    def _reader(self, params: dict[str, Any]) -> StreamReader:
        if params.get("n", 1) != 1:
            raise InvalidParameterError("a stream gives one answer: n must be 1", parameter="n")
        return StreamReader(params, blocks=self.output_version == "v1")

    # Tools and schemas

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Lets the model call tools.

        Args:
            tools: Functions, pydantic or TypedDict classes, LangChain tools, or dicts in OpenAI's form.
            tool_choice: "auto" lets the model decide; "any", "required" or True force at least one call; a
                tool's name forces that tool; "none" or False forbid calls. A forced call always has a name
                and arguments that follow the tool's schema.
            strict: Let objects have no other properties than those of their schema.
            parallel_tool_calls: Whether one answer may hold several calls.
            response_format: A schema for the answer when no tool is called.
            kwargs: Further arguments of every call, such as sampling parameters.

        Raises:
            InvalidParameterError: Something is not a tool, or the choice names none.
        """
        with translated_errors():
            bound: dict[str, Any] = {}
            if has_tools(tools):
                bound["tools"] = openai_tools(tools, strict=strict)
            if tool_choice is not None:
                bound["tool_choice"] = openai_tool_choice(tool_choice, bound.get("tools", []))
            if parallel_tool_calls is not None:
                bound["parallel_tool_calls"] = parallel_tool_calls
            if response_format is not None:
                bound["response_format"] = openai_response_format(response_format)
        return self.bind(**bound, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
        schema_strictness: Literal["exact", "report"] = "exact",
        describe_schema: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers as objects of a schema.

        Args:
            schema: A pydantic class (gives its instances), or a TypedDict class, JSON schema or OpenAI
                function (give dicts). Streams give growing dicts, or instances once they are valid.
            method: "json_schema" and "json_mode" have the answer written as JSON, "function_calling" as the
                arguments of a forced call. All three hold to the schema while the answer is generated.
            include_raw: Give ``{"raw": message, "parsed": object or None, "parsing_error": error or None}``.
            strict: Let objects have no other properties than those of their schema; only for
                "function_calling", "json_schema" holds to the schema as it is.
            tools: Tools that may be called instead of answering ("json_schema" only); then, ``parsed`` is
                None.
            schema_strictness: "report" takes schemas that no grammar holds in full; what it left out and what
                is wrong with the answer is the raw message's ``response_metadata["schema_report"]``.
            describe_schema: Put the schema into the prompt as well, so that the model can read what the
                fields mean. A forced call always describes its arguments.
            kwargs: No others are known.

        Raises:
            InvalidParameterError: The schema cannot be read, or the arguments contradict each other.
            IncompleteOutputError: When called: ``max_tokens`` or the context ended the answer too early.
        """
        with translated_errors():
            if kwargs:
                raise InvalidParameterError(f"with_structured_output knows no {sorted(kwargs)[0]!r}")
            return structured_output(
                self,
                schema,
                method=method,
                include_raw=include_raw,
                strict=strict,
                tools=tools,
                schema_strictness=schema_strictness,
                describe=describe_schema,
            )
