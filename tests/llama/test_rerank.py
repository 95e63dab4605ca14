"""Reranking: by a cross-encoder, by embeddings, and by asking a chat model."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from llamacpp_core import (
    ContextOverflowError,
    InvalidParameterError,
    Llama,
    UnsupportedCapabilityError,
)
from llamacpp_core.models import WordPieceTokenizer, resolve_model

QUERY = "What is the capital of France?"
DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin lies in Germany.", ""]


def load_reference() -> Any:
    spec = importlib.util.spec_from_file_location(
        "bert_reference", Path(__file__).with_name("bert_reference.py")
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cross_encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MiniLM encoder with a classification head of known weights."""
    source = gguf.GGUFReader(resolve_model("all-minilm-l6-v2", dtype="f32", progress=False).path)
    path = tmp_path_factory.mktemp("rerank") / "cross-encoder.gguf"
    writer = gguf.GGUFWriter(path, "bert")
    replaced = {
        "bert.pooling_type": 4,
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_sep_token": False,
    }
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, replaced.get(field.name, field.contents()), kind, sub_type=item)
    random = np.random.default_rng(5)
    head = {
        "cls.weight": random.normal(0, 0.08, (384, 384)),
        "cls.bias": random.normal(0, 0.1, 384),
        "cls.output.weight": random.normal(0, 0.3, (1, 384)),
        "cls.output.bias": random.normal(0, 0.1, 1),
    }
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    for name, values in head.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def cross_encoder(cross_encoder_path: Path) -> Iterator[Llama]:
    with Llama(cross_encoder_path) as loaded:
        yield loaded


def check_form(found: list[dict[str, Any]], n: int) -> None:
    assert sorted(result["index"] for result in found) == list(range(n))
    scores = [result["relevance_score"] for result in found]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.changes("pairs")
def test_a_cross_encoder_gives_its_own_scores(cross_encoder: Llama, cross_encoder_path: Path) -> None:
    assert cross_encoder.info.pooling == "rank"
    assert cross_encoder.info.capabilities.rerank == "cross-encoder"
    documents = [*DOCUMENTS, "word " * 300, *(f"Document {i} about something." for i in range(40))]
    found = cross_encoder.rerank(QUERY, documents)
    check_form(found, len(documents))
    bert = load_reference().BertReference(cross_encoder_path)
    tokenizer = WordPieceTokenizer.from_gguf(cross_encoder_path)
    for result in found[::5]:
        second = tokenizer.encode(documents[result["index"]])[1:]
        assert result["relevance_score"] == pytest.approx(
            bert.score(tokenizer.encode(QUERY), second), abs=2e-2
        )


def test_the_pair_is_checked_for_its_length(cross_encoder: Llama) -> None:
    with pytest.raises(ContextOverflowError) as caught:
        cross_encoder.rerank(QUERY, ["short", "word " * 600])
    assert caught.value.parameter == "documents[1]"
    assert caught.value.n_ctx == 512


def test_a_cross_encoder_does_not_embed(cross_encoder: Llama) -> None:
    with pytest.raises(UnsupportedCapabilityError, match="reranker"):
        cross_encoder.embed(["x"])


@pytest.fixture(params=["cross-encoder", "embedding", "yes-no"])
def reranker(request: pytest.FixtureRequest) -> Llama:
    names = {"cross-encoder": "cross_encoder", "embedding": "embedder", "yes-no": "llm"}
    loaded: Llama = request.getfixturevalue(names[request.param])
    assert loaded.info.capabilities.rerank == request.param
    return loaded


def test_form_of_every_mode(reranker: Llama) -> None:
    found = reranker.rerank(QUERY, DOCUMENTS)
    check_form(found, len(DOCUMENTS))
    assert all(set(result) == {"index", "relevance_score"} for result in found)
    best = reranker.rerank(QUERY, DOCUMENTS, top_n=2, return_documents=True)
    assert len(best) == 2
    assert [result["document"] for result in best] == [DOCUMENTS[result["index"]] for result in best]
    assert [result["index"] for result in best] == [result["index"] for result in found[:2]]
    assert reranker.rerank(QUERY, []) == []
    assert len(reranker.rerank(QUERY, DOCUMENTS, top_n=100)) == len(DOCUMENTS)


