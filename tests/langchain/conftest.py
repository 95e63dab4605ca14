"""Objects on the real model that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llamacpp_core import Llama
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings

CHAT = {"model": "smollm2-135m-instruct", "n_ctx": 2048}
EMBEDDING = {"model": "all-minilm-l6-v2"}


@pytest.fixture(scope="session")
def chat(llm: Llama) -> ChatLlamaCpp:
    return ChatLlamaCpp(llama=llm, temperature=0, max_tokens=12)


@pytest.fixture(scope="session")
def embeddings(embedder: Llama) -> LlamaCppEmbeddings:
    return LlamaCppEmbeddings(llama=embedder)


@pytest.fixture(scope="session")
def kept_models() -> Iterator[None]:
    """Keeps the models of the standard suites loaded from one test to the next."""
    objects = ChatLlamaCpp(**CHAT), LlamaCppEmbeddings(**EMBEDDING)
    yield
    for kept in objects:
        kept.close()
