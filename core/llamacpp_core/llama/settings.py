"""Arguments of ``Llama(...)`` that llama-cpp-python's users know, and what becomes of them here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import boolean, check_text, choice, integer, number, shown, unknown_name
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import InvalidParameterError, ModelNotFoundError, UnsupportedCapabilityError

if TYPE_CHECKING:
    from llamacpp_core.models import GGUFHeader

__all__ = [
    "Settings",
    "chat_handler_for",
    "chat_template_for",
    "check_handler",
    "check_name",
    "make_load_options",
    "read_settings",
]

#: Names of the constructor beyond the load options.
COMPATIBLE = (
    "attention_type",
    "chat_format",
    "chat_handler",
    "draft_model",
    "last_n_tokens_size",
    "logits_all",
    "lora_base",
    "lora_path",
    "lora_scale",
    "no_perf",
    "spm_infill",
    "tokenizer",
    "vocab_only",
)

_FROM_FILE = "chat_template."
_NUMA = {0: False, 1: "distribute", 2: "isolate", 3: "numactl"}
_RANDOM_SEEDS = (-1, 2**32 - 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """How a loaded model is used.

    Attributes:
        chat_format: Name of the chat format; None for the model's own template.
        chat_handler: What answers conversations in place of the engine.
        vocab_only: Only the vocabulary is loaded.
        logits_all: ``Llama.eval`` keeps the logits of every token.
        last_n_tokens_size: Tokens that the repetition penalties look back over.
        spm_infill: Filling in the middle puts the suffix first.
    """

    chat_format: str | None = None
    chat_handler: Callable[..., Any] | None = None
    vocab_only: bool = False
    logits_all: bool = False
    last_n_tokens_size: int = 64
    spm_infill: bool = False


def read_settings(given: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Takes the settings out of a constructor's keywords; returns them and the load options.

    Raises:
        InvalidParameterError: A value cannot work, or asks for what no longer exists; says what to use.
    """
    args = {name: value for name, value in given.items() if value is not None}
    settings = Settings(
        chat_format=check_name(args.pop("chat_format", None)),
        chat_handler=check_handler(args.pop("chat_handler", None)),
        vocab_only=boolean("vocab_only", args.pop("vocab_only", False)),
        logits_all=boolean("logits_all", args.pop("logits_all", False)),
        last_n_tokens_size=integer(0)("last_n_tokens_size", args.pop("last_n_tokens_size", 64)),
        spm_infill=boolean("spm_infill", args.pop("spm_infill", False)),
    )
    boolean("no_perf", args.pop("no_perf", False))  # timings cost nothing: they are always there
    _refuse_gone(args)
    _lora(args)
    _attention(args)
    _draft(args)
    if args.get("seed") in _RANDOM_SEEDS:
        del args["seed"]
    if "numa" in args and isinstance(args["numa"], int) and not isinstance(args["numa"], bool):
        args["numa"] = _NUMA[int(choice(*_NUMA)("numa", args["numa"]))]
    if "chat_template" in args:
        if settings.chat_format is not None or settings.chat_handler is not None:
            raise InvalidParameterError(
                "give one of chat_template, chat_format and chat_handler", parameter="chat_template"
            )
        args["chat_template"] = _template_text(args["chat_template"])
    return settings, args


def make_load_options(given: Mapping[str, Any]) -> LoadOptions:
    """The load options among a constructor's keywords.

    Raises:
        InvalidParameterError: A name is unknown, or a value cannot work.
    """
    names = LoadOptions.__dataclass_fields__
    for name in given:
        if name not in names:
            raise unknown_name(name, [*names, *COMPATIBLE], "load option")
    return LoadOptions(**given)


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


def _refuse_gone(args: dict[str, Any]) -> None:
    if args.pop("lora_base", None) is not None:
        raise UnsupportedCapabilityError(
            "lora_base is gone from llama.cpp, which applies adapters to the loaded weights: give lora_path "
            "or lora alone",
            parameter="lora_base",
        )
    if args.pop("tokenizer", None) is not None:
        raise UnsupportedCapabilityError(
            "tokenizer: llama.cpp's own tokenizer is used; to use another, tokenise the prompt with it and "
            "pass token ids to create_completion",
            parameter="tokenizer",
        )


def _lora(args: dict[str, Any]) -> None:
    path, scale = args.pop("lora_path", None), args.pop("lora_scale", 1.0)
    scale = number()("lora_scale", scale)
    if path is None:
        if scale != 1.0:
            raise InvalidParameterError(
                "lora_scale is the scale of lora_path, which is not given: the scales of several adapters "
                "go with their paths, lora=[(path, scale), ...]",
                parameter="lora_scale",
            )
        return
    if args.get("lora"):
        raise InvalidParameterError("give lora or lora_path, not both", parameter="lora_path")
    args["lora"] = [(path, scale)]


def _attention(args: dict[str, Any]) -> None:
    value = args.pop("attention_type", -1)
    if value != -1 or isinstance(value, bool):
        raise UnsupportedCapabilityError(
            "attention_type: the engine takes it from the model (-1): override the model file's "
            "'<architecture>.attention.causal' with kv_overrides",
            parameter="attention_type",
        )


def _draft(args: dict[str, Any]) -> None:
    model = args.pop("draft_model", None)
    if model is None:
        return
    from llamacpp_core.llama.compat import LlamaPromptLookupDecoding

    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if not path.is_file():
            raise ModelNotFoundError(f"draft_model: there is no file {str(path)!r}")
        more: dict[str, Any] = {"spec-draft-model": str(path), "spec-type": "draft-simple"}
    elif isinstance(model, LlamaPromptLookupDecoding):
        more = model.server_options()
    else:
        raise UnsupportedCapabilityError(
            "draft_model must be the path of a draft model, or a LlamaPromptLookupDecoding: the engine "
            f"drafts natively and cannot call a {type(model).__name__}",
            parameter="draft_model",
        )
    _server_options(args, more, "draft_model")


def _server_options(args: dict[str, Any], more: dict[str, Any], name: str) -> None:
    options = args.get("server_options") or {}
    if not isinstance(options, Mapping):
        raise InvalidParameterError("server_options must be a dict", parameter="server_options")
    for key in more:
        if key in options or key.replace("-", "_") in options:
            raise InvalidParameterError(
                f"{name} and server_options[{key!r}] say the same: give one", parameter=name
            )
    args["server_options"] = {**options, **more}


def _template_text(value: Any) -> str:
    """A template given as text, or as the path of a file that holds it."""
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return check_text("chat_template", value)
    try:
        path = Path(os.fspath(value))
    except TypeError:
        raise InvalidParameterError(
            f"chat_template must be a Jinja template or the path of one, got {shown(value)}",
            parameter="chat_template",
        ) from None
    if "\n" not in str(path) and path.is_file():
        return check_text("chat_template", path.read_text(encoding="utf-8"))
    raise InvalidParameterError(
        f"chat_template is neither a Jinja template nor the path of a file: {str(value)[:80]!r} (a named "
        "format is given as chat_format)",
        parameter="chat_template",
    )
