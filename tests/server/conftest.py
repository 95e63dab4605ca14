"""A server on a real port, with the suite's two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from openai import OpenAI
from starlette.applications import Starlette

from llamacpp_integrations.server import ServerSettings, create_app, serving
from llamacpp_integrations.server.desk import Desk

if TYPE_CHECKING:
    from llamacpp_core import Llama

CHAT, EMBEDDER = "chat", "embedder"


class Served(NamedTuple):
    """A server that runs."""

    url: str
    app: Starlette

    @property
    def desk(self) -> Desk:
        return self.app.state.desk  # type: ignore[no-any-return]


@pytest.fixture
def serve_with(llm: Llama, embedder: Llama) -> Callable[..., AbstractContextManager[Served]]:
    """Serves both models: ``with serve_with(max_waiting=0) as served``."""

    @contextmanager
    def start(**settings: object) -> Iterator[Served]:
        app = create_app({CHAT: llm, EMBEDDER: embedder}, ServerSettings(**settings))  # type: ignore[arg-type]
        with serving(app) as url:
            yield Served(url, app)

    return start


@pytest.fixture(scope="module")
def served(llm: Llama, embedder: Llama) -> Iterator[Served]:
    """A server with no keys and the usual limits."""
    app = create_app({CHAT: llm, EMBEDDER: embedder})
    with serving(app) as url:
        yield Served(url, app)


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    """Plain HTTP to the server."""
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def openai(served: Served) -> Iterator[OpenAI]:
    """OpenAI's own client."""
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client
