"""LangChain's standard suites, on the real models and on scripted answers."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import Answer, ScriptedLlama
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from llamacpp_integrations.langchain import ChatLlamaCpp, LlamaCppEmbeddings

CHAT = {"model": "smollm2-135m-instruct", "n_ctx": 2048}

# The suite's own prefixes, so that a later prompt finds something of an earlier one in the cache.
PROMPT = [("system", "You are a helpful assistant. " * 8), ("human", "Hello")]

NOT_FORCED = "nothing forces the call, and a model of 135M parameters does not decide for it by itself"


class ChatSuite:
    """What the suites are told about the class."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLlamaCpp

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return CHAT

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @property
    def supported_usage_metadata_details(self) -> dict[str, list[str]]:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}


@pytest.mark.usefixtures("kept_models")
class TestChatUnit(ChatSuite, ChatModelUnitTests):
    pass


class RealSuite(ChatSuite):
    """On SmolLM2-135M: greedy, which sends so small a model into loops unless long repetitions cost something."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return CHAT | {"temperature": 0, "max_tokens": 200, "dry_multiplier": 0.8}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        model = self.chat_model_class(**(self.chat_model_params | {"max_tokens": 4}))
        model.invoke(PROMPT)
        if not stream:
            answer = model.invoke(PROMPT)
        else:
            chunks = list(model.stream(PROMPT))
            answer = sum(chunks[1:], chunks[0])
        assert isinstance(answer, AIMessage)
        assert answer.usage_metadata
        assert answer.usage_metadata["input_token_details"]["cache_read"] > 0
        return answer


@pytest.mark.usefixtures("kept_models")
class TestChatIntegration(RealSuite, ChatModelIntegrationTests):
    @pytest.mark.xfail(reason=NOT_FORCED)
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)


_STRUCTURED = [name for name in dir(ChatModelIntegrationTests) if name.startswith("test_structured_output")]


def _only_structured(method: str) -> type:
    class Suite(RealSuite, ChatModelIntegrationTests):
        @property
        def structured_output_kwargs(self) -> dict[str, Any]:
            return {"method": method}

    for name in dir(ChatModelIntegrationTests):
        if name.startswith("test_") and name not in _STRUCTURED:
            setattr(Suite, name, None)
    return pytest.mark.usefixtures("kept_models")(Suite)


TestFunctionCalling = _only_structured("function_calling")
TestJsonMode = _only_structured("json_mode")
