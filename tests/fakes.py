"""A stand-in for ``Llama`` whose answers are written down beforehand.

It checks requests with the core's own code and builds responses and chunks with the core's own assemblers, so
what an adapter sails through here has the real shapes. Only the model is missing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llamacpp_core.engine.events import Final, Piece
from llamacpp_core.engine.info import Capabilities, ModelInfo, PromptCache
from llamacpp_core.errors import ContextOverflowError, UnsupportedCapabilityError
from llamacpp_core.request.messages import normalize_messages, normalize_tools
from llamacpp_core.request.sampling import sampling_fields
from llamacpp_core.request.tool_choice import resolve_tool_choice
from llamacpp_core.response.assemblers import ChatAssembler, CompletionAssembler
from llamacpp_core.response.tool_calls import new_call_id

__all__ = ["Answer", "ScriptedLlama", "scripted_info"]

_NOT_SAMPLING = (
    "add_generation_prompt",
    "chat_template_kwargs",
    "continue_final_message",
    "echo",
    "function_call",
    "functions",
    "logprobs",
    "model",
    "parallel_tool_calls",
    "reasoning_budget_tokens",
    "reasoning_effort",
    "reasoning_format",
    "response_format",
    "schema_strictness",
    "stream",
    "stream_options",
    "suffix",
    "tool_choice",
    "tools",
    "top_logprobs",
    "grammar",
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """One scripted answer.

    Attributes:
        content: Its text.
        reasoning: What the model thinks before it.
        tool_calls: Names and arguments of calls; arguments may be text, to script broken ones.
        problem: What is found to be wrong with its calls, or with its text.
        cut: Whether it ends because of ``max_tokens``.
        cached: Prompt tokens reported as reused.
        delay: Seconds before each piece.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    problem: str | None = None
    cut: bool = False
    cached: int = 0
    delay: float = 0.0

    def deltas(self) -> list[dict[str, Any]]:
        """The pieces that a model's output parser would make of it."""
        out: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in _pieces(self.reasoning)]
        out += [{"content": piece} for piece in _pieces(self.content)]
        for index, (name, arguments) in enumerate(self.tool_calls):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            head = {"index": index, "id": new_call_id(), "type": "function"}
            out.append({"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]})
            out += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in _pieces(text)
            ]
        return out


class _Deltas:
    """The parser of an answer whose pieces are the deltas themselves, as JSON."""

    def feed(self, text: str) -> list[dict[str, Any]]:
        return [json.loads(text)]

    def finish(self) -> list[dict[str, Any]]:
        return []


def _pieces(text: str, size: int = 4) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def scripted_info(*, n_ctx: int = 4096, **capabilities: Any) -> ModelInfo:
    """Facts about a model that can chat, with some capabilities changed."""
    caps = Capabilities(
        completion=True,
        chat=True,
        tools="native",
        parallel_tool_calls=True,
        system_role=True,
        reasoning=False,
        embedding=True,
        rerank="yes-no",
        image=False,
        audio=False,
    )
    return ModelInfo(
        name="scripted",
        path="/models/scripted.gguf",
        architecture="llama",
        n_params=1,
        size_bytes=1,
        quantization="F32",
        n_ctx_train=n_ctx,
        n_ctx=n_ctx,
        n_ctx_reduced=None,
        n_parallel=4,
        n_batch=512,
        n_ubatch=512,
        n_threads=1,
        n_embd=16,
        n_vocab=1000,
        pooling="mean",
        bos_token="<s>",
        eos_token="</s>",
        chat_template="{{ messages }}",
        prompt_cache=PromptCache(slot_tokens=n_ctx, slot_bytes=0, ram_mib=0),
        capabilities=dataclasses.replace(caps, **capabilities),
    )


Script = str | Answer | Exception | Callable[[list[dict[str, Any]], Mapping[str, Any]], Any]


class ScriptedLlama:
    """Answers in the order of its script; the last answer repeats.

    Args:
        script: Texts, :class:`Answer` objects, exceptions to raise, or functions
            of the messages and parameters that give one.
        info: Facts about the model.

    Attributes:
        loras: No adapters are loaded.
        calls: The requests: method, messages, texts or prompt, and parameters.
        running: Requests that run at this moment.
        most_running: The most that ever ran at once.
        cancelled: Requests that were given up before their end.
    """

    def __init__(self, *script: Script, info: ModelInfo | None = None) -> None:
        self.script = list(script) or ["Hello!"]
        self.info = info or scripted_info()
        self.loras: tuple[()] = ()
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.running = self.most_running = self.cancelled = 0
        self._lock = threading.Lock()

    # Chat and text

    def create_chat_completion(self, messages: Any, *, stream: bool = False, **params: Any) -> Any:
        chunks = self._chunks(*self._chat(messages, params), stream)
        return self._synchronous(chunks, stream)

    async def acreate_chat_completion(self, messages: Any, *, stream: bool = False, **params: Any) -> Any:
        await asyncio.sleep(0)
        chunks = self._chunks(*self._chat(messages, params), stream)
        return self._achunks(chunks) if stream else await self._whole(chunks)

    def create_completion(self, prompt: Any, *, stream: bool = False, **params: Any) -> Any:
        chunks = self._chunks(*self._text(prompt, params), stream)
        return self._synchronous(chunks, stream)

    async def acreate_completion(self, prompt: Any, *, stream: bool = False, **params: Any) -> Any:
        await asyncio.sleep(0)
        chunks = self._chunks(*self._text(prompt, params), stream)
        return self._achunks(chunks) if stream else await self._whole(chunks)

    def _chat(self, messages: Any, params: dict[str, Any]) -> tuple[ChatAssembler, Answer, int]:
        caps = self.info.capabilities
        checked = normalize_messages(messages, image=caps.image, audio=caps.audio)
        tools = normalize_tools(params.get("tools") or [])
        resolve_tool_choice(tools, params.get("tool_choice"), params.get("parallel_tool_calls"))
        self._check(params)
        self.calls.append(("chat", checked, params))
        n_prompt = self.count_tokens(messages=messages, tools=params.get("tools"))
        if n_prompt >= self.info.n_ctx:
            raise ContextOverflowError("too long", n_prompt_tokens=n_prompt, n_ctx=self.info.n_ctx)
        assembler = ChatAssembler(
            model=self.info.name,
            n=params.get("n") or 1,
            n_logprobs=(params.get("top_logprobs") or 0) if params.get("logprobs") else None,
            count_tokens=lambda text: len(text.split()),
            new_parser=_Deltas,
        )
        answer = self._answer(checked, params)
        assembler.check_call = lambda _: answer.problem
        if params.get("schema_strictness") == "report":
            assembler.report = lambda *_: {"left_out": ["$: something"], "error": answer.problem}
        return assembler, answer, n_prompt

    def _text(self, prompt: Any, params: dict[str, Any]) -> tuple[CompletionAssembler, Answer, int]:
        self._check(params)
        self.calls.append(("completion", prompt, params))
        assembler = CompletionAssembler(model=self.info.name, n=params.get("n") or 1)
        return (
            assembler,
            self._answer([{"role": "user", "content": prompt}], params),
            len(self.tokenize(prompt)),
        )

    def _check(self, params: Mapping[str, Any]) -> None:
        rest = {name: value for name, value in params.items() if name not in _NOT_SAMPLING}
        sampling_fields(rest, n_vocab=self.info.n_vocab)

    def _answer(self, messages: list[dict[str, Any]], params: Mapping[str, Any]) -> Answer:
        with self._lock:
            entry: Script = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        while callable(entry):
            entry = entry(messages, params)
        if isinstance(entry, Exception):
            raise entry
        return Answer(entry) if isinstance(entry, str) else entry

    def _chunks(
        self, assembler: Any, answer: Answer, n_prompt: int, stream: bool
    ) -> Iterator[dict[str, Any] | float]:
        """Delays and chunks; without ``stream`` only the response."""
        chat = isinstance(assembler, ChatAssembler)
        deltas = answer.deltas() if chat else [{"content": piece} for piece in _pieces(answer.content)]
        for position in range(len(assembler.choices)):
            for delta in deltas:
                if answer.delay:
                    yield answer.delay
                text = json.dumps(delta) if chat else delta["content"]
                yield from self._feed(assembler, Piece(position, text, self._probs(assembler)), stream)
            yield from self._feed(assembler, self._final(position, answer, n_prompt, len(deltas)), stream)
        if not stream:
            yield assembler.response()

    def _feed(self, assembler: Any, event: Piece | Final, stream: bool) -> list[dict[str, Any]]:
        if stream:
            return list(assembler.chunks(event))
        assembler.add(event)
        return []

    def _probs(self, assembler: Any) -> list[dict[str, Any]]:
        if assembler.n_logprobs is None:
            return []
        entry = {"token": "x", "bytes": [120], "logprob": -0.5}
        return [entry | {"top_logprobs": [entry] * assembler.n_logprobs}]

    def _final(self, position: int, answer: Answer, n_prompt: int, n_decoded: int) -> Final:
        timings = {
            "cache_n": answer.cached,
            "prompt_n": n_prompt,
            "prompt_ms": 1.0,
            "prompt_per_second": 1000.0,
        }
        timings |= {"predicted_n": n_decoded, "predicted_ms": 1.0, "predicted_per_second": 1000.0}
        stop_type = "limit" if answer.cut else "eos"
        return Final(position, stop_type, n_prompt, answer.cached, n_decoded, timings)

    def _synchronous(self, chunks: Iterator[dict[str, Any] | float], stream: bool) -> Any:
        if stream:
            return self._iterate(chunks)
        return list(self._iterate(chunks))[-1]

    def _iterate(self, chunks: Iterator[dict[str, Any] | float]) -> Iterator[dict[str, Any]]:
        ended = False
        self._enter()
        try:
            for chunk in chunks:
                if isinstance(chunk, float):
                    time.sleep(chunk)
                else:
                    yield chunk
            ended = True
        finally:
            self._leave(ended)

    async def _achunks(self, chunks: Iterator[dict[str, Any] | float]) -> AsyncIterator[dict[str, Any]]:
        ended = False
        self._enter()
        try:
            for chunk in chunks:
                if isinstance(chunk, float):
                    await asyncio.sleep(chunk)
                else:
                    yield chunk
            ended = True
        finally:
            self._leave(ended)

    async def _whole(self, chunks: Iterator[dict[str, Any] | float]) -> dict[str, Any]:
        return [chunk async for chunk in self._achunks(chunks)][-1]

    def _enter(self) -> None:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)

    def _leave(self, ended: bool) -> None:
        with self._lock:
            self.running -= 1
            self.cancelled += not ended

    # Vectors

    def embed(self, texts: Any, *, normalize: bool = True, **options: Any) -> np.ndarray:
        """Vectors of letter counts: equal texts are equal, similar texts are near."""
        if not self.info.capabilities.embedding:
            raise UnsupportedCapabilityError("embeddings are off", parameter="embedding")
        self.calls.append(("embed", texts, {"normalize": normalize} | options))
        rows = np.array(
            [_vector(text) for text in ([texts] if isinstance(texts, str) else texts)], np.float32
        )
        if normalize:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows[0] if isinstance(texts, str) else rows

    async def aembed(self, texts: Any, *, normalize: bool = True, **options: Any) -> np.ndarray:
        await asyncio.sleep(0)
        return self.embed(texts, normalize=normalize, **options)

    def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Scores by the words that query and document share."""
        self.calls.append(("rerank", (query, list(documents)), {"top_n": top_n} | options))
        words = set(query.lower().split())
        scores = [len(words & set(document.lower().split())) / max(1, len(words)) for document in documents]
        order = sorted(range(len(documents)), key=lambda i: -scores[i])[:top_n]
        return [{"index": i, "relevance_score": scores[i]} for i in order]

    async def arerank(self, query: str, documents: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return self.rerank(query, documents, **options)

    # Tokens

    def tokenize(self, text: bytes | str, add_bos: bool = True, special: bool = False) -> list[int]:
        """One token per word."""
        words = (text if isinstance(text, str) else text.decode()).split()
        return [1] * add_bos + [zlib.crc32(word.encode()) % 998 + 2 for word in words]

    def count_tokens(
        self, text: str | None = None, *, messages: Any = None, tools: Any = None, **template: Any
    ) -> int:
        """Words, and three more for every message."""
        if text is not None:
            return len(text.split())
        del template
        checked = normalize_messages(messages, image=True, audio=True)
        words = sum(3 + len(json.dumps(message["content"]).split()) for message in checked)
        return words + sum(len(json.dumps(tool).split()) for tool in tools or ())

    def close(self) -> None:
        """There is nothing to free."""


def _vector(text: str) -> list[float]:
    counts = [0.01] * 16
    for char in text.lower():
        if char.isalnum():
            counts[ord(char) % 16] += 1.0
    return [math.sqrt(count) for count in counts]
