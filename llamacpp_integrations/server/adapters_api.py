"""The routes that load and unload LoRA adapters, in vLLM's form."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llamacpp_core.errors import (
    InvalidParameterError,
    ModelAllocationError,
    ModelError,
    UnsupportedCapabilityError,
)
from llamacpp_integrations.server import prompts
from llamacpp_integrations.server.answers import Answers
from llamacpp_integrations.server.body import given, read_object
from llamacpp_integrations.server.errors import RefusedError

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["AdapterRoutes"]


class AdapterRoutes:
    """The routes for adapters. They read files of one folder alone, which the settings name.

    Args:
        answers: Runs the requests.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._desk = answers.desk

    async def load(self, request: Request) -> Response:
        """``POST /v1/load_lora_adapter``."""
        folder = self._folder()
        body = await read_object(request)
        name = self._desk.name_of(body.get("model"))
        prompts.check_known(body, {"model", "lora_name", "lora_path", "scale"})
        called = _text(body, "lora_name")
        if ":" in called:
            raise InvalidParameterError(
                'lora_name must not have a colon: requests name the adapter as "model:adapter"',
                parameter="lora_name",
            )
        path = (folder / _text(body, "lora_path")).resolve()
        if not path.is_relative_to(folder):
            raise InvalidParameterError(
                "lora_path must be the name of a file in the server's folder for adapters",
                parameter="lora_path",
            )
        scale = given(body, "scale", (int, float), "a number")

        def read(llm: Llama) -> None:
            self._desk.load_adapter(name, llm, called, path, 1.0 if scale is None else scale)

        async def work(llm: Llama) -> dict[str, Any]:
            await asyncio.to_thread(read, llm)
            return {"id": f"{name}:{called}", "object": "model", "parent": name}

        try:
            return JSONResponse(await self._answers.whole(name, 1, work))
        except InvalidParameterError as error:
            raise _renamed(error) from error
        except ModelAllocationError:
            raise
        except ModelError as error:
            message = str(error).replace(str(path), path.name)
            raise RefusedError(400, message, "bad_adapter", parameter="lora_path") from error

    async def unload(self, request: Request) -> Response:
        """``POST /v1/unload_lora_adapter``."""
        self._folder()
        body = await read_object(request)
        name = self._desk.name_of(body.get("model"))
        prompts.check_known(body, {"model", "lora_name"})
        called = _text(body, "lora_name")
        if called not in self._desk.adapters(name):
            raise RefusedError(
                404, f"{name} has no adapter {called!r}", "adapter_not_found", parameter="lora_name"
            )

        async def work(llm: Llama) -> dict[str, Any]:
            await asyncio.to_thread(self._desk.unload_adapter, name, llm, called)
            return {"id": f"{name}:{called}", "object": "model", "deleted": True}

        try:
            return JSONResponse(await self._answers.whole(name, 1, work))
        except InvalidParameterError as error:
            raise _renamed(error) from error

    def _folder(self) -> Path:
        folder = self._desk.settings.lora_dir
        if folder is None:
            raise RefusedError(
                403,
                "this server loads no adapters: start it with a folder for them (--lora-dir)",
                "adapters_not_allowed",
            )
        return Path(folder).resolve()


def _text(body: dict[str, Any], field: str) -> str:
    value = given(body, field, str, "a string")
    if not value or "\0" in value:
        raise InvalidParameterError(f"{field} must be a text that is not empty", parameter=field)
    return str(value)


def _renamed(error: InvalidParameterError) -> RefusedError:
    """The error with the names of the route's fields."""
    fields = {"name": "lora_name", "path": "lora_path"}
    field = fields.get(error.parameter or "", error.parameter)
    code = "unsupported" if isinstance(error, UnsupportedCapabilityError) else "invalid_parameter"
    return RefusedError(400, str(error).replace("name:", "lora_name:", 1), code, parameter=field)
