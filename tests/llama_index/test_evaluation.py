"""Evaluators and metadata extractors over the real model."""

from __future__ import annotations

import pytest
from llama_index.core import Document
from llama_index.core.evaluation import (
    AnswerRelevancyEvaluator,
    CorrectnessEvaluator,
    FaithfulnessEvaluator,
    RelevancyEvaluator,
)
from llama_index.core.extractors import (
    DocumentContextExtractor,
    KeywordExtractor,
    PydanticProgramExtractor,
    QuestionsAnsweredExtractor,
    SummaryExtractor,
    TitleExtractor,
)
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.schema import TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from pydantic import BaseModel, Field

from llamacpp_integrations.llama_index import LlamaCpp, configure_settings

QUERY = "How many hearts has an octopus?"
ANSWER = "An octopus has three hearts."
CONTEXT = "The octopus has three hearts and blue blood."


def bound(model: LlamaCpp, grammar: str) -> LlamaCpp:
    """The model with its answers bound to a grammar, as these evaluators read them."""
    return model.model_copy(update={"additional_kwargs": {"grammar": grammar}})


@pytest.mark.parametrize("evaluator_cls", [FaithfulnessEvaluator, RelevancyEvaluator])
async def test_yes_or_no(chat_model: LlamaCpp, evaluator_cls: type) -> None:
    configure_settings(chat_model, None)
    model = bound(chat_model, 'root ::= "YES" | "NO"')
    evaluator = evaluator_cls(llm=model)
    result = await evaluator.aevaluate(query=QUERY, response=ANSWER, contexts=[CONTEXT])
    assert result.feedback in ("YES", "NO")
    assert result.passing is (result.feedback == "YES")
    assert result.score == float(result.passing)
    assert evaluator.evaluate(query=QUERY, response=ANSWER, contexts=[CONTEXT]).feedback in ("YES", "NO")


async def test_correctness(chat_model: LlamaCpp) -> None:
    model = bound(chat_model, 'root ::= [1-5] ".0\\n" [A-Z] [a-z ]{3,30} "."')
    result = await CorrectnessEvaluator(llm=model).aevaluate(query=QUERY, response=ANSWER, reference=CONTEXT)
    assert result.score in (1, 2, 3, 4, 5)
    assert result.passing is (result.score >= 4)
    assert result.feedback


async def test_relevancy_of_an_answer(chat_model: LlamaCpp) -> None:
    model = bound(chat_model, 'root ::= "The answer fits.\\n\\n[RESULT] " [0-2]')
    result = await AnswerRelevancyEvaluator(llm=model).aevaluate(query=QUERY, response=ANSWER)
    assert result.score in (0, 0.5, 1)


class Topic(BaseModel):
    """What a text is about."""

    topic: str = Field(max_length=16)
    animals: bool


async def test_metadata_extractors(chat_model: LlamaCpp) -> None:
    configure_settings(chat_model, None)
    model = chat_model.model_copy(update={"max_tokens": 60})
    program = FunctionCallingProgram.from_defaults(
        output_cls=Topic, prompt_template_str="Classify this text: {input}", llm=model
    )
    pipeline = IngestionPipeline(
        transformations=[
            SentenceSplitter(chunk_size=64, chunk_overlap=0, tokenizer=model.tokenizer),
            TitleExtractor(llm=model, nodes=1),
            KeywordExtractor(llm=model, keywords=2),
            QuestionsAnsweredExtractor(llm=model, questions=1),
            SummaryExtractor(llm=model, summaries=["self"]),
            PydanticProgramExtractor(program=program, input_key="input"),
        ]
    )
    nodes = await pipeline.arun(documents=[Document(text=f"{CONTEXT} {CONTEXT}")])
    names = {"document_title", "excerpt_keywords", "questions_this_excerpt_can_answer", "section_summary"}
    assert names <= set(nodes[0].metadata)
    assert all(nodes[0].metadata[name] for name in names)
    assert set(nodes[0].metadata) >= {"topic", "animals"}


async def test_a_context_for_each_chunk(chat_model: LlamaCpp) -> None:
    store = SimpleDocumentStore()
    document = Document(text=CONTEXT, id_="d")
    store.add_documents([document])
    extractor = DocumentContextExtractor(
        docstore=store, llm=chat_model, max_context_length=1000, max_output_tokens=16, key="context"
    )
    node = TextNode(text="three hearts")
    node.relationships = {"1": document.as_related_node_info()}  # type: ignore[dict-item] # its source
    (metadata,) = await extractor.aextract([node])
    assert metadata["context"]
