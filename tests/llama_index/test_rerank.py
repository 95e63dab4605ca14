"""The reranker."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from fakes import ScriptedLlama, scripted_info
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from llamacpp_core import InvalidParameterError, Llama, UnsupportedCapabilityError
from llamacpp_integrations.llama_index import LlamaCppRerank

TEXTS = ["Paris is the capital of France.", "A cat sleeps.", "Berlin is the capital of Germany."]
QUERY = "What is the capital of Germany?"


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=t, id_=str(i)), score=0.1 * i) for i, t in enumerate(TEXTS)]


async def test_the_best_comes_first(embedder: Llama) -> None:
    reranker = LlamaCppRerank(llama=embedder, top_n=2)
    ranked = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    assert [r.node.node_id for r in ranked] == ["2", "0"]
    assert ranked[0].get_score() > ranked[1].get_score()
    aranked = await reranker.apostprocess_nodes(nodes(), query_bundle=QueryBundle(QUERY))
    assert [r.node.node_id for r in aranked] == ["2", "0"]


def test_a_chat_model_scores_by_yes_and_no(llm: Llama) -> None:
    ranked = LlamaCppRerank(llama=llm, top_n=3).postprocess_nodes(nodes(), query_str=QUERY)
    assert sorted(r.node.node_id for r in ranked) == ["0", "1", "2"]
    scores = [r.get_score() for r in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("keep", [False, True])
def test_the_nodes_that_come_in_are_not_changed(keep: bool) -> None:
    given = nodes()
    before = copy.deepcopy(given)
    reranker = LlamaCppRerank(llama=ScriptedLlama(), top_n=10, keep_retrieval_score=keep)
    ranked = reranker.postprocess_nodes(given, query_str="Berlin Germany")
    assert given == before
    assert ranked[0].node.node_id == "2"
    assert ranked[0].node.metadata == ({"retrieval_score": 0.2} if keep else {})


async def test_no_nodes_and_no_query() -> None:
    reranker = LlamaCppRerank(llama=ScriptedLlama())
    assert reranker.postprocess_nodes([], query_str="x") == []
    assert await reranker.apostprocess_nodes([], query_str="x") == []
    with pytest.raises(InvalidParameterError, match="query"):
        reranker.postprocess_nodes(nodes())
    with pytest.raises(InvalidParameterError, match="query"):
        await reranker.apostprocess_nodes(nodes())


class Recorder(BaseEventHandler):
    """Keeps the events."""

    events: list[Any] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)


async def test_events() -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    recorder = Recorder()
    get_dispatcher().add_event_handler(recorder)
    try:
        reranker = LlamaCppRerank(llama=ScriptedLlama(), top_n=2, callback_manager=CallbackManager([debug]))
        reranker.postprocess_nodes(nodes(), query_str=QUERY)
        await reranker.apostprocess_nodes(nodes(), query_str=QUERY)
    finally:
        get_dispatcher().event_handlers.remove(recorder)
    events = [e for e in recorder.events if isinstance(e, ReRankStartEvent | ReRankEndEvent)]
    assert [type(e) for e in events] == [ReRankStartEvent, ReRankEndEvent] * 2
    assert (events[0].query, events[0].top_n, events[0].model_name) == (QUERY, 2, "scripted")
    assert len(events[1].nodes) == 2
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 2


def test_a_model_that_cannot_score() -> None:
    with pytest.raises(UnsupportedCapabilityError, match="score"):
        LlamaCppRerank(llama=ScriptedLlama(info=scripted_info(rerank=None)))


def test_top_n_is_checked() -> None:
    with pytest.raises(ValueError, match="top_n"):
        LlamaCppRerank(llama=ScriptedLlama(), top_n=0)
