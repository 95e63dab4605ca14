"""Requests for several answers wait for as many slots. Others may go past them, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import wait_until_idle

from llamacpp_core import Llama

pytestmark = pytest.mark.changes("prefix")

SLOTS = 2
#: So many younger requests may begin before one that waits for several slots.
MOST_OVERTAKES = 2 * SLOTS


@pytest.fixture(scope="module")
def two(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, n_ctx=2048, n_parallel=SLOTS) as loaded:
        yield loaded


@pytest.fixture(autouse=True)
def _at_rest(two: Llama) -> Iterator[None]:
    yield
    wait_until_idle(two)


def start(llm: Llama, tokens: int, **fields: Any) -> Any:
    """A request that is in the engine when this returns, and has exactly so many tokens."""
    never = {llm.token_eos(): False}
    return llm.create_completion("Once", max_tokens=tokens, logit_bias=never, stream=True, **fields)


def start_endless(llm: Llama) -> Any:
    """A request that runs until it is closed."""
    stream = start(llm, 1900)
    next(stream)
    return stream


def test_an_idle_slot_is_used_while_several_answers_wait(two: Llama) -> None:
    endless, short = start_endless(two), start(two, 16)
    several, behind = start(two, 1, n=2), start(two, 1)
    list(short)
    list(behind)
    assert two.n_active == 2  # the endless one, and the one that waits
    endless.close()
    assert len({chunk["choices"][0]["index"] for chunk in several}) == 2


def test_several_answers_are_not_overtaken_for_ever(two: Llama) -> None:
    ahead = [start(two, 8), start(two, 8)]
    several = start(two, 1, n=2)
    for _ in range(MOST_OVERTAKES + 4):
        ahead.append(start(two, 8))
        list(ahead.pop(0))
    assert two.n_active <= 2  # without the one for several answers, which has come to its turn
    assert len({chunk["choices"][0]["index"] for chunk in several}) == 2
    for stream in ahead:
        list(stream)


def overtake(llm: Llama) -> None:
    """Lets as many requests go past as may, one after another."""
    for _ in range(MOST_OVERTAKES):
        list(start(llm, 1))


def test_slots_that_were_kept_are_free_when_nobody_waits(two: Llama) -> None:
    endless = start_endless(two)
    several = start(two, 1, n=2)
    overtake(two)
    kept_out = [start(two, 1), start(two, 1)]
    several.close()
    for stream in kept_out:
        list(stream)
    assert two.n_active == 1
    endless.close()


def test_requests_behind_kept_slots_run_after_them(two: Llama) -> None:
    endless = start_endless(two)
    several, others = start(two, 4, n=2), start(two, 4, n=2)
    overtake(two)
    kept_out = [start(two, 1) for _ in range(3)]
    time.sleep(0.05)
    assert two.n_active == 6
    endless.close()
    for stream in (several, others, *kept_out):
        assert list(stream)


def test_cancelled_ones_take_no_slot(two: Llama) -> None:
    """Closed from another thread, wherever they are on their way to a slot."""
    streams: list[Any] = []
    endless = start_endless(two)
    for i in range(60):
        streams.append(start(two, 1900, n=1 + i % 2))

    def close(some: list[Any]) -> None:
        for stream in some:
            stream.close()

    closing = [threading.Thread(target=close, args=(streams[i::3],)) for i in range(3)]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    list(start(two, 1))
    endless.close()
    assert len(list(start(two, 1, n=2))) >= 2
