"""A pytest plugin that puts this package's classes where LlamaIndex's own tests expect its mock classes.

Each class below takes the constructor arguments of a mock in ``llama_index.core`` and answers as that mock
does, but it is ours: every call goes through the translation of messages, the request, the response and the
streams. Only the engine is scripted. What a mock says of itself in ``metadata`` is kept: tests compare it.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import fakes
import llama_index.core
import numpy as np
from fakes import Answer, ScriptedLlama, scripted_info
from llama_index.core.base.llms.types import ChatMessage, LLMMetadata, ThinkingBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.embeddings import mock_embed_model
from llama_index.core.llms import mock
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.llm import ToolSelection

from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding

N_CTX = 1_000_000_000

fakes._pieces = lambda text, size=1: [
    text[i : i + size] for i in range(0, len(text), size)
]  # as the mocks do


class _Answer(Answer):
    """An answer whose tool calls may keep their ids."""

    ids: Sequence[str] = ()

    def deltas(self) -> list[dict[str, Any]]:
        out = super().deltas()
        for piece in [piece for delta in out for piece in delta.get("tool_calls", ())]:
            if "id" in piece:
                piece["id"] = self.ids[piece["index"]] or piece["id"]
        return out


class _Echo(ScriptedLlama):
    """Repeats the prompt, in pieces when streamed, as ``MockLLM`` does."""

    def __init__(self, max_tokens: int | None, chat: bool) -> None:
        super().__init__(self.echo, info=scripted_info(n_ctx=N_CTX, chat=chat, image=True, audio=True))
        self.max_tokens = max_tokens

    def echo(self, messages: list[dict[str, Any]], _: dict[str, Any]) -> Answer:
        if self.max_tokens:
            return _Answer(" ".join(["text"] * self.max_tokens))
        if self.calls[-1][0] == "completion":
            return _Answer(messages[0]["content"])
        lines = [f"{message['role']}: {_text(message['content'])}" for message in messages]
        return _Answer("\n".join([*lines, "assistant: "]))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part["type"] == "text")
    return str(content or "")


class MockLLM(LlamaCpp):
    """In place of ``llama_index.core.llms.mock.MockLLM``."""

    is_chat_model: bool | None = False

    def __init__(
        self, max_tokens: int | None = None, is_chat_model: bool | None = False, **fields: Any
    ) -> None:
        fields = {name: value for name, value in fields.items() if value is not None}
        super().__init__(llama=_Echo(max_tokens, bool(is_chat_model)), max_tokens=max_tokens, **fields)
        self.is_chat_model = is_chat_model

    @classmethod
    def class_name(cls) -> str:
        return "MockLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(num_output=self.max_tokens or -1, is_chat_model=bool(self.is_chat_model))


class MockLLMWithNonyieldingChatStream(MockLLM):
    """In place of the mock of that name: a stream without a single chunk."""

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        yield from []


class _Remembering:
    """Keeps the messages of the last call."""

    def _remember(self, name: str, messages: Sequence[ChatMessage]) -> None:
        self.last_chat_messages = messages
        self.last_called_chat_function.append(name)

    def reset_memory(self) -> None:
        self.last_chat_messages = None
        self.last_called_chat_function = []

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        response = self._chat(copy.deepcopy(messages), kwargs)
        self._remember("chat", messages)
        return response

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        responses = self._stream_chat(copy.deepcopy(messages), kwargs)
        self._remember("stream_chat", messages)
        return responses

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        response = await self._achat(copy.deepcopy(messages), kwargs)
        self._remember("achat", messages)
        return response

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        responses = await self._astream_chat(copy.deepcopy(messages), kwargs)
        self._remember("astream_chat", messages)
        return responses


class MockLLMWithChatMemoryOfLastCall(_Remembering, MockLLM):
    """In place of the mock of that name."""

    last_chat_messages: Any = Field(default=None, exclude=True)
    last_called_chat_function: list[str] = Field(default=[], exclude=True)

    @classmethod
    def class_name(cls) -> str:
        return "MockLLMWithChatMemoryOfLastCall"


class _Generating(ScriptedLlama):
    """Answers with what a function of the messages returns."""

    def __init__(self, respond: Callable[[list[ChatMessage], bool], ChatMessage]) -> None:
        super().__init__(self.answer, info=scripted_info(n_ctx=N_CTX, image=True, audio=True))
        self.respond = respond

    def answer(self, messages: list[dict[str, Any]], params: dict[str, Any]) -> Answer:
        return _as_answer(
            self.respond([_as_chat_message(message) for message in messages], "tools" in params)
        )


def _as_chat_message(message: dict[str, Any]) -> ChatMessage:
    extra = {"tool_call_id": message["tool_call_id"]} if "tool_call_id" in message else {}
    blocks: list[Any] = [
        ToolCallBlock(
            tool_call_id=call["id"],
            tool_name=call["function"]["name"],
            tool_kwargs=call["function"]["arguments"],
        )
        for call in message.get("tool_calls", ())
    ]
    if blocks:
        return ChatMessage(role=message["role"], blocks=blocks)
    return ChatMessage(role=message["role"], content=_text(message["content"]), additional_kwargs=extra)


def _as_answer(message: ChatMessage) -> Answer:
    calls = [b for b in message.blocks if isinstance(b, ToolCallBlock)]
    selections: Sequence[ToolSelection] = message.additional_kwargs.get("tool_calls") or ()
    answer = _Answer(
        content=message.content or "",
        reasoning="".join(b.content or "" for b in message.blocks if isinstance(b, ThinkingBlock)),
        tool_calls=[(c.tool_name, c.tool_kwargs) for c in [*calls, *selections]],
    )
    ids = [*(c.tool_call_id or "" for c in calls), *(s.tool_id for s in selections)]
    object.__setattr__(answer, "ids", ids)
    return answer


class MockFunctionCallingLLM(LlamaCpp):
    """In place of ``llama_index.core.llms.mock.MockFunctionCallingLLM``."""

    tool_calls: list[ToolCallBlock] = Field(default_factory=list)
    blocks_to_content_callback: Any = None
    is_chat_model: bool | None = False
    _generator: Any = PrivateAttr(default=None)
    _mock: Any = PrivateAttr(default=None)
    _tools: Sequence[Any] = PrivateAttr(default=())

    def __init__(
        self,
        blocks_to_content_callback: Any = None,
        response_generator: Any = None,
        is_chat_model: bool | None = False,
        **fields: Any,
    ) -> None:
        fields = {name: value for name, value in fields.items() if value is not None}
        super().__init__(llama=_Generating(self._respond), **fields)
        self._mock = ORIGINALS["MockFunctionCallingLLM"](
            blocks_to_content_callback=blocks_to_content_callback
        )
        self._generator = response_generator
        self.is_chat_model = is_chat_model

    @classmethod
    def class_name(cls) -> str:
        return "MockFunctionCallingLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, is_chat_model=bool(self.is_chat_model))

    def _respond(self, messages: list[ChatMessage], with_tools: bool) -> ChatMessage:
        generator = self._generator or self._mock.response_generator
        takes_more = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(generator).parameters.values())
        answer = generator(messages, **({"tools": self._tools} if with_tools and takes_more else {}))
        return answer if isinstance(answer, ChatMessage) else list(answer)[-1]

    def _prepare_chat_with_tools(self, tools: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
        self._tools = tools
        return super()._prepare_chat_with_tools(tools=tools, **kwargs)


class MockFunctionCallingLLMWithChatMemoryOfLastCall(_Remembering, MockFunctionCallingLLM):
    """In place of the mock of that name."""

    last_chat_messages: Any = Field(default=None, exclude=True)
    last_called_chat_function: list[str] = Field(default=[], exclude=True)


class _Constant(ScriptedLlama):
    """The same vector for every text."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def embed(self, texts: Any, **options: Any) -> np.ndarray:
        return np.full((len(texts), self.dim), 0.5, np.float32)


