"""Formatters of the named formats, and chat completion handlers made of formatters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from llamacpp_core.chat_format.formatter import ChatFormatter, ChatFormatterResponse, Jinja2ChatFormatter
from llamacpp_core.chat_format.named import named_format
from llamacpp_core.chat_format.registry import LlamaChatCompletionHandler
from llamacpp_core.chat_format.written_calls import WrittenCallParser
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.request.history import as_text
from llamacpp_core.request.messages import normalize_messages
from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

__all__ = [
    "FormatterHandler",
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
        syntax = self.format.tool_syntax
        self.expresses_tools = syntax is not None
        self.call_parser = (
            None if syntax in (None, "tool_call_tags") else lambda names: WrittenCallParser(syntax, names)
        )
        self._formatter = Jinja2ChatFormatter(
            self.format.template, eos_token=self.format.eos_token, bos_token=self.format.bos_token
        )

    def __call__(
        self, *, messages: list[Any], tools: list[Any] | None = None, **kwargs: Any
    ) -> ChatFormatterResponse:
        """Formats a conversation.

        Raises:
            InvalidMessageError: The messages are malformed, or in an order that the format does not have.
            UnsupportedCapabilityError: They hold something that the format cannot write.
        """
        plain = [self._plain(i, message) for i, message in enumerate(normalize_messages(messages))]
        prompt = self._formatter.format_messages(plain, tools=tools, **kwargs).prompt
        bos = self.format.bos_token
        # Where the format writes no BOS token, the tokenizer adds it if the vocabulary wants one.
        added = bool(bos) and prompt.startswith(bos)
        return ChatFormatterResponse(prompt, stop=list(self.format.stop), added_special=added)

    def _plain(self, index: int, message: dict[str, Any]) -> dict[str, Any]:
        """A checked message with text for content, and the arguments of calls as dicts."""
        calls = message.get("tool_calls", ())
        if (calls or message["role"] == "tool") and not self.expresses_tools:
            raise UnsupportedCapabilityError(
                f"messages[{index}] has {'tool calls' if calls else 'the answer of a tool'}, which the "
                f"{self.format.name!r} chat format cannot write: use a format with tools, such as 'chatml'",
                parameter=f"messages[{index}]",
            )
        plain = message | {"content": as_text(message["content"])}
        if calls:
            plain["tool_calls"] = [
                call
                | {"function": call["function"] | {"arguments": json.loads(call["function"]["arguments"])}}
                for call in calls
            ]
        return plain


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
    """Makes a chat completion handler of a formatter.

    The formatter writes the prompt; all else is done as for the model's own template: tools and messages are
    checked, a forced call and a response format hold by a grammar, and answers are read in the same way.

    Args:
        chat_formatter: The formatter.

    Returns:
        A handler that takes the keywords of ``Llama.create_chat_completion``. Variables for the formatter's
        template are given as ``chat_template_kwargs``.

    Raises:
        InvalidParameterError: The formatter is not callable.
    """
    if not callable(chat_formatter):
        raise InvalidParameterError("chat_formatter must be callable", parameter="chat_formatter")
    return FormatterHandler(chat_formatter)


class FormatterHandler:
    """The handler of a formatter.

    Attributes:
        chat_formatter: The formatter.
    """

    def __init__(self, chat_formatter: ChatFormatter) -> None:
        self.chat_formatter = chat_formatter

    def __call__(
        self, *, llama: Any, messages: list[Any], **arguments: Any
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answers a conversation; the arguments are those of ``Llama.create_chat_completion``."""
        answer: Any = llama.answer_with(self.chat_formatter, messages, **arguments)
        return answer  # type: ignore[no-any-return]