async def test_the_tokens_are_counted(reranker: Llama) -> None:
    answer = reranker.create_rerank(QUERY, DOCUMENTS, model="mine", top_n=1)
    assert answer["model"] == "mine"
    assert len(answer["results"]) == 1
    n_query, *n_documents = (len(reranker.tokenize(text.encode())) for text in (QUERY, *DOCUMENTS))
    read = {
        "embedding": n_query + sum(n_documents),
        # one [CLS] less in each pair
        "cross-encoder": sum(n_query + n - 1 for n in n_documents),
    }.get(str(reranker.info.capabilities.rerank))
    total = answer["usage"]["total_tokens"]
    assert answer["usage"] == {"prompt_tokens": total, "total_tokens": total}
    assert total == read if read else total > len(DOCUMENTS) * n_query + sum(n_documents)
    assert (await reranker.acreate_rerank(QUERY, DOCUMENTS, top_n=1))["usage"] == answer["usage"]
    nothing = reranker.create_rerank(QUERY, [])
    assert (nothing["results"], nothing["usage"]["total_tokens"]) == ([], 0)


async def test_async_twin(reranker: Llama) -> None:
    found = await reranker.arerank(QUERY, DOCUMENTS)
    expected = reranker.rerank(QUERY, DOCUMENTS)
    assert [result["index"] for result in found[:1]] == [result["index"] for result in expected[:1]]
    for one, other in zip(found, expected, strict=True):
        assert one["relevance_score"] == pytest.approx(other["relevance_score"], abs=2e-2)


def test_embeddings_find_the_answer(embedder: Llama) -> None:
    found = embedder.rerank(QUERY, DOCUMENTS)
    assert found[0]["index"] == 1
    vectors = embedder.embed([QUERY, DOCUMENTS[1]])
    assert found[0]["relevance_score"] == pytest.approx(float(vectors[0] @ vectors[1]), abs=5e-3)


def test_long_documents_are_chunked_by_an_embedding_model(embedder: Llama) -> None:
    long = "Paris is the capital of France. " * 200
    assert embedder.rerank(QUERY, ["Bananas.", long])[0]["index"] == 1


def test_yes_and_no_are_probabilities(llm: Llama) -> None:
    found = llm.rerank(QUERY, DOCUMENTS)
    assert all(0 <= result["relevance_score"] <= 1 for result in found)
    with pytest.raises(ContextOverflowError) as caught:
        llm.rerank(QUERY, ["short", "word " * 3000])
    assert caught.value.parameter == "documents[1]"


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ((None, ["a"]), "query"),
        (("", ["a"]), "query"),
        (("a\0", ["a"]), "query"),
        ((5, ["a"]), "query"),
        (("q", "abc"), "documents"),
        (("q", ""), "documents"),
        (("q", {"a": 1}), "documents"),
        (("q", 5), "documents"),
        (("q", ["a", 5]), "documents[1]"),
        (("q", ["a", None]), "documents[1]"),
        (("q", ["a", "\ud800"]), "documents[1]"),
    ],
)
def test_bad_input_is_named(reranker: Llama, arguments: tuple[Any, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        reranker.rerank(*arguments)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("top_n", [0, -1, 1.5, "2", True])
def test_top_n_is_checked(embedder: Llama, top_n: Any) -> None:
    with pytest.raises(InvalidParameterError, match="top_n"):
        embedder.rerank(QUERY, DOCUMENTS, top_n=top_n)
    with pytest.raises(InvalidParameterError, match="top_n"):
        embedder.rerank(QUERY, [], top_n=top_n)


def test_more_documents_than_slots(reranker: Llama) -> None:
    documents = [f"Document {i}" for i in range(50 if reranker.info.capabilities.rerank != "yes-no" else 6)]
    check_form(reranker.rerank("Document 3", documents), len(documents))


async def test_arguments_are_checked_before_anything_is_computed(
    embedder: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(embedder._engine), "submit")
    wrong: dict[str, Any] = {"model": 5}
    with pytest.raises(InvalidParameterError, match="model"):
        embedder.create_rerank("cat", ["dog"], **wrong)
    with pytest.raises(InvalidParameterError, match="model"):
        await embedder.acreate_rerank("cat", ["dog"], **wrong)
