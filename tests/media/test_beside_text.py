"""Pictures beside texts in one batch, and requests that are given up while a picture is read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from media_files import picture, png

from llamacpp_core import EngineClosedError, Llama

pytestmark = pytest.mark.changes("prefix")  # as published, a request that waits loses its pictures

CODES = [f"code-{7919 * n % 9973}" for n in range(12)]


def ask(llm: Llama, n: int, *parts: Any) -> str:
    answer = llm.create_chat_completion(
        [{"role": "user", "content": [*parts, {"type": "text", "text": f"Say code {n}."}]}],
        grammar=f'root ::= "{CODES[n]}"',
        max_tokens=20,
    )
    return str(answer["choices"][0]["message"]["content"])


def test_everybody_gets_the_own_answer(seeing: Llama) -> None:
    shown = [picture(png(80, 80, n)) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: ask(seeing, n, *shown[: n % 3]), range(12)))
    assert answers == CODES


def test_texts_are_answered_as_without_pictures(seeing: Llama) -> None:
    def text(n: int) -> str:
        messages = [{"role": "user", "content": f"Name {n} colours."}]
        answer = seeing.create_chat_completion(messages, max_tokens=12, temperature=0, deterministic=True)
        return str(answer["choices"][0]["message"]["content"])

    alone = [text(n) for n in range(4)]
    with ThreadPoolExecutor(8) as pool:
        beside = [pool.submit(ask, seeing, n, picture(png(90, 90, n))) for n in range(4)]
        together = list(pool.map(text, range(4)))
    assert together == alone
    assert [future.result() for future in beside] == CODES[:4]


@pytest.mark.parametrize("delay", [0, 0.02, 0.1, 0.4])
async def test_a_cancelled_request_frees_its_slot(
    smollm2_path: Path, projector: Callable[[str], Path], delay: float
) -> None:
    shown = [picture(png(100, 100, n)) for n in range(20)]
    with Llama(smollm2_path, n_ctx=4096, n_parallel=1, mmproj=projector("tiles")) as llm:
        task = asyncio.ensure_future(
            llm.acreate_chat_completion([{"role": "user", "content": shown}], max_tokens=3)
        )
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer = await llm.acreate_chat_completion([{"role": "user", "content": "Hi"}], max_tokens=2)
        assert answer["usage"]["completion_tokens"] == 2
        assert llm.n_active == 0


def test_closing_while_pictures_are_read(smollm2_path: Path, projector: Callable[[str], Path]) -> None:
    shown = [picture(png(100, 100, n)) for n in range(20)]
    llm = Llama(smollm2_path, n_ctx=4096, n_parallel=1, mmproj=projector("tiles"))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, llm, 0, *shown)
        llm.close()
        with contextlib.suppress(EngineClosedError):
            assert asked.result(timeout=60) == CODES[0]
