"""LlamaIndex's loaders, once our classes are registered with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llama_index.core.embeddings import loading as embeddings
from llama_index.core.extractors import SummaryExtractor
from llama_index.core.llms import loading as llms

from llamacpp_core.errors import UnsupportedCapabilityError
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding, register


@pytest.fixture(autouse=True)
def _lists_as_they_were() -> Iterator[None]:
    kept = [(known, dict(known)) for known in (llms.RECOGNIZED_LLMS, embeddings.RECOGNIZED_EMBEDDINGS)]
    yield
    for known, before in kept:
        known.clear()
        known.update(before)


def test_a_saved_model_is_made_again() -> None:
    with LlamaCpp(model="smollm2-135m-instruct", max_tokens=3, n_ctx=512, temperature=0) as llm:
        saved = llm.to_dict()
        with pytest.raises(ValueError, match="Invalid LLM name"):
            llms.load_llm(saved)
        register()
        register()
        again = llms.load_llm(saved)
        assert isinstance(again, LlamaCpp)
        assert again.to_dict() == saved
        assert again.complete("Hello").text == llm.complete("Hello").text
        again.close()


def test_an_extractor_is_read_back_with_its_model() -> None:
    register()
    with LlamaCpp(model="smollm2-135m-instruct", max_tokens=3, n_ctx=512) as llm:
        saved = SummaryExtractor(llm=llm).to_dict()
        again = SummaryExtractor.from_dict(saved)
        assert isinstance(again.llm, LlamaCpp)
        assert again.llm.max_tokens == 3
        again.llm.close()


def test_a_saved_embedding_model_is_made_again() -> None:
    register()
    with LlamaCppEmbedding(model="all-minilm-l6-v2") as model:
        again = embeddings.load_embed_model(model.to_dict())
        assert isinstance(again, LlamaCppEmbedding)
        assert again.get_text_embedding("Hello") == model.get_text_embedding("Hello")
        again.close()


def test_another_kind_of_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(llms, "RECOGNIZED_LLMS")
        with pytest.raises(UnsupportedCapabilityError, match=r"LlamaCpp\.from_dict"):
            register()
