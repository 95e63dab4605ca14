"""A process with a chat model and others beside it, for the rows of ``engine.py`` about several models.

Its one argument is JSON: {"model": name, "others": ["all-minilm-l6-v2", ...], "n_threads": 2 or null}.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from _passages import passages
from _peers import own_stdout, serve
from _speed import prompt_speed, stream_speed

from llamacpp_core import Llama
from llamacpp_core.native.build_info import build_info

TEXTS = [passage.text for passage in passages(64)]
#: Passages of one call of the embedder: few, so that little is computed after the chat has ended.
BATCH = 4


def while_indexing(llm: Llama, embedder: Llama, n: int) -> dict[str, float]:
    """Tokens and passages per second while both models work, for as long as the chat takes.

    The embedder has begun when the chat begins, and goes on until it ends.
    """
    done, stop, begun = [0], threading.Event(), threading.Event()

    def index() -> None:
        while not stop.is_set():
            at = done[0] % len(TEXTS)
            embedder.embed(TEXTS[at : at + BATCH])
            done[0] += BATCH
            begun.set()

    thread = threading.Thread(target=index)
    thread.start()
    begun.wait()
    before, start = done[0], time.perf_counter()
    chat = stream_speed(llm, n)
    # The batch that is under way is waited for, so that whole batches are counted over their own time.
    stop.set()
    thread.join()
    seconds = time.perf_counter() - start
    return {"chat": chat, "embed": (done[0] - before) / seconds}


def embed_speed(embedder: Llama) -> float:
    """Passages per second of the embedder alone."""
    start = time.perf_counter()
    for at in range(0, len(TEXTS), BATCH):
        embedder.embed(TEXTS[at : at + BATCH])
    return len(TEXTS) / (time.perf_counter() - start)


def main() -> None:
    """Loads the models, lets the others work once, and answers calls."""
    out, settings = own_stdout(), json.loads(sys.argv[1])
    llm = Llama(settings["model"], n_ctx=1024, n_parallel=8, n_threads=settings["n_threads"])
    others = [Llama(name, n_threads=settings["n_threads"]) for name in settings["others"]]
    for other in others:
        other.rerank("Which of these is about a bridge?", TEXTS[:8])
    serve(
        out,
        {
            "chat": lambda n: stream_speed(llm, n),
            "prompt": lambda n: prompt_speed(llm, n),
            "level": lambda: build_info()["cpu_level"],
            "embed": lambda: embed_speed(others[0]),
            "while_indexing": lambda n: while_indexing(llm, others[0], n),
        },
    )
    for engine in (*others, llm):
        engine.close()


if __name__ == "__main__":
    main()
