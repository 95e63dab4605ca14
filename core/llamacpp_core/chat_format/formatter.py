"""Rendering a conversation to a prompt with a Jinja chat template."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llamacpp_core.errors import InvalidMessageError, InvalidParameterError

if TYPE_CHECKING:
    import jinja2

    from llamacpp_core.chat_format.registry import LlamaChatCompletionHandler

__all__ = ["ChatFormatter", "ChatFormatterResponse", "Jinja2ChatFormatter", "StopOnTokenIds"]

MAX_TEMPLATE = 1024 * 1024
"""Most characters that a template may have; the longest one in common use has about 30,000."""


@dataclass
class ChatFormatterResponse:
    """A formatted conversation.

    Attributes:
        prompt: The text for the model.
        stop: Where generation has to stop: one string or several; None when the model's own end suffices.
        stopping_criteria: Called with the tokens so far and the last logits, says whether to stop.
        added_special: Whether the prompt already begins with the BOS token, so that none may be added.
    """

    prompt: str
    stop: str | list[str] | None = None
    stopping_criteria: Callable[[Any, Any], bool] | None = None
    added_special: bool = False


class ChatFormatter(Protocol):
    """A function that turns a conversation into a prompt and the stops that belong to it."""

    def __call__(self, *, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        """Formats messages; other parameters are ``tools``, ``tool_choice`` and the template's variables."""
        ...


@dataclass(frozen=True)
class StopOnTokenIds:
    """A stopping criterion: the last token is one of these.

    Attributes:
        token_ids: The tokens to stop at.
    """

    token_ids: frozenset[int]

    def __call__(self, tokens: Sequence[int], logits: Any) -> bool:  # noqa: ARG002  (the protocol's shape)
        """Whether ``tokens`` ends with one of the tokens to stop at."""
        return len(tokens) > 0 and int(tokens[-1]) in self.token_ids


