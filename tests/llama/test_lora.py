"""LoRA adapters: loaded at start, switched per request, in the engine and beside it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, UnsupportedCapabilityError

CAPITAL = "The capital of France is"
GREEDY: dict[str, Any] = {"max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def adapted(smollm2_path: Path, adapters: list[Path]) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=256, n_parallel=2, lora=[adapters[0], (adapters[1], 0.0)]) as loaded:
        yield loaded


def text(llm: Llama, **parameters: Any) -> str:
    return llm(CAPITAL, **{**GREEDY, **parameters})["choices"][0]["text"]


def test_an_adapter_changes_the_answer_and_its_scale_counts(adapted: Llama, llm: Llama) -> None:
    plain = text(llm)
    assert [scale for _, scale in adapted.info.lora] == [1.0, 0.0]
    assert text(adapted) != plain
    assert text(adapted, lora={0: 0.0}) == plain
    assert text(adapted, lora={}) == plain


def test_adapters_are_switched_per_request(adapted: Llama) -> None:
    scales: list[dict[int, float]] = [{0: 1.0}, {1: 1.0}, {0: 0.0}, {0: 1.0, 1: 1.0}]
    first = [text(adapted, lora=scale) for scale in scales]
    assert len(set(first)) == len(scales)
    assert [text(adapted, lora=scale) for scale in reversed(scales)] == first[::-1]
    chat = [{"role": "user", "content": "Hi!"}]
    answers = [
        adapted.create_chat_completion(chat, lora=scale, **GREEDY)["choices"][0]["message"]["content"]
        for scale in (scales[0], scales[2])
    ]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("scale", [{0: 1.0}, {1: 0.5}, {0: 0.0}], ids=str)
def test_python_in_the_loop_uses_the_same_adapters(adapted: Llama, scale: dict[int, float]) -> None:
    assert text(adapted, lora=scale, logits_processor=lambda ids, scores: scores) == text(adapted, lora=scale)


def test_lora_path_and_lora_scale(
    smollm2_path: Path, adapters: list[Path], adapted: Llama, llm: Llama
) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, lora_path=str(adapters[1]), lora_scale=1.0) as one:
        assert one.info.lora == ((str(adapters[1]), 1.0),)
        assert text(one) == text(adapted, lora={1: 1.0}) != text(llm)


def test_states_and_adapters_do_not_mix(adapted: Llama) -> None:
    text(adapted)
    with pytest.raises(UnsupportedCapabilityError, match="LoRA"):
        adapted.save_state()


def test_eval_uses_the_adapters(adapted: Llama) -> None:
    tokens = list(islice(adapted.generate(adapted.tokenize(CAPITAL.encode()), temp=0.0), 8))
    assert adapted.detokenize(tokens).decode() == text(adapted)


def test_adapters_that_are_not_there(adapted: Llama, llm: Llama) -> None:
    with pytest.raises(InvalidParameterError, match="2 adapter"):
        text(adapted, lora={2: 1.0})
    with pytest.raises(InvalidParameterError, match="0 adapter"):
        text(llm, lora={0: 1.0})


def test_names_of_adapters(adapted: Llama) -> None:
    assert text(adapted, lora={"adapter0": 0.0, "adapter1": 1.0}) == text(adapted, lora={0: 0.0, 1: 1.0})
    assert text(adapted, lora={"0": 0.0, "1": 1.0}) == text(adapted, lora={0: 0.0, 1: 1.0})
    message = {"role": "user", "content": "Hi"}
    # read anew by both: products with an adapter's weights round differently for one token and for many
    whole = {**GREEDY, "cache_prompt": False}
    named, numbered = (
        adapted.create_chat_completion([message], lora=lora, **whole)["choices"][0]["message"]
        for lora in ({"adapter1": 2.0}, {1: 2.0})
    )
    assert named == numbered


@pytest.mark.parametrize(
    ("lora", "part"),
    [
        ({"adapter2": 1.0}, "did you mean"),
        ({"adapter0": 1.0, 0: 1.0}, "twice"),
        ({"2": 1.0}, "2 adapter"),
        ({"adapter0": "much"}, "lora"),
    ],
)
def test_names_that_cannot_work(adapted: Llama, lora: Any, part: str) -> None:
    with pytest.raises(InvalidParameterError, match=part) as raised:
        text(adapted, lora=lora)
    assert str(raised.value.parameter).startswith(("lora", "adapter2"))
