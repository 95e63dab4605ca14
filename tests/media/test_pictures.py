"""Pictures in a conversation: how many tokens, in which order, and what is computed again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from media_files import picture, png

from llamacpp_core import Llama, ModelLoadError

pytestmark = pytest.mark.changes("media")  # as published, no prompt is cut between two pictures

A, B = picture(png(100, 60)), picture(png(100, 60, 99))


def said(llm: Llama, *parts: Any, **options: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    options = {"max_tokens": 4, "temperature": 0} | options
    answer: dict[str, Any] = llm.create_chat_completion([{"role": "user", "content": content}], **options)
    return answer


def n_tokens(llm: Llama, *parts: Any) -> int:
    return int(said(llm, *parts, max_tokens=1)["usage"]["prompt_tokens"])


@pytest.mark.parametrize(
    ("kind", "size", "expected", "around"),
    [
        ("mlp", (100, 60), 16, ""),  # 56 by 56 pixels in patches of 14
        ("mlp", (1, 3000), 16, ""),
        ("gemma3", (100, 60), 4, "<start_of_image> <end_of_image>"),  # each two by two patches are one
        ("tiles", (30, 30), 16, ""),
        ("tiles", (112, 112), 5 * 16, ""),  # the whole, and four tiles
        ("pixtral", (84, 56), 4 * 6 + 3, "[IMG_END]"),  # a token between the rows
    ],
)
def test_tokens_of_a_picture(
    smollm2_path: Path,
    projector: Callable[[str], Path],
    kind: str,
    size: tuple[int, int],
    expected: int,
    around: str,
) -> None:
    """The texts around a picture are no tokens of this model's vocabulary."""
    shown = picture(png(*size))
    with Llama(smollm2_path, n_ctx=1024, n_parallel=1, mmproj=projector(kind)) as llm:
        counts = [n_tokens(llm, *[shown] * n, "What?") for n in (1, 2, 3)]
        expected += sum(len(llm.tokenize(text.encode(), add_bos=False)) for text in around.split())
        assert llm.info.capabilities.image
        assert not llm.info.capabilities.audio
    assert [after - before for before, after in pairwise(counts)] == [expected] * 2


def test_a_picture_adds_its_tokens_to_the_text(seeing: Llama) -> None:
    assert n_tokens(seeing, "Look.\n", A) == n_tokens(seeing, "Look.\n") + 16


def chances(llm: Llama, *parts: Any) -> list[float]:
    answer = said(llm, *parts, logprobs=True, top_logprobs=5, max_tokens=2)
    return [
        top["logprob"]
        for token in answer["choices"][0]["logprobs"]["content"]
        for top in token["top_logprobs"]
    ]


def test_order_matters_and_is_kept(seeing: Llama) -> None:
    orders = [(A, B, "Which?"), (B, A, "Which?"), (A, "Which?", B), ("Which?", A, B)]
    found = [chances(seeing, *parts) for parts in orders]
    assert len({tuple(numbers) for numbers in found}) == len(orders)
    assert chances(seeing, *orders[0]) == pytest.approx(found[0], abs=0.2)


def test_pictures_over_several_turns(seeing: Llama) -> None:
    first = {"role": "user", "content": [picture(png(30, 40)), {"type": "text", "text": "One."}]}
    later = [
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "text", "text": "Two."}, B]},
    ]

    def usage(messages: list[Any]) -> tuple[int, int]:
        used = seeing.create_chat_completion(messages, max_tokens=1, temperature=0)["usage"]
        return used["prompt_tokens"], used["prompt_tokens_details"]["cached_tokens"]

    one, _ = usage([first])
    both, cached = usage([first, *later])
    assert both > one + 16
    assert cached >= one - 5  # all but how the answer begins
    assert usage([first, *later]) == (both, both - 1)
    other = {**first, "content": [picture(png(40, 30)), first["content"][1]]}
    assert usage([other, *later])[1] < 32  # what comes after another picture is read again


def test_shaped_answers(seeing: Llama) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = {"type": "function", "function": {"name": "count", "parameters": schema}}
    called = said(seeing, A, "Count.", tools=[tool], tool_choice="required", max_tokens=60)["choices"][0]
    assert called["finish_reason"] == "tool_calls"
    assert called["message"]["tool_calls"][0]["function"]["name"] == "count"
    named = said(seeing, A, "Yes or no?", grammar='root ::= "yes" | "no"', max_tokens=9)["choices"][0]
    assert named["message"]["content"] in ("yes", "no")
    assert said(seeing, A, "Hi", n=3, max_tokens=2)["choices"][2]["index"] == 2


def test_states_go_on(seeing: Llama) -> None:
    before = said(seeing, A, "Say it.", max_tokens=6)["choices"][0]["message"]
    state = seeing.save_state()
    said(seeing, B, "Another one.")
    seeing.load_state(state)
    assert said(seeing, A, "Say it.", max_tokens=6)["choices"][0]["message"] == before


def test_a_projector_of_another_model(smollm2_path: Path, projector: Callable[[str], Path]) -> None:
    with pytest.raises(ModelLoadError, match=r"n_embd = 576.*n_embd = 512"):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, mmproj=projector("narrow"))
