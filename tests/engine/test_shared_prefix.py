"""A beginning that prompts have in common is read once, whichever request and slot read it.

Where a request runs alone, beginnings are cut at multiples of 64 tokens; of its own cache a slot also uses
what is left over, where that was read as it would be again. Beside others they are cut where prompts part.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import wait_until_idle

from llamacpp_core import Llama

pytestmark = pytest.mark.changes("prefix")

SLOTS = 4
SENTENCES = (
    "The harbour of Elmere is closed in winter.",
    "Every barrel of salt is weighed twice before it leaves.",
    "A narrow road leads past the mill to the northern gate.",
    "Children learn to swim in the quiet water below the weir.",
    "The clock on the tower has been slow for eleven years.",
    "Letters for the island are carried over on Tuesdays.",
)
QUESTION = "\n\nQuestion: how many {what} are there?\nAnswer:"
Numbers = Iterator[int]


def beginning(llm: Llama, n_tokens: int, seed: int) -> list[int]:
    """Exactly so many tokens of text that no other seed begins with."""
    chosen = random.Random(seed)
    text = f"Report {seed}. " + " ".join(chosen.choice(SENTENCES) for _ in range(n_tokens))
    return llm.tokenize(text.encode())[:n_tokens]


def question(llm: Llama, what: str) -> list[int]:
    return llm.tokenize(QUESTION.format(what=what).encode(), add_bos=False)


def in_common(prompts: list[list[int]]) -> int:
    """How many tokens all of them begin with."""
    return sum(
        1 for _ in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False))
    )


def start(llm: Llama, prompt: list[int], **parameters: Any) -> Iterator[Any]:
    """A request that is in the engine when this returns."""
    fields = {"max_tokens": 4, "temperature": 0, "stream_options": {"include_usage": True}}
    return llm.create_completion(prompt, stream=True, **{**fields, **parameters})


def finish(stream: Iterator[Any]) -> tuple[str, int]:
    """The text, and how many tokens of the prompt somebody had read before."""
    text, cached = "", -1
    for chunk in stream:
        text += "".join(choice["text"] for choice in chunk["choices"])
        if chunk.get("usage"):
            cached = chunk["usage"]["prompt_tokens_details"]["cached_tokens"]
    return text, cached


@pytest.fixture(scope="module")
def many(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=1024, n_parallel=SLOTS, n_batch=128) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    return iter(range(10_000))


def test_requests_that_arrive_together_share(many: Llama, numbers: Numbers) -> None:
    shared = beginning(many, 300, next(numbers))
    prompts = [shared + question(many, what) for what in ("boats", "mills", "roads", "clocks")]
    got = [finish(stream) for stream in [start(many, prompt) for prompt in prompts]]
    assert sorted(cached for _, cached in got)[1:] == [in_common(prompts)] * 3
    assert all(text for text, _ in got)


def test_more_requests_than_slots(many: Llama, numbers: Numbers) -> None:
    shared = beginning(many, 200, next(numbers))
    prompts = [shared + question(many, f"{i} things") for i in range(3 * SLOTS)]
    cached = [finish(stream)[1] for stream in [start(many, prompt) for prompt in prompts]]
    assert sorted(cached)[1] >= 200


def test_a_tree_of_beginnings(many: Llama, numbers: Numbers) -> None:
    trunk = beginning(many, 200, next(numbers))
    branches = [trunk + beginning(many, 150, next(numbers)) for _ in range(2)]
    prompts = [branch + question(many, what) for branch in branches for what in ("boats", "mills")]
    cached = sorted(finish(stream)[1] for stream in [start(many, prompt) for prompt in prompts])
    assert cached == [0, in_common(prompts), in_common(prompts[:2]), in_common(prompts[2:])]


@pytest.mark.parametrize(("n_common", "is_shared"), [(64, True), (40, False)])
def test_how_little_is_shared(many: Llama, numbers: Numbers, n_common: int, is_shared: bool) -> None:
    shared = beginning(many, n_common, next(numbers))
    prompts = [
        [*shared, number + 1, *beginning(many, 100, number)[4:]]
        for number in itertools.islice(numbers, SLOTS)
    ]
    cached = sorted(finish(stream)[1] for stream in [start(many, prompt) for prompt in prompts])
    assert cached == ([0] + [64] * (SLOTS - 1) if is_shared else [0] * SLOTS)


def test_joining_one_that_is_still_reading(many: Llama, numbers: Numbers) -> None:
    shared = beginning(many, 600, next(numbers))
    first = start(many, [*shared, *question(many, "boats")], return_progress=True)
    next(first)
    second = start(many, shared + question(many, "mills"))
    assert finish(second)[1] >= 600
    finish(first)


def test_what_a_busy_slot_holds_is_copied(many: Llama, numbers: Numbers) -> None:
    shared = beginning(many, 300, next(numbers))
    busy = start(many, shared + question(many, "boats"), max_tokens=300, ignore_eos=True)
    next(busy)
    got = [finish(start(many, shared + question(many, what)))[1] for what in ("mills", "roads")]
    assert min(got) >= 300
    busy.close()  # type: ignore[attr-defined]


def test_a_long_conversation_is_not_overwritten_by_a_short_one(many: Llama, numbers: Numbers) -> None:
    system, conversation = beginning(many, 100, next(numbers)), beginning(many, 700, next(numbers))
    finish(start(many, system + conversation))
    assert finish(start(many, system + question(many, "boats")))[1] == 64
    assert finish(start(many, [*system, *conversation, *question(many, "mills")]))[1] >= 768


@pytest.mark.parametrize("n_read", [0, 1])
def test_nobody_waits_for_one_that_was_cancelled(many: Llama, numbers: Numbers, n_read: int) -> None:
    shared = beginning(many, 600, next(numbers))
    first = start(many, shared + question(many, "boats"), return_progress=True)
    for _ in range(n_read):
        next(first)
    others = [start(many, shared + question(many, what)) for what in ("mills", "roads")]
    first.close()  # type: ignore[attr-defined]
    got = [finish(stream) for stream in others]
    assert all(text for text, _ in got)
    assert max(cached for _, cached in got) >= 600
    wait_until_idle(many)


def test_several_answers_to_a_shared_prompt(many: Llama, numbers: Numbers) -> None:
    prompt = beginning(many, 300, next(numbers))
    one = start(many, prompt + question(many, "boats"), return_progress=True)
    next(one)  # of two that begin in the same step, either may be the one that reads
    response = many.create_completion(prompt + question(many, "mills"), n=2, max_tokens=4, temperature=0)
    texts = {choice["text"] for choice in response["choices"]}
    assert len(texts) == 1
    assert response["usage"]["prompt_tokens_details"]["cached_tokens"] >= 256
    finish(one)


def test_no_reuse_when_asked_not_to(many: Llama, numbers: Numbers) -> None:
    prompt = beginning(many, 200, next(numbers))
    streams = [start(many, prompt, cache_prompt=False) for _ in range(SLOTS)]
    assert [finish(stream)[1] for stream in streams] == [0] * SLOTS


@pytest.mark.parametrize(
    "options", [{"kv_unified": True}, {"flash_attn": False}, {"type_k": "q8_0"}], ids=str
)
def test_the_copy_is_the_same_cache(smollm2_path: Path, options: dict[str, Any]) -> None:
    """What follows a copied beginning is what follows one that was read by the slot itself."""
    with Llama(smollm2_path, n_ctx=512, n_parallel=2, **options) as llm:
        shared = beginning(llm, 200, 1)
        prompt = shared + question(llm, "boats")
        finish(start(llm, shared + question(llm, "mills")))
        expected = finish(start(llm, prompt, max_tokens=8))
        busy = start(llm, shared + question(llm, "roads"), max_tokens=250, ignore_eos=True)
        next(busy)
        text, cached = finish(start(llm, prompt, max_tokens=8))
        assert cached >= 200
        assert text == expected[0]
        busy.close()  # type: ignore[attr-defined]
