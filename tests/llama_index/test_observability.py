"""Token counts, callbacks and events."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    EventPayload,
    LlamaDebugHandler,
    TokenCountingHandler,
)
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from llamacpp_core import Llama
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding

MESSAGES = [ChatMessage(content="Name a colour.")]


class Number(BaseModel):
    """A number."""

    value: int


class Recorder(BaseEventHandler):
    """Keeps the events."""

    events: list[Any] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """The events of one class."""
        return [event for event in self.events if type(event) is kind]


async def test_the_token_counter_gets_the_engines_own_numbers(llm: Llama, embedder: Llama) -> None:
    counter = TokenCountingHandler(tokenizer=lambda _: [])  # it would count nothing by itself
    manager = CallbackManager([counter])
    model = LlamaCpp(llama=llm, temperature=0, max_tokens=6, callback_manager=manager)
    responses: list[Any] = [
        model.chat(MESSAGES),
        await model.achat(MESSAGES),
        list(model.stream_chat(MESSAGES))[-1],
        [r async for r in await model.astream_chat(MESSAGES)][-1],
        model.complete("Hi"),
        list(model.stream_complete("Hi", formatted=True))[-1],
    ]
    usages = [response.raw["usage"] for response in responses]
    assert counter.prompt_llm_token_count == sum(usage["prompt_tokens"] for usage in usages) > 0
    assert counter.completion_llm_token_count == sum(usage["completion_tokens"] for usage in usages) > 0
    assert len(counter.llm_token_counts) == 6
    embedding = LlamaCppEmbedding(
        llama=embedder, callback_manager=CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    )
    embedding.get_text_embedding_batch(["a", "b"])
    debug = embedding.callback_manager.handlers[0]
    assert isinstance(debug, LlamaDebugHandler)
    (pair,) = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert pair[1].payload
    assert pair[1].payload[EventPayload.CHUNKS] == ["a", "b"]


async def test_instrumentation_events(chat_model: LlamaCpp, embed_model: LlamaCppEmbedding) -> None:
    recorder = Recorder()
    get_dispatcher().add_event_handler(recorder)
    try:
        chat_model.chat(MESSAGES, max_tokens=2)
        n = len([r async for r in await chat_model.astream_chat(MESSAGES, max_tokens=4)])
        await chat_model.acomplete("Hi", max_tokens=2)
        embed_model.get_query_embedding("Hi")
    finally:
        get_dispatcher().event_handlers.remove(recorder)
    assert len(recorder.of(LLMChatStartEvent)) == len(recorder.of(LLMChatEndEvent)) == 2
    assert len(recorder.of(LLMChatInProgressEvent)) == n
    assert recorder.of(LLMChatEndEvent)[1].response.raw["usage"]["completion_tokens"] == 4
    assert len(recorder.of(LLMCompletionEndEvent)) == 1
    assert len(recorder.of(EmbeddingEndEvent)) == 1
    assert recorder.of(LLMChatStartEvent)[0].model_dict["model_name"] == "smollm2-135m-instruct"


async def test_events_of_structured_prediction(chat_model: LlamaCpp) -> None:
    prompt = PromptTemplate("Think of a {what}.")
    recorder = Recorder()
    get_dispatcher().add_event_handler(recorder)
    try:
        chat_model.structured_predict(Number, prompt, what="number")
        await chat_model.astructured_predict(Number, prompt, what="number")
        n = len(list(chat_model.stream_structured_predict(Number, prompt, what="number")))
        async for _ in await chat_model.astream_structured_predict(Number, prompt, what="number"):
            n += 1
    finally:
        get_dispatcher().event_handlers.remove(recorder)
    assert len(recorder.of(LLMStructuredPredictStartEvent)) == 4
    assert len(recorder.of(LLMStructuredPredictInProgressEvent)) == n
    assert all(isinstance(event.output, Number) for event in recorder.of(LLMStructuredPredictEndEvent))
    assert len(recorder.of(LLMStructuredPredictEndEvent)) == 4
