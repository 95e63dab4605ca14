"""Objects on the real model that the tests of this folder share."""

from __future__ import annotations

import pytest

from llamacpp_core import Llama
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings


@pytest.fixture(scope="session")
def chat(llm: Llama) -> ChatLlamaCpp:
    return ChatLlamaCpp(llama=llm, temperature=0, max_tokens=12)


@pytest.fixture(scope="session")
def embeddings(embedder: Llama) -> LlamaCppEmbeddings:
    return LlamaCppEmbeddings(llama=embedder)
