"""Many requests with random common beginnings, some of them cancelled: no text crosses, nothing is left."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from running import wait_until_idle

from llamacpp_core import EngineClosedError, Llama

#: More than the default takes minutes: STORM_REQUESTS=2000.
pytestmark = pytest.mark.changes("prefix")

REQUESTS = int(os.environ.get("STORM_REQUESTS", "60"))
THREADS = 8
TRUNK = "The ledger lists every boat, every barrel and every rope of the harbour, with its code. "


def prompt(chosen: random.Random, code: str) -> str:
    """One of a few beginnings, cut at one of a few lengths; then something that only this request has."""
    trunk = f"Book {chosen.randrange(3)}. " + TRUNK * chosen.choice((2, 5, 9))
    return f"{trunk}\nThe code is {code}. The code again: {code}. The code again: {code}. The code again:"


def storm(llm: Llama, n: int, check: Callable[[str, str], None]) -> None:
    numbers, lock = iter(range(n)), threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None or failures:
                return
            chosen = random.Random(number)
            code = str(1000 + 7919 * number % 9000)
            stream = llm.create_completion(prompt(chosen, code), max_tokens=8, temperature=0, stream=True)
            leave_after = chosen.choice((0, 1, 3, 99, 99, 99))
            try:
                pieces = [
                    chunk["choices"][0]["text"] for _, chunk in zip(range(leave_after), stream, strict=False)
                ]
                stream.close()
                if leave_after == 99:
                    check(code, "".join(pieces))
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"kv_unified": True, "n_ctx": 2048}, {"cache_ram_mib": 40}, {"speculative": "auto"}],
    ids=str,
)
def test_no_text_crosses(smollm2_path: Path, tmp_path: Path, options: dict[str, object]) -> None:
    def check(code: str, text: str) -> None:
        assert code in text, f"asked for {code}, got {text!r}"

    n = REQUESTS if not options else REQUESTS // 3
    settings = {"n_ctx": 512, "n_parallel": 4, "n_batch": 128, "prompt_cache_dir": tmp_path} | options
    with Llama(smollm2_path, **settings) as llm:
        storm(llm, n, check)
        wait_until_idle(llm)
        assert llm._engine.n_active == 0


def test_closing_in_the_middle(smollm2_path: Path) -> None:
    for _ in range(2):
        llm = Llama(smollm2_path, n_ctx=512, n_parallel=4, n_batch=128)
        timer = threading.Timer(1.0, llm.close)
        timer.start()
        with pytest.raises(EngineClosedError):
            storm(llm, 10_000, lambda code, text: None)
        timer.join()
