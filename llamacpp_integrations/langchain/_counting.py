"""Exact counts of tokens, through the model's own tokenizer and template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from llamacpp_integrations.langchain._dangling import without_dangling_calls
from llamacpp_integrations.langchain._errors import translated_errors
from llamacpp_integrations.langchain._messages import countable_messages
from llamacpp_integrations.langchain._tools import has_tools, openai_tools

__all__ = ["TokenCounts"]


class TokenCounts:
    """Counting for a chat model; to be mixed into it, before LangChain's class."""

    def get_token_ids(self: Any, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        if self.custom_get_token_ids is not None:
            return list(self.custom_get_token_ids(text))
        with translated_errors():
            return list(self.client.tokenize(text, add_bos=False))

    def get_num_tokens_from_messages(
        self: Any,
        messages: Sequence[BaseMessage],
        tools: Sequence[Any] | None = None,
        **template: Any,
    ) -> int:
        """Tokens of a conversation as the model reads it: with its template, tools, and the answer's start.

        Args:
            messages: The conversation, or a part of it; it may be longer than the context.
            tools: Tools that go with it.
            template: ``chat_template_kwargs``, ``add_generation_prompt``, ``tool_choice``, ...
        """
        if not messages:
            return 0
        with translated_errors():
            given = self._convert_input(messages).to_messages()
            if self.on_dangling_call == "drop":
                given = without_dangling_calls(given)
            converted = countable_messages(given)
            count: int = self.client.count_tokens(
                messages=converted,
                tools=openai_tools(tools) if tools is not None and has_tools(tools) else None,
                **template,
            )
            return count
