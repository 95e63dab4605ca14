"""speculative="auto": several tokens in one step, and the same answers."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arithmetic import TO_THE_BIT

from llamacpp_core import InvalidParameterError, Llama, LlamaPromptLookupDecoding

pytestmark = [pytest.mark.changes("prefix"), pytest.mark.changes("products")]

NOTE = (
    "The bridge of Corwick was built late in 1837, out of stony blocks that came down the river. Rosa Quill "
    "drew the plans and stayed for 7 winters to watch over the masons. A toll of 4 pence was asked from all."
)
QUOTE: list[Any] = [{"role": "user", "content": f"Repeat this note word by word: {NOTE}"}]
STORY: list[Any] = [{"role": "user", "content": "Tell a long story about a lighthouse."}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "place": {"type": "string", "maxLength": 20},
        "year": {"type": "integer"},
        "plans_drawn_by": {"type": "string", "maxLength": 20},
    },
    "required": ["place", "year", "plans_drawn_by"],
}


def same(answer: Any, expected: Any) -> bool:
    """Whether two answers to one request are the same, as far as this CPU's arithmetic lets them be.

    Where it rounds differently, one of the many choices of a long answer may be another: only its beginning
    is compared.
    """
    if TO_THE_BIT:
        return bool(answer["choices"] == expected["choices"])
    texts = [got["choices"][0]["message"]["content"][:20] for got in (answer, expected)]
    return bool(texts[0] == texts[1])


@pytest.fixture(scope="module")
def plain(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=1024, n_parallel=4) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def auto(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=1024, n_parallel=4, speculative="auto") as loaded:
        yield loaded


def test_an_answer_that_quotes_is_drafted(plain: Llama, auto: Llama) -> None:
    options: dict[str, Any] = {"max_tokens": 80, "temperature": 0}
    answer = auto.create_chat_completion(QUOTE, **options)
    assert answer["timings"]["draft_n_accepted"] > 20
    expected = plain.create_chat_completion(QUOTE, **options)
    assert same(answer, expected)


@pytest.mark.parametrize("messages", [QUOTE, STORY])
@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.5])
def test_answers_are_the_same(plain: Llama, auto: Llama, messages: list[Any], temperature: float) -> None:
    options: dict[str, Any] = {"max_tokens": 100, "temperature": temperature, "seed": 5, "ignore_eos": True}
    answer = auto.create_chat_completion(messages, **options)
    assert same(answer, plain.create_chat_completion(messages, **options))


def test_answers_together_are_those_alone(auto: Llama) -> None:
    words = NOTE.split()
    notes = [" ".join(random.Random(number).sample(words, 25)) for number in range(8)]
    prompts = [f"{note}\n\nThe same again:\n\n{note[:40]}" for note in notes]

    def ask(prompt: str) -> str:
        return str(auto.create_completion(prompt, max_tokens=40, temperature=0)["choices"][0]["text"])

    alone = [ask(prompt) for prompt in prompts]
    together: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=n: together.update({n: ask(prompts[n])}))
        for n in range(len(prompts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[n][:20] for n in range(len(prompts))] == [answer[:20] for answer in alone]


def test_schemas_hold(plain: Llama, auto: Llama) -> None:
    messages: list[Any] = [{"role": "user", "content": f"{NOTE}\n\nAnswer in JSON."}]
    options: dict[str, Any] = {
        "max_tokens": 100,
        "temperature": 0,
        "response_format": {"type": "json_object", "schema": SCHEMA},
    }
    answer = auto.create_chat_completion(messages, **options)
    assert set(json.loads(answer["choices"][0]["message"]["content"])) == set(SCHEMA["required"])
    assert same(answer, plain.create_chat_completion(messages, **options))


def test_probabilities_are_all_there(auto: Llama) -> None:
    answer = auto.create_chat_completion(QUOTE, max_tokens=60, temperature=0, logprobs=True, top_logprobs=2)
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert len(tokens) >= answer["usage"]["completion_tokens"] - 1
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


def test_a_streamed_answer_is_stopped_in_a_draft(auto: Llama) -> None:
    chunks = list(
        auto.create_chat_completion(QUOTE, max_tokens=80, temperature=0, stop=["winters"], stream=True)
    )
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text.endswith("stayed for 7 ")
    assert (
        auto.create_chat_completion(QUOTE, max_tokens=80, temperature=0)["timings"]["draft_n_accepted"] > 20
    )


def test_long_drafts_fit_into_a_step(smollm2_path: Path) -> None:
    chosen = random.Random(1)
    numbers = " ".join(str(chosen.randrange(1000)) for _ in range(200))
    with Llama(
        smollm2_path, n_ctx=2048, n_parallel=4, n_batch=64, draft_model=LlamaPromptLookupDecoding(2, 200)
    ) as llm:
        answer = llm.create_completion(f"{numbers}\n{numbers[:200]}", max_tokens=100, temperature=0)
    assert answer["timings"]["draft_n"] > 0
    assert answer["usage"]["completion_tokens"] == 100


def test_two_ways_of_drafting_are_refused(smollm2_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="speculative"):
        Llama(smollm2_path, speculative="auto", draft_model=LlamaPromptLookupDecoding())
    with pytest.raises(InvalidParameterError, match="speculative"):
        Llama(smollm2_path, speculative="auto", server_options={"model_draft": str(smollm2_path)})
    with pytest.raises(InvalidParameterError, match="speculative"):
        Llama(smollm2_path, speculative="always")
