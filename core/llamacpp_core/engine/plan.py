"""Planned requests."""

from __future__ import annotations

import json
from typing import Any

from llamacpp_core.errors import InvalidParameterError
from llamacpp_core.native import ffi, lib

__all__ = ["Plan", "TemplateRefusedError", "to_json"]


class TemplateRefusedError(InvalidParameterError):
    """The chat template raised an error; planning tries the conversation in another form."""


class Plan:
    """A planned request: the prompt's tokens and what constrains and parses the answer.

    Used for one :meth:`Engine.submit`; holds native memory until it is garbage.
    """

    def __init__(self, native: Any) -> None:
        self._native = ffi.gc(native, lib.lc_plan_free)

    @property
    def info(self) -> dict[str, Any]:
        """What the native layer planned: prompt, grammar, stop strings, and so on."""
        info: dict[str, Any] = json.loads(ffi.string(lib.lc_plan_info(self._native)))
        return info

    @property
    def format(self) -> str:
        """Names the format that answer and parser were planned for; empty without one."""
        return bytes(ffi.string(lib.lc_plan_format(self._native))).decode()

    @property
    def n_prompts(self) -> int:
        """How many token lists the plan holds; 0 for a prompt with media, which has no tokens yet."""
        return int(lib.lc_plan_n_prompts(self._native))

    def tokens(self, index: int = 0) -> list[int]:
        """The token ids of one prompt."""
        size = ffi.new("size_t *")
        tokens = lib.lc_plan_prompt(self._native, index, size)
        return [] if tokens == ffi.NULL else ffi.unpack(tokens, size[0])

    def n_tokens(self, index: int = 0) -> int:
        """How many tokens one prompt has."""
        size = ffi.new("size_t *")
        return 0 if lib.lc_plan_prompt(self._native, index, size) == ffi.NULL else int(size[0])


def to_json(value: Any) -> bytes:
    """A value for the native layer.

    Raises:
        InvalidParameterError: A text holds what UTF-8 cannot.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidParameterError(
            f"a text holds the lone surrogate {error.object[error.start]!r}, which no UTF-8 text can hold: "
            "decode the input with errors='replace'"
        ) from None
