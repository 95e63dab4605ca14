"""Chat completion handlers made of formatters: render, complete, convert."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from llamacpp_core.chat_format._convert import ChatCompletionStream, completion_to_chat
from llamacpp_core.chat_format._messages import plain_messages
from llamacpp_core.chat_format._readers import (
    ChoiceReader,
    ForcedReader,
    ReaderFactory,
    TextReader,
    ToolTextReader,
)
from llamacpp_core.chat_format._tool_text import TOOL_CALL_TAG, call_prefix
from llamacpp_core.chat_format._tools import ToolPlan, plan_tools
from llamacpp_core.chat_format.formatter import (
    ChatFormatter,
    ChatFormatterResponse,
    Jinja2ChatFormatter,
    check_messages,
)
from llamacpp_core.chat_format.named import ToolSyntax, named_format
from llamacpp_core.chat_format.registry import LlamaChatCompletionHandler
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.sampling import EXTRA_FIELDS
from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

__all__ = [
    "NamedChatFormatter",
    "chat_formatter_to_chat_completion_handler",
    "hf_tokenizer_config_to_chat_completion_handler",
    "hf_tokenizer_config_to_chat_formatter",
    "named_chat_completion_handler",
]


class NamedChatFormatter:
    """Formats conversations in one of the named formats.

    Args:
        name: A name of :data:`NAMED_FORMATS`.

    Raises:
        InvalidParameterError: There is no such format.
    """

    def __init__(self, name: str) -> None:
        self.format = named_format(name)
        self.tool_syntax: ToolSyntax | None = self.format.tool_syntax
        self.expresses_tools = self.tool_syntax is not None
        self._formatter = Jinja2ChatFormatter(
            self.format.template, eos_token=self.format.eos_token, bos_token=self.format.bos_token
        )

    def __call__(
        self, *, messages: list[Any], tools: list[Any] | None = None, **kwargs: Any
    ) -> ChatFormatterResponse:
        """Format a conversation.

        Raises:
            InvalidMessageError: The messages are malformed, or in an order that the format does not have.
            UnsupportedCapabilityError: They hold something that the format cannot write.
        """
        check_messages(messages)
        plain = plain_messages(messages, chat_format=self.format.name, tools=self.expresses_tools)
        prompt = self._formatter.format_messages(plain, tools=tools, **kwargs).prompt
        bos = self.format.bos_token
        # Where the format writes no BOS token, the tokenizer adds it if the vocabulary wants one.
        added = bool(bos) and prompt.startswith(bos)
        return ChatFormatterResponse(prompt, stop=list(self.format.stop), added_special=added)


@cache
def named_chat_completion_handler(name: str) -> LlamaChatCompletionHandler:
    """The handler of a named format.

    Raises:
        InvalidParameterError: There is no such format.
    """
    return chat_formatter_to_chat_completion_handler(NamedChatFormatter(name))


def hf_tokenizer_config_to_chat_formatter(
    tokenizer_config: dict[str, Any], add_generation_prompt: bool = True
) -> Jinja2ChatFormatter:
    """A formatter of what a Hugging Face ``tokenizer_config.json`` says.

    Args:
        tokenizer_config: The parsed file, with ``chat_template``, ``bos_token`` and ``eos_token``.
        add_generation_prompt: Whether the prompt ends with the header of the assistant's turn.

    Raises:
        InvalidParameterError: One of them is missing.
    """
    texts: dict[str, str] = {}
    for key in ("chat_template", "bos_token", "eos_token"):
        value = tokenizer_config.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if key == "bos_token" and value is None:
            value = ""  # models without one, Qwen among them, write null
        if not isinstance(value, str):
            raise InvalidParameterError(
                f"tokenizer_config has no text for {key!r}", parameter="tokenizer_config"
            )
        texts[key] = value
    return Jinja2ChatFormatter(
        texts["chat_template"],
        eos_token=texts["eos_token"],
        bos_token=texts["bos_token"],
        add_generation_prompt=add_generation_prompt,
    )


def hf_tokenizer_config_to_chat_completion_handler(
    tokenizer_config: dict[str, Any], add_generation_prompt: bool = True
) -> LlamaChatCompletionHandler:
    """The handler of :func:`hf_tokenizer_config_to_chat_formatter`'s formatter; the same arguments."""
    return hf_tokenizer_config_to_chat_formatter(tokenizer_config, add_generation_prompt).to_chat_handler()


def chat_formatter_to_chat_completion_handler(chat_formatter: ChatFormatter) -> LlamaChatCompletionHandler:
    """Make a chat completion handler of a formatter.

    The handler formats the messages, calls ``llama.create_completion`` and converts what comes back. A tool
    that ``tool_choice`` forces is enforced by a grammar made of its JSON schema, in every format. Tools
    that the model may call are left to the template; their calls are read back where the format has a
    known syntax.

    Args:
        chat_formatter: The formatter.

    Returns:
        A handler that takes the keywords of ``Llama.create_chat_completion``; those that are no parameter
        of it and no sampling field become variables of the template.

    Raises:
        InvalidParameterError: The formatter is not callable.
    """
    if not callable(chat_formatter):
        raise InvalidParameterError("chat_formatter must be callable", parameter="chat_formatter")
    return _FormatterHandler(chat_formatter)


