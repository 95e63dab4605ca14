"""One request at a time: an answer is the same to the last bit, whether its beginning was shared or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from arithmetic import TO_THE_BIT

from llamacpp_core import Llama

N_PROMPTS = 50
WORDS = b"the sea and sky met in a line of light as gulls cried over boats that came home"

pytestmark = [pytest.mark.changes("prefix"), pytest.mark.changes("products")]

Answer = tuple[str, list[float]]


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=1024, n_parallel=2) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def forgetful(smollm2_path: Path) -> Iterator[Llama]:
    """An engine of its own for requests without a cache, which leave nothing of what their slot held."""
    with Llama(smollm2_path, n_ctx=1024, n_parallel=1) as loaded:
        yield loaded


def tokens(llm: Llama, chosen: random.Random, n: int) -> list[int]:
    words = WORDS.split()
    return llm.tokenize(b" ".join(chosen.choice(words) for _ in range(n + 20)))[:n]


def answer(llm: Llama, prompt: list[int], cache_prompt: bool = True) -> tuple[Answer, int]:
    """The answer, and how many tokens of its prompt were not read again."""
    response = llm.create_completion(
        prompt, max_tokens=12, temperature=0, logprobs=1, cache_prompt=cache_prompt
    )
    choice = response["choices"][0]
    logprobs = list(choice["logprobs"]["token_logprobs"]) if TO_THE_BIT else []
    return (choice["text"], logprobs), response["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_answers_to_prompts_that_begin_like_others(llm: Llama, forgetful: Llama) -> None:
    chosen = random.Random(5)
    before, shared = [tokens(llm, chosen, 300)], 0
    for number in range(N_PROMPTS):
        beginning = chosen.choice(before[-2:])
        prompt = beginning[: chosen.randrange(len(beginning))] + tokens(
            llm, chosen, chosen.randrange(64, 200)
        )
        before.append(prompt[:700])
        got, cached = answer(llm, before[-1])
        shared += cached
        assert got == answer(forgetful, before[-1], cache_prompt=False)[0], number
    assert shared > 48 * N_PROMPTS


@pytest.mark.parametrize("n_more", [1, 3, 8, 17, 40])
def test_answers_to_prompts_that_go_on_for_a_little(llm: Llama, forgetful: Llama, n_more: int) -> None:
    chosen = random.Random(n_more)
    prompt, shared = tokens(llm, chosen, 300), 0
    answer(llm, prompt)
    for number in range(8):
        prompt = prompt[: len(prompt) - chosen.randrange(40)] + tokens(llm, chosen, n_more + 3)[3:]
        got, cached = answer(llm, prompt)
        shared += cached
        assert got == answer(forgetful, prompt, cache_prompt=False)[0], number
    assert shared >= 8 * 192
