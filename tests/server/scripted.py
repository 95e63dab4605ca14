"""A model that says what a test wrote, for the page: reasoning, Markdown, calls, slow answers, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

from llamacpp_core import InvalidParameterError

MARKDOWN = """Here is **what** I found:

- a *first* thing
- `code` and <script>alert(1)</script>

| Planet | Days |
|---|---|
| Mars | 687 |

```python
print("a < b")
```

See [the page](https://example.org/) or [not this](javascript:alert(1))."""


class ScriptedModel:
    """Answers by the last message: ``slow``, ``tools``, ``think``, ``fail``, ``json``, else Markdown."""

    def __init__(self) -> None:
        can = {"chat": True, "completion": True, "embedding": False, "rerank": None, "tools": "native"}
        can |= {"reasoning": True, "image": False, "audio": False}
        numbers = {"n_ctx": 4096, "n_ctx_train": 8192, "n_parallel": 4, "n_embd": 8, "n_params": 1000}
        self.info = SimpleNamespace(**numbers, quantization="Q8_0", capabilities=SimpleNamespace(**can))
        self.loras: tuple[()] = ()
        self.asked: list[dict[str, Any]] = []
        self.running = 0

    async def acreate_chat_completion(
        self, messages: list[dict[str, Any]], *, stream: bool = False, **params: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        assert stream
        self.asked.append({"messages": messages, **params})
        wanted = str(messages[-1]["content"])
        if "fail" in wanted:
            raise InvalidParameterError("temperature must be at least 0", parameter="temperature")
        return self._chunks(wanted, messages[-1]["role"])

    async def _chunks(self, wanted: str, role: str) -> AsyncGenerator[dict[str, Any], None]:
        self.running += 1
        try:
            yield _chunk({"role": "assistant", "content": None})
            if "slow" in wanted:
                for i in range(2000):
                    yield _chunk({"content": f"{i} "})
                    await asyncio.sleep(0.02)
            elif "tools" in wanted and role == "user":
                function = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
                yield _chunk(
                    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
                )
            elif "json" in wanted:
                yield _chunk({"content": json.dumps({"name": "Rome", "population": 2_800_000})})
            else:
                if "think" in wanted:
                    yield _chunk({"reasoning_content": "First I look at the question."})
                for word in MARKDOWN.split(" "):
                    yield _chunk({"content": word + " "})
            reason = "tool_calls" if "tools" in wanted and role == "user" else "stop"
            usage = {"prompt_tokens": 1000, "completion_tokens": 24, "total_tokens": 1024}
            timings = {"predicted_per_second": 123.4}
            yield {**_chunk({}, reason), "timings": timings}
            yield {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": usage}
        finally:
            self.running -= 1


def _chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}
