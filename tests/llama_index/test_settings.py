"""One line that points the framework at models in this process."""

from __future__ import annotations

from fakes import ScriptedLlama, scripted_info
from llama_index.core import Settings
from llama_index.core.indices.prompt_helper import PromptHelper

from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding, configure_settings


def test_everything_is_set(chat_model: LlamaCpp, embed_model: LlamaCppEmbedding) -> None:
    configure_settings(chat_model, embed_model)
    assert Settings.llm is chat_model
    assert Settings.embed_model is embed_model
    assert Settings.tokenizer("Hello world") == chat_model.tokenizer("Hello world")
    assert Settings.context_window == 2048
    assert Settings.chat_prompt_helper.context_window == 2048


def test_prompt_helpers_of_an_earlier_model_are_replaced() -> None:
    Settings.prompt_helper = PromptHelper(context_window=100_000)
    configure_settings(LlamaCpp(llama=ScriptedLlama(info=scripted_info(n_ctx=1000)), max_tokens=50), None)
    assert (Settings.context_window, Settings.num_output) == (1000, 50)


def test_only_the_embedding_model(embed_model: LlamaCppEmbedding) -> None:
    before = Settings._llm
    configure_settings(None, embed_model)
    assert Settings.embed_model is embed_model
    assert Settings._llm is before


def test_names_are_loaded() -> None:
    configure_settings()
    try:
        assert Settings.llm.metadata.model_name == "smollm2-135m-instruct"
        assert len(Settings.embed_model.get_query_embedding("Hi")) == 384
    finally:
        Settings.llm.close()  # type: ignore[attr-defined]
        Settings.embed_model.close()  # type: ignore[attr-defined]
