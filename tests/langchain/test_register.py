"""LangChain's own factories, once our classes are registered with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain.chat_models import base as chat_models
from langchain.chat_models import init_chat_model
from langchain.embeddings import base as embeddings
from langchain.embeddings import init_embeddings

from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings, register


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    kept = [(module, dict(module._BUILTIN_PROVIDERS)) for module in (chat_models, embeddings)]
    yield
    for module, providers in kept:
        module._BUILTIN_PROVIDERS.clear()
        module._BUILTIN_PROVIDERS.update(providers)


def test_init_chat_model_makes_ours() -> None:
    register()
    register()
    llm = init_chat_model("llamacpp:smollm2-135m-instruct", temperature=0, max_tokens=3, n_ctx=256)
    assert isinstance(llm, ChatLlamaCpp)
    assert llm.invoke("Hello").text
    other = init_chat_model("smollm2-135m-instruct", model_provider="llamacpp", n_ctx=256)
    assert other.client is llm.client
    later = init_chat_model(
        model_provider="llamacpp", configurable_fields=("model",), n_ctx=256, max_tokens=3
    )
    assert later.invoke("Hello", {"configurable": {"model": "smollm2-135m-instruct"}}).text
    llm.close()
    other.close()


def test_init_embeddings_makes_ours() -> None:
    register("local")
    made = init_embeddings("local:all-minilm-l6-v2")
    assert isinstance(made, LlamaCppEmbeddings)
    assert len(made.embed_query("Hello")) == 384
    made.close()


def test_another_kind_of_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(chat_models, "_BUILTIN_PROVIDERS")
    with pytest.raises(UnsupportedCapabilityError, match=r"ChatLlamaCpp\(model="):
        register()
    monkeypatch.undo()
