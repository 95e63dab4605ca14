"""Answers under a constraint after free reasoning: for threads and coroutines, whole and streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama

THINKING = """{%- for m in messages -%}<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}<|im_end|>
{% endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}{%- endif -%}"""
MESSAGES = [{"role": "user", "content": "Say hello"}]
SETTINGS: dict[str, Any] = {
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": {"enum": ["yes", "no"]}},
    },
    "max_tokens": 40,
    "temperature": 0,
}


@pytest.fixture(scope="module")
def thinker(smollm2_path: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, chat_template=THINKING, n_ctx=512, n_parallel=1, warmup=False) as loaded:
        yield loaded


def joined(chunks: list[Any]) -> dict[str, str]:
    out = {"content": "", "reasoning_content": ""}
    for chunk in chunks:
        for name in out:
            out[name] += chunk["choices"][0]["delta"].get(name) or ""
    return out


def test_every_way_gives_both_parts(thinker: Llama) -> None:
    whole: Any = thinker.create_chat_completion(MESSAGES, **SETTINGS)["choices"][0]
    assert json.loads(whole["message"]["content"]) in ("yes", "no")
    assert whole["message"]["reasoning_content"]
    expected = {name: whole["message"][name] for name in ("content", "reasoning_content")}

    async def ask() -> tuple[Any, list[Any]]:
        answer: Any = await thinker.acreate_chat_completion(MESSAGES, **SETTINGS)
        stream: Any = await thinker.acreate_chat_completion(MESSAGES, stream=True, **SETTINGS)
        return answer, [chunk async for chunk in stream]

    answer, chunks = asyncio.run(ask())
    assert answer["choices"][0]["message"] == whole["message"]
    assert joined(chunks) == expected
    streamed: Any = thinker.create_chat_completion(MESSAGES, stream=True, **SETTINGS)
    assert joined(list(streamed)) == expected
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
