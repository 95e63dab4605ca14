"""llama.cpp on a Ray cluster: tables through Ray Data, and the server on Ray Serve.

>>> from llamacpp_integrations.ray import build_processor
>>> ask = build_processor(  # doctest: +SKIP
...     "smollm2-135m-instruct",
...     num_cpus=4,
...     concurrency=(1, 8),
...     params={"max_tokens": 64},
...     preprocess=lambda row: {"messages": [{"role": "user", "content": row["text"]}]},
... )
>>> ask(ray.data.read_parquet("notes")).write_parquet("answers")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import require

if TYPE_CHECKING:
    from llamacpp_integrations.ray.app import build_app

require("ray", "llamacpp_integrations.ray", extra="ray")

from llamacpp_integrations.ray.actor import LlamaActor  # noqa: E402 - the check comes first
from llamacpp_integrations.ray.processor import Processor, build_processor  # noqa: E402

__all__ = ["LlamaActor", "Processor", "build_app", "build_processor"]


def __getattr__(name: str) -> Any:
    """The server, which needs more of Ray than a table does, when it is asked for."""
    if name == "build_app":
        from llamacpp_integrations.ray.app import build_app

        return build_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
