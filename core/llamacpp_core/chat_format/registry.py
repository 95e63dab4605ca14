"""Chat completion handlers by name: the built-in chat formats and those that users register."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from llamacpp_core.chat_format.named import NAMED_FORMATS, format_name
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core.chat_format.formatter import ChatFormatter
    from llamacpp_core.types import CreateChatCompletionResponse, CreateChatCompletionStreamResponse

__all__ = [
    "LlamaChatCompletionHandler",
    "LlamaChatCompletionHandlerRegistry",
    "get_chat_completion_handler",
    "register_chat_completion_handler",
    "register_chat_format",
]

_Handler = TypeVar("_Handler", bound="LlamaChatCompletionHandler")
_Formatter = TypeVar("_Formatter", bound="ChatFormatter")


class LlamaChatCompletionHandler(Protocol):
    """A function that answers a conversation with a model.

    With ``stream=True`` it returns an iterator of chunks, else the whole answer.
    """

    def __call__(
        self, *, llama: Any, messages: list[Any], **kwargs: Any
    ) -> CreateChatCompletionResponse | Iterator[CreateChatCompletionStreamResponse]:
        """Answers ``messages`` with ``llama``; the rest is as in ``Llama.create_chat_completion``."""
        ...


class LlamaChatCompletionHandlerRegistry:
    """Handlers by name. Every registry knows the built-in formats; a registered name comes before them."""

    def __init__(self) -> None:
        self._handlers: dict[str, LlamaChatCompletionHandler] = {}
        self._lock = threading.Lock()

    def register_chat_completion_handler(
        self, chat_format: str, handler: LlamaChatCompletionHandler, overwrite: bool = False
    ) -> None:
        """Registers a handler.

        Args:
            chat_format: Its name.
            handler: The handler.
            overwrite: Whether to replace a handler, built-in or registered, of the same name.

        Raises:
            InvalidParameterError: The name is empty or taken, or the handler is not callable.
        """
        format_name(chat_format)
        if not callable(handler):
            raise InvalidParameterError(
                f"handler must be callable, not {type(handler).__name__}", parameter="handler"
            )
        with self._lock:
            if not overwrite and (chat_format in self._handlers or chat_format in NAMED_FORMATS):
                raise InvalidParameterError(
                    f"chat format {chat_format!r} exists already; pass overwrite=True to replace it",
                    parameter="chat_format",
                )
            self._handlers[chat_format] = handler

    def unregister_chat_completion_handler(self, chat_format: str) -> None:
        """Removes a registered handler; a built-in format that it had replaced is back.

        Raises:
            InvalidParameterError: No handler is registered under the name.
        """
        with self._lock:
            if chat_format not in self._handlers:
                raise InvalidParameterError(
                    f"no chat completion handler is registered as {chat_format!r}", parameter="chat_format"
                )
            del self._handlers[chat_format]

    # The name that llama-cpp-python gives to this method.
    unregister_chat_handler = unregister_chat_completion_handler

    def get_chat_completion_handler(self, chat_format: str) -> LlamaChatCompletionHandler:
        """The handler of a name.

        Raises:
            InvalidParameterError: There is none; the message has names like it.
        """
        import difflib

        from llamacpp_core.chat_format.handlers import named_chat_completion_handler

        handler = self._handlers.get(format_name(chat_format))
        if handler is not None:
            return handler
        if chat_format in NAMED_FORMATS:
            return named_chat_completion_handler(chat_format)
        names = sorted({*NAMED_FORMATS, *self._handlers})
        near = difflib.get_close_matches(chat_format.lower().replace("_", "-"), names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(names)}"
        raise InvalidParameterError(f"unknown chat format {chat_format!r}: {hint}", parameter="chat_format")

    # The name that llama-cpp-python gives to this method.
    get_chat_completion_handler_by_name = get_chat_completion_handler

    def registered(self, chat_format: str) -> LlamaChatCompletionHandler | None:
        """The handler that a user registered under a name, None for built-in and unknown names."""
        return self._handlers.get(chat_format)


default_registry = LlamaChatCompletionHandlerRegistry()
"""The registry that the functions of this module and ``Llama(chat_format=...)`` use."""


def get_chat_completion_handler(chat_format: str) -> LlamaChatCompletionHandler:
    """The handler of a chat format, such as ``"chatml"`` or a name that was registered.

    Raises:
        InvalidParameterError: There is no such format; the message has names like it.
    """
    return default_registry.get_chat_completion_handler(chat_format)


@overload
def register_chat_completion_handler(
    chat_format: str, chat_handler: None = None, *, overwrite: bool = False
) -> Callable[[_Handler], _Handler]: ...


@overload
def register_chat_completion_handler(
    chat_format: str, chat_handler: LlamaChatCompletionHandler, *, overwrite: bool = False
) -> None: ...


def register_chat_completion_handler(
    chat_format: str, chat_handler: LlamaChatCompletionHandler | None = None, *, overwrite: bool = False
) -> Callable[[_Handler], _Handler] | None:
    """Registers a chat completion handler, directly or as a decorator.

    ::

        register_chat_completion_handler("mine", handler)

        @register_chat_completion_handler("mine")
        def handler(*, llama, messages, **kwargs): ...

    Args:
        chat_format: The name for it.
        chat_handler: The handler; None to get a decorator.
        overwrite: Whether to replace a handler of the same name.

    Raises:
        InvalidParameterError: The name is empty or taken, or the handler is not callable.
    """
    if chat_handler is not None:
        default_registry.register_chat_completion_handler(chat_format, chat_handler, overwrite)
        return None
    format_name(chat_format)

    def register(handler: _Handler) -> _Handler:
        default_registry.register_chat_completion_handler(chat_format, handler, overwrite)
        return handler

    return register


def register_chat_format(name: str, *, overwrite: bool = False) -> Callable[[_Formatter], _Formatter]:
    """Decorator that registers a formatter, made into a handler, under a name.

    Args:
        name: The name for it.
        overwrite: Whether to replace a handler of the same name.

    Raises:
        InvalidParameterError: The name is empty or taken.
    """
    format_name(name)

    def register(formatter: _Formatter) -> _Formatter:
        from llamacpp_core.chat_format.handlers import chat_formatter_to_chat_completion_handler

        handler = chat_formatter_to_chat_completion_handler(formatter)
        default_registry.register_chat_completion_handler(name, handler, overwrite)
        return formatter

    return register
