"""Query engines over the real models. The model is weak: what is checked is structure, not knowledge."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Literal

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.postprocessor import StructuredLLMRerank
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.tools import QueryEngineTool
from pydantic import BaseModel, Field

from llamacpp_core import Llama
from llamacpp_integrations.llama_index import LlamaCpp, LlamaCppEmbedding, LlamaCppRerank, configure_settings

FACTS = [
    "The Golden Gate Bridge in San Francisco opened in 1937 and is 2737 metres long.",
    "Basil needs six hours of sun a day and is watered in the morning.",
    "The octopus has three hearts and blue blood.",
]
QUESTION = "How many hearts does an octopus have?"


@pytest.fixture
def index(chat_model: LlamaCpp, embed_model: LlamaCppEmbedding) -> VectorStoreIndex:
    configure_settings(chat_model, embed_model)
    return VectorStoreIndex.from_documents([Document(text=fact) for fact in FACTS])


class Fact(BaseModel):
    """A fact about an animal."""

    animal: str = Field(max_length=16)
    number: int = Field(ge=0, le=1000)


async def test_a_query_engine(index: VectorStoreIndex) -> None:
    engine = index.as_query_engine(similarity_top_k=1)
    response = engine.query(QUESTION)
    assert str(response).strip()
    assert "octopus" in response.source_nodes[0].text
    assert str(await engine.aquery(QUESTION)).strip()
    streaming = index.as_query_engine(similarity_top_k=1, streaming=True)
    pieces = list(streaming.query(QUESTION).response_gen)  # type: ignore[union-attr]
    assert len(pieces) > 2
    assert "".join(pieces).strip()
    astreamed = await streaming.aquery(QUESTION)
    assert "".join([piece async for piece in astreamed.async_response_gen()]).strip()  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "accumulate", "simple_summarize"])
async def test_response_modes(index: VectorStoreIndex, mode: str) -> None:
    engine = index.as_query_engine(similarity_top_k=2, response_mode=mode)
    assert str(await engine.aquery(QUESTION)).strip()


@pytest.mark.parametrize("mode", ["compact", "tree_summarize"])
async def test_an_output_class(index: VectorStoreIndex, mode: str) -> None:
    engine = index.as_query_engine(output_cls=Fact, response_mode=mode, similarity_top_k=1)
    assert isinstance(engine.query(QUESTION).response, Fact)
    assert isinstance((await engine.aquery(QUESTION)).response, Fact)


@pytest.mark.slow
def test_structured_refinement(index: VectorStoreIndex, chat_model: LlamaCpp) -> None:
    llm = chat_model.model_copy(update={"max_tokens": 400})
    synthesizer = get_response_synthesizer(
        llm=llm, response_mode=ResponseMode.REFINE, structured_answer_filtering=True
    )
    nodes = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert synthesizer.synthesize(QUESTION, nodes).response is not None


async def test_a_router(index: VectorStoreIndex, chat_model: LlamaCpp) -> None:
    llm = chat_model.model_copy(update={"max_tokens": 400})
    tools = [
        QueryEngineTool.from_defaults(index.as_query_engine(similarity_top_k=1), name=name, description=text)
        for name, text in (("animals", "About animals."), ("bridges", "About bridges."))
    ]
    router = RouterQueryEngine.from_defaults(tools, llm=llm)
    for response in (router.query(QUESTION), await router.aquery(QUESTION)):
        assert str(response).strip()
        assert response.metadata
        assert response.metadata["selector_result"].selections[0].index in (0, 1)


async def test_sub_questions(index: VectorStoreIndex, chat_model: LlamaCpp) -> None:
    # The generator reads JSON out of free text, so the model gets a schema to keep to.
    question = {
        "type": "object",
        "properties": {
            "sub_question": {"type": "string", "maxLength": 40},
            "tool_name": {"enum": ["animals", "bridges"]},
        },
        "required": ["sub_question", "tool_name"],
    }
    items = {"type": "array", "items": question, "minItems": 2, "maxItems": 2}
    schema = {"type": "object", "properties": {"items": items}, "required": ["items"]}
    bound = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    generator = LLMQuestionGenerator.from_defaults(
        llm=chat_model.model_copy(update={"max_tokens": 200, "additional_kwargs": bound})
    )
    tools = [
        QueryEngineTool.from_defaults(index.as_query_engine(similarity_top_k=1), name=name, description=name)
        for name in ("animals", "bridges")
    ]
    engine = SubQuestionQueryEngine.from_defaults(
        tools, question_gen=generator, use_async=True, verbose=False
    )
    response = await engine.aquery("Is an octopus older than the Golden Gate Bridge?")
    assert str(response).strip()
    assert len(response.source_nodes) >= 2  # the answers to both questions


class Relevance(BaseModel):
    """How relevant a document is."""

    document_number: Literal[1, 2, 3]
    relevance: int = Field(ge=1, le=10)


class Relevances(BaseModel):
    """Documents with their relevance."""

    documents: list[Relevance] = Field(min_length=1, max_length=3)


async def test_the_frameworks_structured_reranker(index: VectorStoreIndex, chat_model: LlamaCpp) -> None:
    llm = chat_model.model_copy(update={"max_tokens": 200})
    reranker = StructuredLLMRerank(llm=llm, top_n=2, document_relevance_list_cls=Relevances)
    nodes = index.as_retriever(similarity_top_k=3).retrieve(QUESTION)
    for ranked in (
        reranker.postprocess_nodes(nodes, query_str=QUESTION),
        await reranker.apostprocess_nodes(nodes, query_str=QUESTION),
    ):
        assert 1 <= len(ranked) <= 2
        assert all(1 <= (node.score or 0) <= 10 for node in ranked)


async def test_our_reranker(index: VectorStoreIndex, embedder: Llama) -> None:
    reranker = LlamaCppRerank(llama=embedder, top_n=1)
    engine = index.as_query_engine(similarity_top_k=3, node_postprocessors=[reranker])
    for response in (engine.query(QUESTION), await engine.aquery(QUESTION)):
        assert [FACTS.index(node.text) for node in response.source_nodes] == [2]


async def test_a_summary_of_text_longer_than_the_context() -> None:
    with LlamaCpp("smollm2-135m-instruct", n_ctx=512, temperature=0, max_tokens=24, warmup=False) as model:
        configure_settings(model, None)
        text = " ".join(f"Day {i}: the ship sailed {i * 7 % 50} miles to the west." for i in range(50))
        assert len(model.tokenizer(text)) > model.metadata.context_window
        tree = get_response_synthesizer(response_mode=ResponseMode.TREE_SUMMARIZE, use_async=True)
        assert str(await tree.aget_response("Where did it sail?", [text])).strip()


def test_asynchronous_summaries_share_the_batch(chat_model: LlamaCpp, llm: Llama) -> None:
    configure_settings(chat_model, None)
    synthesizer = get_response_synthesizer(
        llm=chat_model.model_copy(update={"additional_kwargs": {"ignore_eos": True}}),
        response_mode=ResponseMode.ACCUMULATE,
        use_async=True,
    )
    peak, done = 0, False

    def watch() -> None:
        nonlocal peak
        while not done:
            peak = max(peak, llm.n_active)
            time.sleep(0.002)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        answer = synthesizer.get_response("What is it about?", FACTS * 2)
    finally:
        done = True
        watching.join()
    assert str(answer).count("Response ") == 6
    assert peak == 6  # all of them at once: four in the batch, two waiting


def test_a_persisted_index(index: VectorStoreIndex, tmp_path: Path) -> None:
    index.storage_context.persist(tmp_path)
    reloaded = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)))
    found = reloaded.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert "octopus" in found[0].text
    assert str(reloaded.as_query_engine(similarity_top_k=1).query(QUESTION)).strip()
