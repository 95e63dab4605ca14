"""The warning when generation becomes many times slower than it was."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llamacpp_core import Llama
from llamacpp_core.request import speed
from llamacpp_core.request.speed import SpeedWatch


def timings(per_second: float, n: int = 20, before: int = 100) -> dict[str, Any]:
    return {"predicted_per_second": per_second, "predicted_n": n, "prompt_n": before, "cache_n": 0}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "tokens a second" in record.getMessage()]


def run(watch: SpeedWatch, *found: dict[str, Any] | None) -> None:
    for one in found:
        watch.end(watch.begin(), one)


def test_a_collapse_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = SpeedWatch(4, lambda: 0)
    run(watch, timings(90), timings(40), timings(100))
    assert not warnings_of(caplog)
    run(watch, timings(12))
    (text,) = warnings_of(caplog)
    assert "from 100 to 12.0 tokens a second with n_threads=4" in text
    run(watch, timings(12))
    assert len(warnings_of(caplog)) == 1


def test_again_after_some_time(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = SpeedWatch(1, lambda: 0)
    run(watch, timings(100), timings(1))
    monkeypatch.setattr(speed, "_QUIET", 0.0)
    run(watch, timings(1))
    assert len(warnings_of(caplog)) == 2


@pytest.mark.parametrize(
    "slow",
    [timings(1, n=15), timings(1, before=10_000), None, {}],
    ids=["few tokens", "much text before", "not ended", "no timings"],
)
def test_what_tells_nothing(caplog: pytest.LogCaptureFixture, slow: dict[str, Any] | None) -> None:
    watch = SpeedWatch(4, lambda: 0)
    run(watch, timings(100), slow)
    assert not warnings_of(caplog)


def test_requests_beside_others_tell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watch = SpeedWatch(4, lambda: 0)
    run(watch, timings(100))
    first, second = watch.begin(), watch.begin()
    watch.end(first, timings(1))
    watch.end(second, timings(1))
    assert not warnings_of(caplog)
    active = [2]
    shared = SpeedWatch(4, lambda: active[0])
    run(shared, timings(100), timings(1))
    assert not warnings_of(caplog)


def test_a_request_that_was_lost_is_not_counted(caplog: pytest.LogCaptureFixture) -> None:
    watch = SpeedWatch(4, lambda: 0)
    run(watch, timings(100))
    lost = watch.begin()  # as where Ctrl-C ends its thread before end()
    del lost
    run(watch, timings(1))
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_model_is_watched(llm: Llama, caplog: pytest.LogCaptureFixture, streamed: bool) -> None:
    llm._speed._best.clear()
    llm._speed._warned = -1e9
    llm._speed._best.update(dict.fromkeys(range(20), 1e6))
    with caplog.at_level(logging.WARNING, "llamacpp_core.llama"):
        answer: Any = llm.create_completion("Once", max_tokens=20, ignore_eos=True, stream=streamed)
        if streamed:
            list(answer)
    llm._speed._best.clear()
    assert len(warnings_of(caplog)) == 1
