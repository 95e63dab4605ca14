"""Where a grammar leaves one text, it is appended without the model, in the tokens that models would read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama, LlamaGrammar

SENTENCE = "The keeper of the harbour has counted the boats and found"
GRAMMAR = LlamaGrammar.from_string(
    f'root ::= " {SENTENCE} " [1-9] [0-9]? " of them; " ("none" | "some") " of those were seen again."'
)
PROMPT = "How many boats are in the harbour?\n"


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=512, n_parallel=4) as loaded:
        yield loaded


def ask(llm: Llama, **parameters: Any) -> Any:
    fields = {"max_tokens": 60, "temperature": 0, "grammar": GRAMMAR}
    return llm.create_completion(PROMPT, **{**fields, **parameters})


def test_tokens_are_those_of_the_whole_text(llm: Llama) -> None:
    choice = ask(llm, logprobs=0)["choices"][0]
    before = len(llm.tokenize(PROMPT.encode(), add_bos=False))
    whole = llm.tokenize((PROMPT + choice["text"]).encode(), add_bos=False)[before:]
    got = choice["logprobs"]["tokens"]
    assert "".join(got) == choice["text"]
    n_certain = len(SENTENCE.split()) - 1  # the last word may have gone on with what follows
    assert got[:n_certain] == [llm.detokenize([token]).decode() for token in whole[:n_certain]]


def test_probabilities_are_those_of_the_model(llm: Llama) -> None:
    """A token that had to come is no less surprising for that."""
    logprobs = ask(llm, logprobs=0)["choices"][0]["logprobs"]["token_logprobs"]
    assert min(logprobs) < -5
    assert max(logprobs) < 0


@pytest.mark.parametrize("temperature", [0, 0.9])
def test_the_same_answer_token_by_token(llm: Llama, temperature: float) -> None:
    """With probabilities, each token is read in a step of its own."""
    fast, slow = (ask(llm, temperature=temperature, seed=11, logprobs=n) for n in (None, 1))
    assert fast["choices"][0]["text"] == slow["choices"][0]["text"]
    assert fast["usage"]["completion_tokens"] == slow["usage"]["completion_tokens"]
    assert fast["choices"][0]["finish_reason"] == slow["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("most", [1, 2, 5, 9])
def test_an_answer_that_is_cut_off(llm: Llama, most: int) -> None:
    whole = ask(llm)["choices"][0]["text"]
    grammar = LlamaGrammar.from_string(f'root ::= " {SENTENCE} nothing." root')  # has no end
    for parameters in ({}, {"logprobs": 1}):
        response = ask(llm, max_tokens=most, grammar=grammar, **parameters)
        assert response["usage"]["completion_tokens"] == most
        assert response["choices"][0]["finish_reason"] == "length"
        assert whole.startswith(response["choices"][0]["text"])


@pytest.mark.parametrize("stop", ["harbour", "of the", "counted the boats", "s and f", " The"])
def test_stop_inside(llm: Llama, stop: str) -> None:
    response = ask(llm, stop=[stop])
    assert response["choices"][0]["text"] == f" {SENTENCE}".split(stop)[0]
    assert response["choices"][0]["finish_reason"] == "stop"


def test_streams(llm: Llama) -> None:
    chunks = list(ask(llm, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == ask(llm)["choices"][0]["text"]
    assert len(chunks) > 12


def test_beside_others_and_what_comes_after(llm: Llama) -> None:
    """Nothing of an answer's tokens that were not read yet is left to the next request of its slot."""
    expected = ask(llm)["choices"][0]["text"]
    plain = llm.create_completion(PROMPT, max_tokens=8, temperature=0)["choices"][0]["text"]
    for number in range(6):
        streams = [ask(llm, stream=True) for _ in range(3)]
        for _ in range(number):
            next(streams[0])
        streams[0].close()
        texts = ["".join(chunk["choices"][0]["text"] for chunk in stream) for stream in streams[1:]]
        assert texts == [expected] * 2
        ask(llm, stop=["harbour"])
        again = llm.create_completion(PROMPT, max_tokens=8, temperature=0)
        assert again["choices"][0]["text"] == plain


def test_an_answer_that_fills_the_context(smollm2_path: Path) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as small:
        grammar = LlamaGrammar.from_string(f'root ::= " {SENTENCE} nothing." root')
        fast, slow = (ask(small, grammar=grammar, max_tokens=None, logprobs=n) for n in (None, 1))
        assert fast["choices"][0]["finish_reason"] == slow["choices"][0]["finish_reason"] == "length"
        assert fast["choices"][0]["text"] == slow["choices"][0]["text"]
        assert fast["usage"]["total_tokens"] == slow["usage"]["total_tokens"] <= small.n_ctx()