class MockEmbedding(LlamaCppEmbedding):
    """In place of ``llama_index.core.embeddings.MockEmbedding``."""

    embed_dim: int

    def __init__(self, embed_dim: int, **fields: Any) -> None:
        super().__init__(llama=_Constant(embed_dim), embed_dim=embed_dim, **{"embed_batch_size": 10} | fields)

    @classmethod
    def class_name(cls) -> str:
        return "MockEmbedding"

    def __getstate__(self) -> dict[str, Any]:
        return {"embed_dim": self.embed_dim, "embed_batch_size": self.embed_batch_size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


REPLACED = {
    "MockLLM": (mock, MockLLM),
    "MockLLMWithNonyieldingChatStream": (mock, MockLLMWithNonyieldingChatStream),
    "MockLLMWithChatMemoryOfLastCall": (mock, MockLLMWithChatMemoryOfLastCall),
    "MockFunctionCallingLLM": (mock, MockFunctionCallingLLM),
    "MockFunctionCallingLLMWithChatMemoryOfLastCall": (mock, MockFunctionCallingLLMWithChatMemoryOfLastCall),
    "MockEmbedding": (mock_embed_model, MockEmbedding),
}
ORIGINALS: dict[str, Any] = {name: getattr(module, name) for name, (module, _) in REPLACED.items()}


def _replace() -> None:
    for module in [m for n, m in sys.modules.items() if n.startswith("llama_index.core")]:
        for name, original in ORIGINALS.items():
            if getattr(module, name, None) is original:
                setattr(module, name, REPLACED[name][1])


# When the plugin is imported: the tests' conftest.py, too, holds references to the mocks.
assert llama_index.core.VectorStoreIndex
_replace()
