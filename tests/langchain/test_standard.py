"""LangChain's standard suites, on the real models and on scripted answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
SHARED_PREFIX = [("system", "You are a helpful assistant. " * 24), ("human", "Hello")]
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

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        model = self.chat_model_class(**(self.chat_model_params | {"max_tokens": 4}))
        model.invoke(SHARED_PREFIX)
        if not stream:
            answer = model.invoke(SHARED_PREFIX)
        else:
            chunks = list(model.stream(SHARED_PREFIX))
            answer = sum(chunks[1:], chunks[0])
        assert isinstance(answer, AIMessage)
        assert answer.usage_metadata
        assert answer.usage_metadata["input_token_details"]["cache_read"] > 0
        return answer


class TestChatUnit(ChatSuite, ChatModelUnitTests):
    pass


class RealSuite(ChatSuite):
    """On SmolLM2-135M.

    Greedy, as the suite wants it, sends so small a model into endless repetition inside free strings; DRY
    sampling, which makes long repetitions cost something, is what a user would turn on against it.
    """

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return CHAT | {"temperature": 0, "max_tokens": 200, "dry_multiplier": 0.8}


class TestChatIntegration(RealSuite, ChatModelIntegrationTests):
    @pytest.mark.xfail(reason=NOT_FORCED)
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)


def _structured(suite: type, method: str) -> type:
    """The suite's tests of structured output, with another method."""

    class Suite(suite, ChatModelIntegrationTests):  # type: ignore[misc,valid-type]
        @property
        def structured_output_kwargs(self) -> dict[str, Any]:
            return {"method": method}

    for name in dir(ChatModelIntegrationTests):
        if name.startswith("test_") and not name.startswith("test_structured_output"):
            setattr(Suite, name, None)
    return Suite


TestFunctionCalling = _structured(RealSuite, "function_calling")
TestJsonMode = _structured(RealSuite, "json_mode")


# The same on scripted answers: what the model would have to know by itself is written down.


def _filled(schema: Any, text: str) -> Any:
    """An object that follows a simple schema."""
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: _filled(value, text) for name, value in schema.get("properties", {}).items()}
    return {"integer": 3, "number": 3.0, "boolean": True}.get(kind, text)


def oracle(messages: list[dict[str, Any]], params: Mapping[str, Any]) -> Answer:
    """Calls a tool when there is one and it has not answered yet, follows a schema, or says something."""
    last = messages[-1]
    text = str(last["content"])
    tools = {tool["function"]["name"]: tool["function"] for tool in params.get("tools") or ()}
    choice = params.get("tool_choice") or "auto"
    if tools and choice != "none" and (choice != "auto" or last["role"] == "user"):
        name = choice["function"]["name"] if isinstance(choice, Mapping) else next(iter(tools))
        return Answer(tool_calls=[(name, _filled(tools[name].get("parameters", {"type": "object"}), text))])
    response_format = params.get("response_format") or {}
    schema = response_format.get("schema") or response_format.get("json_schema", {}).get("schema")
    return Answer(json.dumps(_filled(schema, "a joke")) if schema else "It is sunny.", cached=2)


class ScriptedSuite(ChatSuite):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"llama": ScriptedLlama(oracle), "temperature": 0}


class TestScriptedUnit(ScriptedSuite, ChatModelUnitTests):
    pass


class TestScriptedIntegration(ScriptedSuite, ChatModelIntegrationTests):
    pass


TestScriptedFunctionCalling = _structured(ScriptedSuite, "function_calling")


class EmbeddingSuite:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LlamaCppEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "all-minilm-l6-v2"}


class TestEmbeddingsUnit(EmbeddingSuite, EmbeddingsUnitTests):
    pass


class TestEmbeddingsIntegration(EmbeddingSuite, EmbeddingsIntegrationTests):
    pass
