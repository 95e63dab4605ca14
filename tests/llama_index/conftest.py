"""Objects over the suite's shared models, and global settings that each test leaves as it found them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import llama_index.core
import pytest
from llama_index.core import Settings

from llamacpp_core import Llama
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding


def pytest_configure(config: pytest.Config) -> None:
    """Lets pass what the framework and its dependencies do on their own account."""
    config.addinivalue_line("filterwarnings", "ignore::pydantic.warnings.PydanticDeprecationWarning")
    # The default memory of chat engines and agents never closes its database in memory.
    config.addinivalue_line("filterwarnings", "ignore:.*aiosqlite.*:ResourceWarning")
    config.addinivalue_line(
        "filterwarnings", "ignore:.*Connection.__del__.*:pytest.PytestUnraisableExceptionWarning"
    )


@pytest.fixture
def chat_model(llm: Llama) -> LlamaCpp:
    """SmolLM2-135M, greedy, with short answers.

    Without reuse of earlier prompts, since a prompt that is read in other portions rounds differently.
    """
    return LlamaCpp(llama=llm, temperature=0, max_tokens=24, additional_kwargs={"cache_prompt": False})


@pytest.fixture
def embed_model(embedder: Llama) -> LlamaCppEmbedding:
    """all-MiniLM-L6-v2."""
    return LlamaCppEmbedding(llama=embedder)


@pytest.fixture(autouse=True)
def clean_settings() -> Iterator[None]:
    """Global settings as they are at start-up: nothing set."""
    before: dict[str, Any] = dict(vars(Settings))
    tokenizer = llama_index.core.global_tokenizer
    yield
    vars(Settings).clear()
    vars(Settings).update(before)
    llama_index.core.global_tokenizer = tokenizer
