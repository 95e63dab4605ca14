"""How fast an engine is: one stream, prompts, prompts and streams at a depth, many requests at once."""

from __future__ import annotations

import itertools
import threading
import time

from llamacpp_core import Llama

__all__ = ["at_depth", "concurrent_speed", "prompt_speed", "prompts", "stream_speed"]

WORDS = ("the", "sea", "and", "the", "sky", "met", "in", "a", "line", "of", "light", "as", "gulls", "cried")
_fresh = itertools.count(1)

#: Beginnings of prompts are kept in steps of that many tokens; the rest of one is read again.
STEP = 64


def prompts(n: int, n_tokens: int, llm: Llama) -> list[list[int]]:
    """Prompts of exactly that many tokens that share no prefix with any prompt before."""
    out = []
    for i in range(n):
        text = f"{next(_fresh)} " + " ".join(WORDS[(i + j) % len(WORDS)] for j in range(n_tokens))
        out.append(llm.tokenize(text)[:n_tokens])
    return out


def stream_speed(llm: Llama, n: int) -> float:
    """Tokens per second of one stream, from the first token to the last."""
    last = {}
    for chunk in llm.create_completion(
        "Once upon a time", max_tokens=n, temperature=0, ignore_eos=True, stream=True
    ):
        last = chunk
    return float(last["timings"]["predicted_per_second"])


def prompt_speed(llm: Llama, n: int) -> float:
    """Tokens per second of reading one prompt."""
    (prompt,) = prompts(1, n, llm)
    timings = llm.create_completion(prompt, max_tokens=1, temperature=0)["timings"]
    return float(timings["prompt_per_second"])


def at_depth(llm: Llama, depth: int, n_prompt: int, n_gen: int) -> dict[str, float]:
    """Tokens per second after ``depth`` tokens that the engine holds: ``prompt`` read, ``decode`` generated.

    The same work as llama-bench with ``-d``: the depth itself is not timed.

    Raises:
        RuntimeError: The engine did not keep the depth, so that the figures would be of something else.
    """
    (prompt,) = prompts(1, depth + n_prompt, llm)
    held = prompt[:depth]
    llm.create_completion(held, max_tokens=1, temperature=0)
    read = llm.create_completion(prompt, max_tokens=1, temperature=0)["timings"]
    generated = llm.create_completion(held, max_tokens=n_gen, temperature=0, ignore_eos=True)["timings"]
    if abs(read["prompt_n"] - n_prompt) > 1 or generated["prompt_n"] > STEP:
        raise RuntimeError(
            f"the prompt cache did not hold {depth} tokens: {read['prompt_n']} of {n_prompt} and "
            f"{generated['prompt_n']} of at most {STEP} were read"
        )
    return {"prompt": read["prompt_per_second"], "decode": generated["predicted_per_second"]}


def concurrent_speed(llm: Llama, n_parallel: int, n_prompt: int, n_gen: int) -> float:
    """Prompt and generated tokens per second of that many requests that start together."""
    todo = prompts(n_parallel, n_prompt, llm)

    def work(prompt: list[int]) -> None:
        llm.create_completion(prompt, max_tokens=n_gen, temperature=0, ignore_eos=True, cache_prompt=False)

    threads = [threading.Thread(target=work, args=(prompt,)) for prompt in todo]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return n_parallel * (n_prompt + n_gen) / (time.perf_counter() - start)
