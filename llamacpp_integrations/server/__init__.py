"""A server for the models of this process: OpenAI's and Anthropic's APIs, and a page to chat in.

>>> from llamacpp_core import Llama
>>> from llamacpp_integrations.server import create_app, serve
>>> with Llama("smollm2-135m-instruct") as llm:  # doctest: +SKIP
...     serve(create_app(llm))
"""

from __future__ import annotations

from llamacpp_core._checks import require

for _package in ("starlette", "uvicorn"):
    require(_package, "llamacpp_integrations.server", extra="server")

from llamacpp_integrations.server.app import create_app  # noqa: E402 - the check comes first
from llamacpp_integrations.server.models import LoadedModels, Models  # noqa: E402
from llamacpp_integrations.server.run import serve, serving  # noqa: E402
from llamacpp_integrations.server.settings import ServerSettings  # noqa: E402

__all__ = ["LoadedModels", "Models", "ServerSettings", "create_app", "serve", "serving"]
