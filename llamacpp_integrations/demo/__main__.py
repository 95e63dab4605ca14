"""Answers questions over real documents with the default models, streaming to the terminal.

The same documents, the same two loaded models: first as a LangChain chain, then as a LlamaIndex query engine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from llamacpp_core import Llama
from llamacpp_integrations.demo import langchain_chain, llama_index_engine
from llamacpp_integrations.demo.corpus import QUESTIONS, passages


def bold(text: str) -> str:
    """The text, in bold on a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def show(llm: Llama, question: str, pieces: Iterator[tuple[str, Any]]) -> None:
    """Prints one answer while it streams, then its sources and speed."""
    print(f"\n{bold(question)}")
    start = time.perf_counter()
    first = 0.0
    text, sources, timings = "", [], {}
    for kind, value in pieces:
        if kind == "text":
            first = first or time.perf_counter() - start
            text += value
            print(value, end="", flush=True)
        elif kind == "sources":
            sources = value
        else:
            timings = value
    seconds = time.perf_counter() - start - first
    speed = timings.get("predicted_per_second") or (llm.count_tokens(text) - 1) / max(seconds, 1e-9)
    print(f"\n  sources: {', '.join(f'[{i}] {name}' for i, name in enumerate(sources, 1))}")
    print(f"  first token after {first:.2f} s, then {speed:.0f} tokens/s")


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
        print(f"Loaded {embedder.info.name} and {llm.info.name} in {time.perf_counter() - start:.1f} s.")
        texts = passages()
        documents = len({p.source for p in texts})

        start = time.perf_counter()
        chain = langchain_chain.build(llm, embedder, texts, args.k)
        seconds = time.perf_counter() - start
        print(f"Embedded {len(texts)} passages of {documents} documents in {seconds:.1f} s.")
        print(bold("\nLangChain: retriever | prompt | ChatLlamaCpp"))
        for question in args.questions:
            show(llm, question, langchain_chain.stream_answer(chain, question))

        print(bold("\nLlamaIndex: VectorStoreIndex and its query engine"))
        engine = llama_index_engine.build(llm, embedder, texts, args.k)
        for question in args.questions:
            show(llm, question, llama_index_engine.stream_answer(engine, question))


if __name__ == "__main__":
    main()
