"""How fast a model runs here: what ``llamacpp bench`` measures."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["embedding_speed", "one_request", "speed", "test_prompts", "throughput"]

_WORDS = [
    "the",
    "sea",
    "and",
    "the",
    "sky",
    "met",
    "in",
    "a",
    "line",
    "of",
    "light",
    "while",
    "gulls",
    "turned",
    "over",
    "the",
    "harbour",
    "wall",
]


def test_prompts(llm: Llama, n: int, n_tokens: int) -> list[list[int]]:
    """Prompts of that many tokens each that share no beginning.

    Raises:
        InvalidParameterError: ``n_tokens`` is less than 1.
    """
    if n_tokens < 1:
        raise InvalidParameterError("the prompt needs at least one token", parameter="prompt")
    out = []
    for i in range(n):
        words = [_WORDS[(i * 5 + j * (1 + i % 7)) % len(_WORDS)] for j in range(n_tokens)]
        out.append(llm.tokenize(f"{i} " + " ".join(words))[:n_tokens])
    return out


def one_request(llm: Llama, n_prompt: int, n_generate: int) -> dict[str, float]:
    """One request alone.

    Returns:
        ``prompt``: tokens of the prompt read per second; ``generation``: tokens generated per second, both
        by llama.cpp's clock; ``first_token_ms``: until the first token was here, by ours.
    """
    (prompt,) = test_prompts(llm, 1, n_prompt)
    start, first, last = time.perf_counter(), None, {}
    for chunk in llm.create_completion(prompt, stream=True, **_plain(n_generate)):
        first = first if first is not None else time.perf_counter()
        last = chunk
    timings: Any = last["timings"]
    return {
        "prompt": 1000 * timings["prompt_n"] / timings["prompt_ms"],
        "generation": 1000 * timings["predicted_n"] / timings["predicted_ms"],
        "first_token_ms": 1000 * ((first or start) - start),
    }


def throughput(llm: Llama, concurrency: int, n_prompt: int, n_generate: int) -> dict[str, float]:
    """Several requests that start together, each from a thread of its own.

    Returns:
        ``concurrency``; ``tokens_per_second``, read and generated together; ``generated_per_second``.
    """
    prompts = test_prompts(llm, concurrency, n_prompt)
    with ThreadPoolExecutor(concurrency) as pool:
        start = time.perf_counter()
        answers = list(pool.map(lambda p: llm.create_completion(p, **_plain(n_generate)), prompts))
        seconds = time.perf_counter() - start
    generated = sum(answer["usage"]["completion_tokens"] for answer in answers)
    return {
        "concurrency": concurrency,
        "tokens_per_second": (concurrency * n_prompt + generated) / seconds,
        "generated_per_second": generated / seconds,
    }


def embedding_speed(llm: Llama, texts: int, n_tokens: int) -> dict[str, float]:
    """So many texts in one call.

    Returns:
        ``concurrency``, the number of texts; ``texts_per_second``; ``tokens_per_second``.
    """
    prompts = test_prompts(llm, texts, n_tokens)
    start = time.perf_counter()
    llm.embed(prompts)
    seconds = time.perf_counter() - start
    return {
        "concurrency": texts,
        "texts_per_second": texts / seconds,
        "tokens_per_second": sum(map(len, prompts)) / seconds,
    }


def speed(runs: list[dict[str, float]]) -> dict[str, float]:
    """The medians of repeated measurements, and for speeds the slowest and the fastest run."""
    out = {}
    for key in runs[0]:
        values = [run[key] for run in runs]
        out[key] = median(values)
        if key.endswith("per_second") or key in ("prompt", "generation"):
            out[f"{key}_min"], out[f"{key}_max"] = min(values), max(values)
    return out


def _plain(n: int) -> dict[str, Any]:
    return {"max_tokens": n, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
