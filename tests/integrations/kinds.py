"""The classes of both frameworks, with a way to make and to use each, so that one test serves all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import NodeWithScore, TextNode

from llamacpp_integrations import langchain, llama_index

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"


@dataclass(frozen=True)
class Kind:
    """A class, and how to use its objects.

    Attributes:
        make: The class.
        use: Asks an object something.
        model: A model that it takes, with options that load quickly.
        number: A field of its own that takes numbers above 0 only.
    """

    make: Callable[..., Any]
    use: Callable[[Any, str], Any]
    model: dict[str, Any]
    number: str = "max_tokens"

    def __str__(self) -> str:
        return f"{self.make.__module__.split('.')[1]}-{self.make.__name__}"  # type: ignore[attr-defined]


_CHAT = {"model": CHAT_MODEL, "n_ctx": 256, "n_parallel": 2}
_EMBED = {"model": EMBEDDING_MODEL, "n_parallel": 2}

CHATS = (
    Kind(langchain.ChatLlamaCpp, lambda made, text: made.invoke(text, max_tokens=2), _CHAT, "repeat_penalty"),
    Kind(
        llama_index.LlamaCpp,
        lambda made, text: made.chat([ChatMessage(content=text)], max_tokens=2),
        _CHAT,
        "repeat_penalty",
    ),
)
EMBEDDINGS = (
    Kind(langchain.LlamaCppEmbeddings, lambda made, text: made.embed_documents([text])[0], _EMBED),
    Kind(llama_index.LlamaCppEmbedding, lambda made, text: made.get_text_embedding(text), _EMBED),
)
KINDS = (
    *CHATS,
    *EMBEDDINGS,
    Kind(langchain.LlamaCppLLM, lambda made, text: made.invoke(text, max_tokens=2), _CHAT, "repeat_penalty"),
    Kind(
        langchain.LlamaCppRerank,
        lambda made, text: made.compress_documents([Document("a"), Document("b")], text),
        _EMBED,
        "top_n",
    ),
    Kind(
        llama_index.LlamaCppRerank,
        lambda made, text: made.postprocess_nodes([NodeWithScore(node=TextNode(text="a"))], query_str=text),
        _EMBED,
        "top_n",
    ),
)


# Four ways to ask a chat object, each gives the answer or raises


def _langchain_ways(made: Any, kwargs: dict[str, Any]) -> list[Callable[[], Any]]:
    async def drained() -> None:
        async for _ in made.astream("x", **kwargs):
            pass

    return [
        lambda: made.invoke("x", **kwargs),
        lambda: list(made.stream("x", **kwargs)),
        lambda: asyncio.run(made.ainvoke("x", **kwargs)),
        lambda: asyncio.run(drained()),
    ]


def _llama_index_ways(made: Any, kwargs: dict[str, Any]) -> list[Callable[[], Any]]:
    messages = [ChatMessage(content="x")]

    async def drained() -> None:
        async for _ in await made.astream_chat(messages, **kwargs):
            pass

    return [
        lambda: made.chat(messages, **kwargs),
        lambda: list(made.stream_chat(messages, **kwargs)),
        lambda: asyncio.run(made.achat(messages, **kwargs)),
        lambda: asyncio.run(drained()),
    ]


def ways_to_chat(made: Any, kwargs: dict[str, Any]) -> list[Callable[[], Any]]:
    """The whole answer and the stream, each for callers that are coroutines and for others."""
    of = _langchain_ways if isinstance(made, langchain.ChatLlamaCpp) else _llama_index_ways
    return of(made, kwargs)
