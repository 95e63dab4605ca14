"""Chat formats: templates, formatters and handlers.

The public names are those of llama-cpp-python's ``llama_chat_format``.

``Llama`` formats a conversation with the template of its model. This package is for the rest: a model
without a template (``named_format``, ``Llama(chat_format="vicuna")``), your own template
(``Jinja2ChatFormatter``), or a handler that does something else (``register_chat_completion_handler``).
"""

from __future__ import annotations

from llamacpp_core.chat_format.formatter import (
    ChatFormatter,
    ChatFormatterResponse,
    Jinja2ChatFormatter,
    StopOnTokenIds,
)
from llamacpp_core.chat_format.handlers import (
    NamedChatFormatter,
    chat_formatter_to_chat_completion_handler,
    hf_tokenizer_config_to_chat_completion_handler,
    hf_tokenizer_config_to_chat_formatter,
)
from llamacpp_core.chat_format.named import NAMED_FORMATS, NamedFormat, named_format
from llamacpp_core.chat_format.named.constants import (
    CHATML_BOS_TOKEN,
    CHATML_CHAT_TEMPLATE,
    CHATML_EOS_TOKEN,
    LLAMA3_INSTRUCT_BOS_TOKEN,
    LLAMA3_INSTRUCT_CHAT_TEMPLATE,
    LLAMA3_INSTRUCT_EOS_TOKEN,
    MISTRAL_INSTRUCT_BOS_TOKEN,
    MISTRAL_INSTRUCT_CHAT_TEMPLATE,
    MISTRAL_INSTRUCT_EOS_TOKEN,
    MIXTRAL_INSTRUCT_BOS_TOKEN,
    MIXTRAL_INSTRUCT_CHAT_TEMPLATE,
    MIXTRAL_INSTRUCT_EOS_TOKEN,
)
from llamacpp_core.chat_format.projectors import (
    Gemma4ChatHandler,
    Llama3VisionAlphaChatHandler,
    Llava15ChatHandler,
    Llava16ChatHandler,
    MiniCPMv26ChatHandler,
    MoondreamChatHandler,
    MTMDChatHandler,
    NanoLlavaChatHandler,
    ObsidianChatHandler,
    Qwen25VLChatHandler,
)
from llamacpp_core.chat_format.registry import (
    LlamaChatCompletionHandler,
    LlamaChatCompletionHandlerRegistry,
    default_registry,
    get_chat_completion_handler,
    register_chat_completion_handler,
    register_chat_format,
)

__all__ = [
    "CHATML_BOS_TOKEN",
    "CHATML_CHAT_TEMPLATE",
    "CHATML_EOS_TOKEN",
    "LLAMA3_INSTRUCT_BOS_TOKEN",
    "LLAMA3_INSTRUCT_CHAT_TEMPLATE",
    "LLAMA3_INSTRUCT_EOS_TOKEN",
    "MISTRAL_INSTRUCT_BOS_TOKEN",
    "MISTRAL_INSTRUCT_CHAT_TEMPLATE",
    "MISTRAL_INSTRUCT_EOS_TOKEN",
    "MIXTRAL_INSTRUCT_BOS_TOKEN",
    "MIXTRAL_INSTRUCT_CHAT_TEMPLATE",
    "MIXTRAL_INSTRUCT_EOS_TOKEN",
    "NAMED_FORMATS",
    "ChatFormatter",
    "ChatFormatterResponse",
    "Gemma4ChatHandler",
    "Jinja2ChatFormatter",
    "Llama3VisionAlphaChatHandler",
    "LlamaChatCompletionHandler",
    "LlamaChatCompletionHandlerRegistry",
    "Llava15ChatHandler",
    "Llava16ChatHandler",
    "MTMDChatHandler",
    "MiniCPMv26ChatHandler",
    "MoondreamChatHandler",
    "NamedChatFormatter",
    "NamedFormat",
    "NanoLlavaChatHandler",
    "ObsidianChatHandler",
    "Qwen25VLChatHandler",
    "StopOnTokenIds",
    "chat_formatter_to_chat_completion_handler",
    "default_registry",
    "get_chat_completion_handler",
    "hf_tokenizer_config_to_chat_completion_handler",
    "hf_tokenizer_config_to_chat_formatter",
    "named_format",
    "register_chat_completion_handler",
    "register_chat_format",
]
