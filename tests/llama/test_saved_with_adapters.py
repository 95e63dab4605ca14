"""What is saved of a conversation while requests with LoRA adapters wait for its slot, or take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import EngineError, Llama
from tests.llama.test_lora import CAPITAL, GREEDY

pytestmark = pytest.mark.changes("prefix")

LONG = "A list of the things that one needs for a long walk in the hills, written down with care: " * 6
OTHERS = [
    "Bread is made of flour and water, and of salt. " * 4,
    "The sea was calm and the sky was grey. " * 4,
]
PLAIN = "The names of the months are, in their order: " + CAPITAL


def cached(response: Any) -> int:
    return int(response["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("lora", [{"lora": "adapter0"}, {}], ids=["an adapter", "none"])
def test_a_request_that_waits_for_a_second_slot(
    smollm2_path: Path, adapters: list[Path], lora: dict[str, Any]
) -> None:
    """It does not put its prompt into the idle one; when it has run there, nothing is left to save."""
    options: dict[str, Any] = {"n_ctx": 512, "n_parallel": 2}
    with Llama(smollm2_path, cache_ram_mib=64, **options) as llm:
        llm.load_lora(adapters[0])
        llm(LONG, **lora, **GREEDY)
        for prompt in OTHERS:  # no slot has the long prompt any more, and memory has
            llm(prompt, **GREEDY)
        running = llm("Once upon a time", stream=True, max_tokens=400, ignore_eos=True)
        next(running)
        waiting = llm(LONG, stream=True, n=2, **lora, **GREEDY)
        answer = llm(PLAIN, **GREEDY)
        state = llm.save_state()
        assert llm.n_active == 2, "the request with two answers must not have begun by then"
        running.close()
        list(waiting)
        with pytest.raises(EngineError, match="later request"):
            llm.save_state()
    with Llama(smollm2_path, **options) as fresh:
        fresh.load_state(state)
        again = fresh(PLAIN, **GREEDY)
        assert again["choices"][0]["text"] == answer["choices"][0]["text"]
        assert cached(again) == again["usage"]["prompt_tokens"] - 1
        assert cached(fresh(LONG, **GREEDY)) == 0
