"""Guessing how an answer goes on, from what its conversation holds: the option ``speculative``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamacpp_core.engine.load.server_options import flags_of
from llamacpp_core.errors import InvalidParameterError, UnsupportedCapabilityError
from llamacpp_core.native import ffi, lib

__all__ = ["SPECULATIVE_FLAGS", "check_speculative"]

#: Four tokens in common; a draft of 15 at most: with the token before it, as many as products take at a time.
#: The last number asks for drafts only where they pay (native/llama_cpp/prefix/options.h).
SPECULATIVE_FLAGS = [
    ["--spec-type", "ngram-simple"],
    ["--spec-ngram-simple-size-n", "4"],
    ["--spec-ngram-simple-size-m", "15"],
    ["--spec-ngram-simple-min-hits", "65535"],
]


def check_speculative(value: str, server_options: Mapping[str, Any]) -> None:
    """Looks whether ``speculative`` goes with the other options and with this build.

    Raises:
        InvalidParameterError: Another option says how tokens are drafted.
        UnsupportedCapabilityError: The build has llama.cpp without the changes that it needs.
    """
    if value == "off":
        return
    other = next(
        (name for name in server_options if any(flag.startswith("--spec") for flag in flags_of(name))), None
    )
    if other is not None:
        raise InvalidParameterError(
            f"speculative={value!r} and server_options[{other!r}] (which draft_model sets too) both say how "
            "tokens are drafted: give one",
            parameter="speculative",
        )
    if "prefix" not in json.loads(ffi.string(lib.lc_build_info()))["changes"]:
        raise UnsupportedCapabilityError(
            f"speculative={value!r} needs a build with LLAMACPP_CHANGES=ON; "
            "draft_model=LlamaPromptLookupDecoding() drafts without measuring whether it pays",
            parameter="speculative",
        )
