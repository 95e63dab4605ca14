"""Arguments of ``Llama(...)`` that llama-cpp-python's users know, and what becomes of them here."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llamacpp_core._checks import boolean, check_text, choice, integer, number, shown, unknown_name
from llamacpp_core.engine.load.options import LoadOptions
from llamacpp_core.errors import InvalidParameterError, ModelNotFoundError, UnsupportedCapabilityError
from llamacpp_core.llama.chat_formats import check_handler, check_name

__all__ = ["Settings", "make_load_options", "read_settings", "show_log"]

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

_logger = logging.getLogger("llamacpp_core.llama.settings")

_NUMA = {0: False, 1: "distribute", 2: "isolate", 3: "numactl"}


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
    _projector(args)
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


def _projector(args: dict[str, Any]) -> None:
    """llama-cpp-python gives a projector to a chat handler."""
    path = getattr(args.get("chat_handler"), "clip_model_path", None)
    if path is None:
        return
    name = type(args.pop("chat_handler")).__name__
    if "mmproj" in args:
        raise InvalidParameterError(
            f"give mmproj alone: {name} names a projector, too", parameter="chat_handler"
        )
    _logger.warning(
        "%s: loaded as mmproj=%r; the conversation is written by the model's own template or by chat_format",
        name,
        path,
    )
    args["mmproj"] = path


def _refuse_gone(args: dict[str, Any]) -> None:
    if args.pop("lora_base", None) is not None:
        raise UnsupportedCapabilityError(
            "lora_base is gone from llama.cpp, which applies adapters to the loaded weights: give lora_path "
            "or lora alone",
            parameter="lora_base",
        )
    if args.pop("tokenizer", None) is not None:
        raise UnsupportedCapabilityError(
            "tokenizer: llama.cpp's own tokenizer is used; to use another, tokenize the prompt with it and "
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


def show_log() -> None:
    """Shows llama.cpp's log on stderr."""
    logger = logging.getLogger("llamacpp_core")
    if not any(getattr(handler, "llamacpp_verbose", False) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.llamacpp_verbose = True  # type: ignore[attr-defined]
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
