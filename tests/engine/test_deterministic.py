"""``deterministic=True``: the same request, the same tokens, whatever runs beside it and is cached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama, UnsupportedCapabilityError

pytestmark = pytest.mark.changes("prefix")

SYSTEM = "You keep the records of a small harbour. " + "Boats come and go, and each is written down. " * 20
QUESTIONS = [f"How many boats came on day {i}?" for i in range(3)]


@pytest.fixture(scope="module")
def several(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=512, n_parallel=4, n_batch=64) as loaded:
        yield loaded


def messages(question: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def ask(llm: Llama, question: str, **parameters: Any) -> Iterator[Any]:
    fields = {"max_tokens": 16, "temperature": 0.9, "seed": 7, "deterministic": True}
    return llm.create_chat_completion(messages(question), stream=True, **{**fields, **parameters})


def read(stream: Iterator[Any]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream if chunk["choices"])


@pytest.fixture(scope="module")
def alone(several: Llama) -> list[str]:
    return [read(ask(several, question)) for question in QUESTIONS]


def test_with_others_of_its_kind(several: Llama, alone: list[str]) -> None:
    assert [read(stream) for stream in [ask(several, question) for question in QUESTIONS]] == alone


def test_beside_ordinary_requests(several: Llama, alone: list[str]) -> None:
    streams = []
    for question in QUESTIONS:
        streams.append(ask(several, question))
        ask_too = messages(question[::-1])
        streams.append(several.create_chat_completion(ask_too, stream=True, max_tokens=24))
    assert [read(stream) for stream in streams][::2] == alone


def test_after_ordinary_requests_have_filled_the_cache(several: Llama, alone: list[str]) -> None:
    for question in QUESTIONS:
        read(ask(several, question, deterministic=False))
    assert [read(ask(several, question)) for question in reversed(QUESTIONS)] == alone[::-1]


def test_several_answers(several: Llama) -> None:
    def texts() -> list[str]:
        response = several.create_completion(
            SYSTEM[:400], n=3, max_tokens=12, temperature=0.9, seed=3, deterministic=True
        )
        return [choice["text"] for choice in response["choices"]]

    first = texts()
    busy = several.create_completion("Once", max_tokens=40, ignore_eos=True, stream=True)
    assert texts() == first
    assert len(set(first)) > 1
    for _ in busy:
        pass


def test_in_another_engine_and_for_every_request(smollm2_path: Path, alone: list[str]) -> None:
    with Llama(smollm2_path, n_ctx=512, n_parallel=2, n_batch=64, deterministic=True) as llm:
        assert read(ask(llm, QUESTIONS[0], deterministic=None)) == alone[0]
        without_seed = [read(ask(llm, QUESTIONS[1], deterministic=None, seed=None)) for _ in range(2)]
        assert without_seed[0] == without_seed[1]


def test_python_in_the_loop(several: Llama) -> None:
    def answer() -> str:
        response = several.create_completion(
            SYSTEM,
            max_tokens=8,
            temperature=0,
            deterministic=True,
            logits_processor=lambda ids, scores: scores,
        )
        assert response["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        return str(response["choices"][0]["text"])

    assert answer() == answer()


def test_where_it_cannot_be(smollm2_path: Path) -> None:
    with Llama(smollm2_path, n_ctx=512, n_parallel=2, kv_unified=True) as llm:
        with pytest.raises(UnsupportedCapabilityError, match="kv_unified"):
            llm.create_completion("Hello", deterministic=True)
        assert llm.create_completion("Hello", max_tokens=1, deterministic=False)["choices"]
