"""The JSON object that a request holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.requests import Request

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations.server.errors import RefusedError

__all__ = ["given", "read_object"]


async def read_object(request: Request) -> dict[str, Any]:
    """The body of a request, which has to be a JSON object.

    Raises:
        RefusedError: It is not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RefusedError(
            415, "send JSON, with the header Content-Type: application/json", "unsupported_media_type"
        )
    try:
        value = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON: {error}", "invalid_json") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "the body must be a JSON object", "invalid_json")
    return value


def given(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], wanted: str) -> Any:
    """A field of the body; None where it is missing or null.

    Raises:
        InvalidParameterError: It has another type.
    """
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
        raise InvalidParameterError(f"{name} must be {wanted}", parameter=name)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
