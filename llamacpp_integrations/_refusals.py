"""What the classes of both frameworks refuse in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import shown
from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._neighbours import neighbour_refusal

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["field_refusal", "frozen_refusal", "refuse_load_options"]


def field_refusal(error: ValidationError, *within: str) -> InvalidParameterError:
    """What pydantic refused, with the field's name, or its path in the field ``within``."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(map(str, (*within, *first["loc"]))) or None
    return InvalidParameterError(
        f"{name or error.title}: {first['msg']}, got {shown(first['input'])}", parameter=name
    )


def frozen_refusal(name: str) -> InvalidParameterError:
    """The refusal to assign what only loading can take."""
    return InvalidParameterError(
        f"{name} is frozen, since it is decided when a model is loaded: make a new object, or "
        f"model_copy(update={{{name!r}: ...}})",
        parameter=name,
    )


def refuse_load_options(given: Mapping[str, Any], kind: str) -> None:
    """Refuses arguments of a call that only loading can take, and names that other classes have.

    Raises:
        InvalidParameterError: Names the first of them.
    """
    from llamacpp_core.engine.load.options import LoadOptions
    from llamacpp_core.types.parameters import ChatCompletionParameters, CompletionParameters

    known = {"timeout", *ChatCompletionParameters.__annotations__, *CompletionParameters.__annotations__}
    for name in given:
        if name not in known and (error := neighbour_refusal(name, f"a call of {kind}", known)):
            raise error
        if name in LoadOptions.__dataclass_fields__ and name not in ("lora", "seed"):
            raise InvalidParameterError(
                f"{name} is fixed when the model is loaded: give it to {kind}(...)", parameter=name
            )
