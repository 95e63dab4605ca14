"""Metadata of model files: what values llama.cpp can take, and how some are replaced when loading.

llama.cpp ends the process on some values, whether they come from a file or from ``kv_overrides``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from llamacpp_core._checks import check_text
from llamacpp_core.errors import InvalidParameterError

__all__ = ["check_override_types", "metadata_problem", "overrides_flag"]

#: Layers that llama.cpp has room for (``LLAMA_MAX_LAYERS``).
MAX_LAYERS = 512
#: Patches of a picture, or frames of a sound, that a projector joins.
MAX_FACTOR = 1024
_KINDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}
ROPE_SCALING_TYPES = ("none", "linear", "yarn", "longrope")

# What llama.cpp sizes its tensors by: another value than the file's ends in a failed load or the process.
_SHAPES = re.compile(
    r"block_count|embedding_length|feed_forward_length|head_count|key_length|value_length|expert_count"
    r"|vocab_size|dimension_count|group_count|state_size|inner_size|conv_kernel|time_step_rank"
)


def metadata_problem(key: str, value: Any) -> str | None:
    """Why llama.cpp cannot work with a value of a model's metadata; None when nothing is known against it.

    Args:
        key: The key, ``"llama.block_count"``.
        value: Its value.
    """
    name = key.partition(".")[2]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "block_count" and is_number and not 1 <= value <= MAX_LAYERS:
        return f"a model has 1 to {MAX_LAYERS} layers, not {value}"
    if name == "context_length" and is_number and not 1 <= value < 2**31:
        return f"a context has 1 to {2**31 - 1} tokens, not {value}"
    if name.endswith("epsilon") and is_number and not 0 <= value < math.inf:
        return f"a norm's epsilon is not negative, and finite, not {value}"
    if name.endswith(("stack_factor", "scale_factor")) and is_number and not 0 <= value <= MAX_FACTOR:
        return f"at most {MAX_FACTOR} pieces of a picture or a sound become one, not {value}"
    if name == "rope.scaling.type" and isinstance(value, str) and value not in ROPE_SCALING_TYPES:
        return f"{value!r} is none of the types {', '.join(ROPE_SCALING_TYPES)}"
    return None


def overrides_flag(values: Mapping[str, bool | int | float | str] | None) -> str | None:
    """The value of llama-server's ``--override-kv`` for metadata to replace; None for none.

    Raises:
        InvalidParameterError: Something cannot be replaced, or not by this value.
    """
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise InvalidParameterError(
            "kv_overrides must be a dict from metadata keys to values", parameter="kv_overrides"
        )
    if not values:
        return None
    return ",".join(_override(key, value) for key, value in values.items())


def check_override_types(values: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> None:
    """Checks that overrides have the types that the file's own values have: llama.cpp ignores others.

    Args:
        values: What is to be replaced.
        metadata: What the file says.

    Raises:
        InvalidParameterError: A type differs; says what to give.
    """
    for key, value in (values or {}).items():
        own = metadata.get(key)
        if type(own) in _KINDS and type(value) is not type(own):
            kind = _KINDS[type(own)]
            raise InvalidParameterError(
                f"kv_overrides[{key!r}] is {value!r}, and the file has the {kind} {own!r}: give a {kind}",
                parameter="kv_overrides",
            )


def _override(key: Any, value: Any) -> str:
    kind = _KINDS.get(type(value))
    name = f"kv_overrides[{key!r}]"
    if not isinstance(key, str) or not re.fullmatch(r"[\w.-]{1,127}", key):
        raise InvalidParameterError(
            f"{name}: a key has 1 to 127 letters, digits and dots", parameter="kv_overrides"
        )
    if kind == "int" and not -(2**63) <= value < 2**63:
        raise InvalidParameterError(f"{name} does not fit into 64 bits", parameter="kv_overrides")
    if kind == "float" and not math.isfinite(value):
        raise InvalidParameterError(f"{name} must be finite, got {value}", parameter="kv_overrides")
    if problem := metadata_problem(key, value):
        raise InvalidParameterError(f"{name}: {problem}", parameter="kv_overrides")
    if kind is None or "," in str(value) or len(check_text(name, str(value)).encode()) > 127:
        raise InvalidParameterError(
            f"{name} must be a bool, int, float, or a str of at most 127 bytes without a comma",
            parameter="kv_overrides",
        )
    if _SHAPES.search(key):
        raise InvalidParameterError(
            f"{name}: this is the shape of the weights, which no override can change",
            parameter="kv_overrides",
        )
    return f"{key}={kind}:{str(value).lower() if kind == 'bool' else value}"
