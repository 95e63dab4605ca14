"""The sides of ``rag.py``: the same job with three sets of LangChain classes, each in a process of its own.

    python benchmarks/_rag_sides.py ours|openai|community '{...}'

Every side has a chat model, an embedder, and a reranker that scores by a second look with embeddings.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from _chats import CHATS, Chat
from _peers import minilm, own_stdout, serve

Messages = list[list[str]]
#: What a reranker does: the order of some texts by how well they fit a question, best first.
Rerank = Callable[[str, list[str]], list[int]]


class Side:
    """One set of classes, and the job.

    Args:
        chat: The chat model.
        embeddings: LangChain embeddings.
        rerank: Orders texts.
    """

    def __init__(self, chat: Chat, embeddings: Any, rerank: Rerank) -> None:
        self.chat, self.embeddings, self.rerank = chat, embeddings, rerank
        self.texts: list[str] = []
        self.vectors = np.zeros((0, 0))

    def index(self, texts: list[str]) -> float:
        """Seconds to embed all passages."""
        start = time.perf_counter()
        self.texts, self.vectors = texts, _unit(self.embeddings.embed_documents(texts))
        return time.perf_counter() - start

    def find(self, questions: list[str], n_candidates: int, n: int) -> dict[str, Any]:
        """Seconds to find ``n`` passages for each question, and which they are, best first."""
        start = time.perf_counter()
        found = []
        for question in questions:
            near = self.vectors @ _unit([self.embeddings.embed_query(question)])[0]
            candidates = np.argsort(-near)[:n_candidates].tolist()
            order = self.rerank(question, [self.texts[i] for i in candidates])
            found.append([candidates[i] for i in order[:n]])
        return {"seconds": time.perf_counter() - start, "found": found}

    def answer(self, prompts: list[Messages], at_once: bool) -> dict[str, Any]:
        """Answers prompts, in turn or all at once.

        Returns:
            ``seconds`` of all; for each prompt the seconds to its ``first`` token, counted from when it was
            put (at once: all are put at the start), its ``tokens`` and its ``text``; ``decode``: tokens per
            second from an answer's first token to its last, for prompts in turn.
        """
        start = time.perf_counter()
        if at_once and self.chat.concurrent:
            answers = self._together(prompts, start)
        else:
            answers = [self._stream(prompt, start if at_once else None) for prompt in prompts]
        return {
            "seconds": time.perf_counter() - start,
            "first": [answer["first"] for answer in answers],
            "tokens": [answer["tokens"] for answer in answers],
            "text": [answer["text"] for answer in answers],
            "decode": [(a["tokens"] - 1) / max(a["last"] - a["first"], 1e-9) for a in answers],
        }

    def _together(self, prompts: list[Messages], start: float) -> list[dict[str, Any]]:
        answers: list[Any] = [None] * len(prompts)

        def work(i: int) -> None:
            answers[i] = self._stream(prompts[i], start)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if None in answers:
            raise RuntimeError("a request failed: see above")
        return answers

    def _stream(self, prompt: Messages, start: float | None) -> dict[str, Any]:
        start = time.perf_counter() if start is None else start
        first, last, pieces, said = 0.0, 0.0, 0, None
        text = ""
        for chunk in self.chat.model.stream([(role, content) for role, content in prompt]):
            if chunk.content:
                last = time.perf_counter() - start
                first = first or last
                pieces += 1
                text += chunk.content
            if chunk.usage_metadata:
                said = chunk.usage_metadata["output_tokens"]
        return {"first": first, "last": last, "tokens": said or pieces, "text": text}


def _unit(vectors: Any) -> np.ndarray:
    out = np.asarray(vectors, dtype=np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _by_cosine(embeddings: Any) -> Rerank:
    """Reranking as it can be had from embeddings: the question and the candidates again, then the cosine."""

    def rerank(question: str, texts: list[str]) -> list[int]:
        scores = _unit(embeddings.embed_documents(texts)) @ _unit([embeddings.embed_query(question)])[0]
        return [int(i) for i in np.argsort(-scores)]

    return rerank


def ours(settings: dict[str, Any], stack: ExitStack) -> tuple[Any, Rerank]:
    """This package: an embedder and a reranker, each an engine of its own."""
    from llamacpp_integrations.langchain import LlamaCppEmbeddings, LlamaCppRerank

    n_threads = settings["n_threads"]
    embeddings = LlamaCppEmbeddings(model=settings["embedder"], n_threads=n_threads)
    # Other load options than the embedder's make it an engine of its own, as a reranker's model would be.
    reranker = LlamaCppRerank(model=settings["reranker"], n_threads=n_threads, n_parallel=16, top_n=None)
    for model in (embeddings, reranker):
        stack.callback(model.close)
    return embeddings, lambda question, texts: [row["index"] for row in reranker.rerank(question, texts)]


def openai(settings: dict[str, Any], stack: ExitStack) -> tuple[Any, Rerank]:
    """sentence-transformers in this process."""
    import torch  # type: ignore[import-not-found]
    from langchain_huggingface import HuggingFaceEmbeddings  # type: ignore[import-not-found]

    del stack
    torch.set_num_threads(settings["n_threads"])
    embeddings = HuggingFaceEmbeddings(model_name=settings["sentence_transformers"] or minilm())
    return embeddings, _by_cosine(embeddings)


def community(settings: dict[str, Any], stack: ExitStack) -> tuple[Any, Rerank]:
    """The community's class on llama-cpp-python, twice."""
    from langchain_community.embeddings import LlamaCppEmbeddings  # type: ignore[import-not-found]

    del stack
    embedder, second = (
        LlamaCppEmbeddings(
            model_path=settings["embedder"],
            n_ctx=512,
            n_batch=512,  # longer texts would be cut without a word
            n_threads=settings["n_threads"],
            verbose=False,
        )
        for _ in range(2)
    )
    return embedder, _by_cosine(second)


def main() -> None:
    """Loads one side and answers calls."""
    out, name, settings = own_stdout(), sys.argv[1], json.loads(sys.argv[2])
    start = time.perf_counter()
    with ExitStack() as stack:
        chat = CHATS[name](settings, stack)
        search = {"ours": ours, "openai": openai, "community": community}[name](settings, stack)
        side = Side(chat, *search)
        seconds = time.perf_counter() - start
        serve(
            out,
            {
                "load": lambda: seconds,
                "count": chat.count,
                "index": side.index,
                "find": side.find,
                "answer": side.answer,
            },
        )


if __name__ == "__main__":
    main()