class Jinja2ChatFormatter:
    """Formats conversations with a chat template as Hugging Face tokenizers carry them.

    The template runs in Jinja's immutable sandbox with the helpers that transformers documents for chat
    templates (``raise_exception``, ``strftime_now``, ``tojson`` without HTML escapes, loop controls, the
    ``{% generation %}`` tag, trimmed blocks), within bounds on its size, its steps and its output.

    Args:
        template: The template's text.
        eos_token: Text of the end-of-sequence token: ``eos_token`` in the template and the stop string.
        bos_token: Text of the beginning-of-sequence token: ``bos_token`` in the template.
        stop_token_ids: Tokens that end generation, beside ``eos_token``.
        add_generation_prompt: Whether the prompt ends with the header of the assistant's turn.
        **kwargs: Further variables of the template; those given to a call win.

    Raises:
        InvalidParameterError: The template is too long or has a syntax error; the message has its line.
    """

    def __init__(
        self,
        template: str,
        eos_token: str = "</s>",
        bos_token: str = "<s>",
        stop_token_ids: Collection[int] | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> None:
        for name, value in (("template", template), ("eos_token", eos_token), ("bos_token", bos_token)):
            if not isinstance(value, str):
                raise InvalidParameterError(
                    f"{name} must be a string, not {type(value).__name__}", parameter=name
                )
        self.template = template
        self.eos_token = eos_token
        self.bos_token = bos_token
        self.stop_token_ids = _token_ids(stop_token_ids)
        self.add_generation_prompt = add_generation_prompt
        self.variables = dict(kwargs)
        self._compiled = _compile(template)

    @property
    def expresses_tools(self) -> bool:
        """Whether the template describes tools, and writes calls between ``<tool_call>`` tags.

        A template that writes them otherwise, or not at all, gets them as part of the messages.
        """
        return "<tool_call>" in self.template and re.search(r"\btools\b", self.template) is not None

    def format_messages(self, messages: list[Any], **kwargs: Any) -> ChatFormatterResponse:
        """Formats a conversation.

        Args:
            messages: The messages, oldest first.
            **kwargs: Further variables of the template, such as ``tools``.

        Returns:
            The prompt and its stops. The template writes the BOS token where its format has one, so the
            response says that no special tokens are to be added.

        Raises:
            InvalidMessageError: The messages are malformed, or the template refuses them.
            InvalidParameterError: The template passed a limit or did something forbidden.
        """
        check_messages(messages)
        variables = {
            "add_generation_prompt": self.add_generation_prompt,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
            **dict.fromkeys(("tools", "tool_choice", "functions", "function_call")),
            **self.variables,
            **kwargs,
            "messages": messages,
        }
        prompt = _render(self._compiled, variables)
        criteria = StopOnTokenIds(self.stop_token_ids) if self.stop_token_ids else None
        stop = [self.eos_token] if self.eos_token else None
        return ChatFormatterResponse(prompt, stop=stop, stopping_criteria=criteria, added_special=True)

    def __call__(
        self,
        *,
        messages: list[Any],
        tools: list[Any] | None = None,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> ChatFormatterResponse:
        """Formats a conversation, as :class:`ChatFormatter` asks; see :meth:`format_messages`."""
        return self.format_messages(messages, tools=tools, tool_choice=tool_choice, **kwargs)

    def to_chat_handler(self) -> LlamaChatCompletionHandler:
        """A chat completion handler that formats with this template."""
        from llamacpp_core.chat_format.handlers import chat_formatter_to_chat_completion_handler

        return chat_formatter_to_chat_completion_handler(self)


def _token_ids(ids: Collection[int] | None) -> frozenset[int]:
    if ids is None:
        return frozenset()
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Collection):
        raise InvalidParameterError(
            f"stop_token_ids must be a list of token ids, not {type(ids).__name__}",
            parameter="stop_token_ids",
        )
    for token in ids:
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            raise InvalidParameterError(
                f"stop_token_ids must hold token ids (integers from 0), not {token!r}",
                parameter="stop_token_ids",
            )
    return frozenset(ids)


def check_messages(messages: object) -> None:
    if not isinstance(messages, (list, tuple)):
        raise InvalidMessageError(
            f"messages must be a list of messages, not {type(messages).__name__}", parameter="messages"
        )
    if not messages:
        raise InvalidMessageError("messages is empty: give at least one message", parameter="messages")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise InvalidMessageError(
                f"{where} must be a dict with 'role' and 'content', not {type(message).__name__}",
                parameter=where,
                index=index,
            )
        if not isinstance(message.get("role"), str):
            raise InvalidMessageError(
                f"{where}.role must be a string such as 'user', not {message.get('role')!r}",
                parameter=f"{where}.role",
                index=index,
            )
        if not isinstance(message.get("content"), (str, list, tuple, type(None))):
            raise InvalidMessageError(
                f"{where}.content must be text, a list of content parts or None, "
                f"not {type(message['content']).__name__}",
                parameter=f"{where}.content",
                index=index,
            )


def _compile(template: str) -> jinja2.Template:
    import jinja2

    from llamacpp_core.chat_format._environment import environment

    if len(template) > MAX_TEMPLATE:
        raise InvalidParameterError(
            f"template has {len(template):,} characters; at most {MAX_TEMPLATE:,} are accepted",
            parameter="template",
        )
    try:
        return environment().from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidParameterError(
            f"template has a syntax error in line {error.lineno}: {error.message}", parameter="template"
        ) from error
    except Exception as error:
        # Nesting too deep for the parser or for Python's compiler, a number with too many digits.
        raise InvalidParameterError(
            f"template cannot be compiled: {type(error).__name__}: {error}", parameter="template"
        ) from error


def _render(compiled: jinja2.Template, variables: dict[str, Any]) -> str:
    import jinja2

    from llamacpp_core.chat_format._environment import TemplateLimitError, TemplateRaisedError, metered

    try:
        with metered():
            return compiled.render(variables)
    except TemplateRaisedError as error:
        raise InvalidMessageError(str(error), parameter="messages") from error
    except (TemplateLimitError, jinja2.exceptions.SecurityError, RecursionError, OverflowError) as error:
        raise InvalidParameterError(
            f"template was stopped{_line(error)}: {error}", parameter="template"
        ) from error
    except Exception as error:
        raise InvalidMessageError(
            f"template could not format these messages{_line(error)}: {error}", parameter="messages"
        ) from error


def _line(error: BaseException) -> str:
    """Where in the template an error arose; Jinja puts the template's lines into the traceback."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f" in line {frames[-1].lineno}" if frames else ""