class _FormatterHandler:
    """The handler of a formatter."""

    def __init__(self, chat_formatter: ChatFormatter) -> None:
        self.chat_formatter = chat_formatter
        self._syntax: ToolSyntax | None = getattr(chat_formatter, "tool_syntax", None)

    def __call__(
        self,
        *,
        llama: Any,
        messages: list[Any],
        functions: list[Any] | None = None,
        function_call: Any = None,
        tools: list[Any] | None = None,
        tool_choice: Any = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        stream: bool = False,
        stop: str | list[str] | None = None,
        seed: int | None = None,
        response_format: Any = None,
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
        grammar: Any = None,
        logit_bias: dict[Any, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        n: int | None = None,
        parallel_tool_calls: bool | None = None,
        stream_options: dict[str, Any] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answer a conversation; the arguments are those of ``Llama.create_chat_completion``."""
        plan = plan_tools(tools, tool_choice, functions, function_call)
        if parallel_tool_calls is False and plan.tools and not plan.forced:
            raise UnsupportedCapabilityError(
                "a chat format's handler cannot keep the model from calling several tools: "
                "leave parallel_tool_calls unset, or force one tool",
                parameter="parallel_tool_calls",
            )
        sampling = {name: kwargs.pop(name) for name in EXTRA_FIELDS if name in kwargs}
        formatted = self._format(
            messages, plan, functions, function_call, tool_choice, {**kwargs, **(chat_template_kwargs or {})}
        )
        optional = {
            "seed": seed,
            "model": model,
            "logits_processor": logits_processor,
            "stopping_criteria": formatted.stopping_criteria,
            "grammar": _grammar(grammar, response_format, plan),
            "logit_bias": logit_bias,
            "logprobs": _logprobs(logprobs, top_logprobs),
            "n": n,
            "include_usage": (stream_options or {}).get("include_usage"),
            **sampling,
        }
        completion = llama.create_completion(
            prompt=llama.tokenize(
                (formatted.prompt + self._prefix(plan)).encode("utf-8"),
                add_bos=not formatted.added_special,
                special=True,
            ),
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            typical_p=typical_p,
            stream=stream,
            stop=_stops(stop, formatted.stop),
            max_tokens=max_tokens,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            repeat_penalty=repeat_penalty,
            tfs_z=tfs_z,
            mirostat_mode=mirostat_mode,
            mirostat_tau=mirostat_tau,
            mirostat_eta=mirostat_eta,
            **{name: value for name, value in optional.items() if value is not None},
        )
        reader = self._reader(plan)
        if stream:
            return ChatCompletionStream(completion, reader, legacy=plan.legacy)
        return completion_to_chat(completion, reader, legacy=plan.legacy)

    def _format(
        self,
        messages: list[Any],
        plan: ToolPlan,
        functions: list[Any] | None,
        function_call: Any,
        tool_choice: Any,
        variables: dict[str, Any],
    ) -> ChatFormatterResponse:
        expresses_tools = getattr(self.chat_formatter, "expresses_tools", True)
        if plan.tools and not plan.forced and not expresses_tools:
            raise UnsupportedCapabilityError(
                "this chat format cannot tell the model about tools: force one with tool_choice, "
                "or use a format or model whose template has tools",
                parameter="functions" if plan.legacy else "tools",
            )
        return self.chat_formatter(
            messages=messages,
            functions=functions,
            function_call=function_call,
            tools=list(plan.tools) if plan.tools and expresses_tools else None,
            tool_choice=tool_choice,
            **variables,
        )

    def _prefix(self, plan: ToolPlan) -> str:
        """What of a forced call can be written for the model."""
        if len(plan.forced) == 1:
            return call_prefix(self._syntax, plan.forced[0]["name"])
        return f"{TOOL_CALL_TAG}\n" if plan.forced and self._syntax == "tool_call_tags" else ""

    def _reader(self, plan: ToolPlan) -> ReaderFactory:
        if len(plan.forced) == 1:
            return partial(ForcedReader, plan.forced[0]["name"])
        if plan.forced:
            return ChoiceReader
        if plan.tools and self._syntax:
            return partial(ToolTextReader, self._syntax, plan.names)
        return TextReader


def _stops(given: str | list[str] | None, of_format: str | list[str] | None) -> list[str]:
    stops: list[str] = []
    for source in (given, of_format):
        stops += [source] if isinstance(source, str) else source or []
    for stop in stops:
        if not isinstance(stop, str) or not stop:
            raise InvalidParameterError(
                f"stop must hold texts that are not empty, not {stop!r}", parameter="stop"
            )
    return list(dict.fromkeys(stops))


def _logprobs(logprobs: bool | None, top_logprobs: int | None) -> int | None:
    if top_logprobs is not None and not logprobs:
        raise InvalidParameterError("top_logprobs needs logprobs=True", parameter="top_logprobs")
    return (top_logprobs or 0) if logprobs else None


def _grammar(grammar: Any, response_format: Any, plan: ToolPlan) -> Any:
    """The grammar that constrains the answer: of the forced tool, the response format, or the caller's."""
    wanted = plan.forced_schema() if plan.forced else _response_schema(response_format)
    if wanted is None:
        return grammar
    if grammar is not None:
        raise InvalidParameterError(
            f"grammar cannot be combined with {'a forced tool' if plan.forced else 'response_format'}",
            parameter="grammar",
        )
    from llamacpp_core.grammar import LlamaGrammar

    return LlamaGrammar.from_json_schema(wanted)


def _response_schema(response_format: Any) -> str | None:
    """The JSON schema of a response format, None for plain text."""
    kind = response_format.get("type") if isinstance(response_format, dict) else response_format
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        schema = response_format.get("schema") if isinstance(response_format, dict) else None
        return json.dumps(schema if schema is not None else {"type": "object"})
    if kind == "json_schema" and isinstance(response_format.get("json_schema"), dict):
        schema = response_format["json_schema"].get("schema")
        if isinstance(schema, dict):
            return json.dumps(schema)
    raise InvalidParameterError(
        "response_format must be {'type': 'text'}, {'type': 'json_object'} or "
        "{'type': 'json_schema', 'json_schema': {'schema': {...}}}",
        parameter="response_format",
    )
