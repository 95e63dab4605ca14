"""Our LlamaIndex LLM on a model that follows a script."""

from __future__ import annotations

from typing import Any

from fakes import ScriptedLlama
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llamacpp_integrations.llama_index import LlamaCpp

HI = [ChatMessage(content="Hi")]


class Point(BaseModel):
    """A point."""

    x: int
    y: int


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


TOOL = FunctionTool.from_defaults(add)
CALL = ("add", {"a": 1, "b": 2})
NAMED = {"type": "function", "function": {"name": "add"}}


def scripted(*script: Any, **fields: Any) -> tuple[LlamaCpp, ScriptedLlama]:
    llama = ScriptedLlama(*script)
    return LlamaCpp(llama=llama, **fields), llama


def params(llama: ScriptedLlama) -> dict[str, Any]:
    return llama.calls[-1][2]
