"""Which template, formatter or handler answers the conversations of a ``Llama``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import shown, unknown_name
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core.chat_format import ChatFormatter
    from llamacpp_core.models import GGUFHeader

__all__ = ["chat_handler_for", "chat_template_for", "check_handler", "check_name", "formatter_for"]

_FROM_FILE = "chat_template."


def chat_handler_for(chat_format: str | None) -> Callable[..., Any] | None:
    """The handler that a user registered under a name; None where the engine does the format itself."""
    if chat_format is None:
        return None
    from llamacpp_core.chat_format.registry import default_registry

    return default_registry.registered(chat_format)


def chat_template_for(chat_format: str | None, header: GGUFHeader) -> tuple[str | None, tuple[str, ...]]:
    """The template of a chat format, None for the model's own, and the strings that end its answers.

    Args:
        chat_format: A built-in name, ``chat_template.default``, or ``chat_template.<name>`` for another
            template of the model's file.
        header: The model's file.

    Raises:
        InvalidParameterError: There is no such format.
    """
    if chat_format is None or chat_format == f"{_FROM_FILE}default":
        return None, ()
    if chat_format.startswith(_FROM_FILE):
        templates = header.chat_templates
        name = chat_format[len(_FROM_FILE) :]
        if name not in templates:
            known = [_FROM_FILE + other for other in templates]
            raise unknown_name(chat_format, known, "chat format of this model's file:")
        return templates[name], ()
    from llamacpp_core.chat_format.named import NAMED_FORMATS, named_format
    from llamacpp_core.chat_format.registry import get_chat_completion_handler

    if chat_format not in NAMED_FORMATS:
        get_chat_completion_handler(chat_format)  # raises, with names like it
    found = named_format(chat_format)
    return found.template, found.stop


def check_name(value: Any) -> str | None:
    """The name of a chat format, or None.

    Raises:
        InvalidParameterError: It is neither.
    """
    if value is None:
        return None
    from llamacpp_core.chat_format.named import format_name

    return format_name(value)


def check_handler(value: Any) -> Callable[..., Any] | None:
    """A function that answers conversations, or None.

    Raises:
        InvalidParameterError: It is neither.
    """
    if value is not None and not callable(value):
        raise InvalidParameterError(
            f"chat_handler must be a function that answers a conversation, got {shown(value)}",
            parameter="chat_handler",
        )
    return value  # type: ignore[no-any-return]


def formatter_for(name: str, header: GGUFHeader, eos_token: str, bos_token: str) -> ChatFormatter:
    """What writes the prompts of a chat format where the engine has the template of another.

    Raises:
        InvalidParameterError: There is no such format.
    """
    from llamacpp_core.chat_format import NAMED_FORMATS, Jinja2ChatFormatter, NamedChatFormatter

    if name in NAMED_FORMATS:
        return NamedChatFormatter(name)
    template, _ = chat_template_for(name, header)
    return Jinja2ChatFormatter(template or header.chat_template or "", eos_token, bos_token)
