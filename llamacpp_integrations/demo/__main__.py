"""Answers questions over real documents with the default models, streaming to the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llamacpp_core import Llama
from llamacpp_integrations.demo.corpus import QUESTIONS, Passage, passages

PROMPT = """Answer the question in one or two sentences, from these notes only.

{notes}

Question: {question}"""


def retrieve(embedder: Llama, question: str, vectors: object, texts: Sequence[Passage], k: int) -> list[tuple[float, Passage]]:
    """The passages nearest to a question, by cosine, with the cosines."""
    import numpy as np

    scores = np.asarray(vectors) @ embedder.embed(question)
    best = np.argsort(-scores)[:k]
    return [(float(scores[i]), texts[i]) for i in best]


def answer(llm: Llama, question: str, found: Sequence[tuple[float, Passage]]) -> None:
    """Streams one answer and prints its sources and speed."""
    notes = "\n\n".join(f"[{i}] {passage.text}" for i, (_, passage) in enumerate(found, 1))
    messages = [{"role": "user", "content": PROMPT.format(notes=notes, question=question)}]
    start = time.perf_counter()
    first = None
    print(f"\n\033[1m{question}\033[0m" if sys.stdout.isatty() else f"\n{question}")
    last: Mapping[str, Any] = {}
    for chunk in llm.create_chat_completion(messages, stream=True, temperature=0, max_tokens=120):
        piece = chunk["choices"][0]["delta"].get("content")
        if piece:
            first = first or time.perf_counter() - start
            print(piece, end="", flush=True)
        last = chunk
    sources = ", ".join(f"[{i}] {passage.source} ({score:.2f})" for i, (score, passage) in enumerate(found, 1))
    timings = last["timings"]
    print(f"\n  sources: {sources}")
    print(
        f"  first token after {first or 0:.2f} s, {timings['predicted_per_second']:.0f} tokens/s, "
        f"{timings['prompt_n']:.0f} prompt tokens read, {timings['cache_n']:.0f} from the cache"
    )


def main() -> None:
    """Runs the demonstration."""
    arguments = argparse.ArgumentParser(prog="python -m llamacpp_integrations.demo", description=__doc__)
    arguments.add_argument("questions", nargs="*", default=QUESTIONS, help="your own questions")
    arguments.add_argument("--model", default="smollm2-135m-instruct", help="model that answers")
    arguments.add_argument("--embedder", default="all-minilm-l6-v2", help="model that searches")
    arguments.add_argument("-k", type=int, default=2, help="passages per question")
    args = arguments.parse_args()

    start = time.perf_counter()
    with Llama(args.embedder) as embedder, Llama(args.model, n_ctx=4096) as llm:
        print(f"loaded {embedder.info.name} and {llm.info.name} in {time.perf_counter() - start:.1f} s")
        texts = passages()
        start = time.perf_counter()
        vectors = embedder.embed([p.text for p in texts], overflow="chunk", progress=None)
        seconds = time.perf_counter() - start
        print(f"embedded {len(texts)} passages of {len({p.source for p in texts})} documents in {seconds:.1f} s")
        for question in args.questions:
            answer(llm, question, retrieve(embedder, question, vectors, texts, args.k))


if __name__ == "__main__":
    main()
