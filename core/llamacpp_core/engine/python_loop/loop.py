"""Generation with Python in the loop: logits processors, stopping criteria, log-probabilities of a prompt.

It takes what the engine takes and gives the events that the engine gives, so everything before and after it
is the same. Samplers, grammar and stop strings work as in the engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine.chooser import TokenChooser
from llamacpp_core.engine.events import Event, Final, Piece
from llamacpp_core.engine.plan import Plan
from llamacpp_core.engine.python_loop.callbacks import StoppingCriteriaList, process_logits
from llamacpp_core.engine.python_loop.in_flight import CustomRequest
from llamacpp_core.engine.python_loop.text_stream import TextStream
from llamacpp_core.errors import (
    EngineClosedError,
    RequestCancelledError,
    UnsupportedCapabilityError,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llamacpp_core.engine.info import ModelInfo
    from llamacpp_core.engine.python_loop.sessions import Session, SessionPool
    from llamacpp_core.lowlevel.vocabulary import Vocabulary

__all__ = ["CustomLoop"]

_NOT_HERE = (
    "n_indent",
    "post_sampling_probs",
    "return_progress",
    "t_max_predict_ms",
)


class CustomLoop:
    """Stands in for the engine where Python takes part in every token.

    Args:
        pool: Where contexts come from.
        vocab: The model's vocabulary.
        info: Facts about the model.
        processors: Functions of (input_ids, logits) that return logits.
        criteria: Functions of (input_ids, logits) that say whether to stop.
        prompt_logprobs: Report the log-probabilities of the prompt too.
    """

    def __init__(
        self,
        pool: SessionPool,
        vocab: Vocabulary,
        info: ModelInfo,
        *,
        processors: Sequence[Callable[..., Any]] = (),
        criteria: Sequence[Callable[..., Any]] = (),
        prompt_logprobs: bool = False,
    ) -> None:
        self._pool = pool
        self._vocab = vocab
        self._info = info
        self._processors = processors
        self._criteria = StoppingCriteriaList(criteria)
        self._prompt_logprobs = prompt_logprobs

    def submit(self, plan: Plan, kind: int, params: dict[str, Any]) -> CustomRequest:  # noqa: ARG002
        """Prepares a request; it runs as far as its events are taken.

        Args:
            plan: What to run.
            kind: The engine's task, which is a completion.
            params: llama-server's sampling fields, merged over the plan's own.

        Raises:
            UnsupportedCapabilityError: Something in the request works in the engine only.
        """
        planned = plan.info
        fields = planned | params
        fields["stop"] = [*(planned.get("stop") or ()), *(params.get("stop") or ())]
        self._check(plan, fields)
        cancelled = threading.Event()
        answers = _Answers(self, plan.tokens(), fields, cancelled)
        return CustomRequest(answers.events(), cancelled)

    def _check(self, plan: Plan, fields: Mapping[str, Any]) -> None:
        if not plan.n_prompts:
            raise UnsupportedCapabilityError(
                "images and audio do not go together with logits_processor and stopping_criteria",
                parameter="messages",
            )
        for name in _NOT_HERE:
            value = fields.get(name)
            if value not in (None, False, 0, -1):
                raise UnsupportedCapabilityError(
                    f"{name} does not go together with logits_processor, stopping_criteria or an echo with "
                    "logprobs",
                    parameter=name,
                )


class _Answers:
    """The answers to one request."""

    def __init__(
        self, loop: CustomLoop, prompt: list[int], fields: dict[str, Any], cancelled: threading.Event
    ) -> None:
        self._loop = loop
        self._prompt = prompt
        self._fields = fields
        self._cancelled = cancelled
        self._n_probs = int(fields.get("n_probs") or 0)
        limit = fields.get("n_predict", -1)
        self._max_tokens: int | None = None if limit is None or limit < 0 else int(limit)

    def events(self) -> Generator[Event, None, None]:
        """Runs the answers one after the other."""
        loop, fields = self._loop, self._fields
        session = loop._pool.borrow(self._prompt, self._max_tokens)
        keep = False
        try:
            session.use_loras(self._lora_scales())
            for index in range(fields.get("n", 1)):
                yield from self._answer(session, index)
            keep = True
        except GeneratorExit:
            keep = True
            raise
        finally:
            if keep:
                loop._pool.give_back(session)
            else:
                loop._pool.discard(session)

    def _lora_scales(self) -> dict[int, float]:
        """The scales of the adapters, by their numbers."""
        named = self._fields.get("lora")
        if named is None:
            return self._loop._pool.adapters.defaults
        return {entry["id"]: entry["scale"] for entry in named}

    def _answer(self, session: Session, index: int) -> Generator[Event, None, None]:
        clock = _Clock()
        if not self._fields.get("cache_prompt", True) or self._fields.get("deterministic"):
            session.clear()
        if self._loop._prompt_logprobs and index == 0:
            session.clear()
            yield Piece(index, prompt_probs=self._read_with_probs(session))
        n_cached = session.rewind(self._prompt)
        logits = self._read(session, self._prompt[n_cached:])
        clock.prompt_read()
        writer = _Writer(self, index)
        chooser = self._chooser(index)
        try:
            chooser.read_prompt(self._prompt)
            stop = yield from self._generate(session, logits, chooser, writer)
        finally:
            chooser.close()
        yield writer.final(stop, clock, n_prompt=len(self._prompt), n_cached=n_cached)

    def _generate(
        self, session: Session, logits: NDArray[np.float32], chooser: TokenChooser, writer: _Writer
    ) -> Generator[Event, None, str]:
        """Writes tokens until something ends the answer; returns what."""
        ids = _TokenIds(self._prompt, self._loop._info.n_ctx)
        vocabulary = self._loop._pool.model.vocabulary
        while True:
            if self._loop._criteria(ids.view, logits):
                return "eos"
            scores = process_logits(self._loop._processors, ids.view, logits)
            token = session.choose(chooser, scores)
            writer.n_tokens += 1
            if vocabulary.is_end(token):
                return "eos"
            yield from writer.write(token, logits)
            if writer.text.stopped_by:
                return "word"
            ids.append(token)
            if writer.n_tokens == self._max_tokens or len(ids.view) >= self._loop._info.n_ctx:
                return "limit"
            logits = self._read(session, [token])

    def _read(self, session: Session, tokens: list[int]) -> NDArray[np.float32]:
        """Decodes tokens in steps, so that a cancelled request ends soon; the logits after the last."""
        step = self._loop._info.n_batch
        for start in range(0, len(tokens), step):
            if self._cancelled.is_set():
                raise RequestCancelledError("the request was cancelled")
            try:
                logits = session.decode(tokens[start : start + step])
            except RequestCancelledError:
                if self._loop._pool.closed:
                    raise EngineClosedError("the model was closed while this request was running") from None
                raise
        return logits

    def _read_with_probs(self, session: Session) -> list[dict[str, Any]]:
        """The log-probabilities of the prompt's tokens, without BOS; the first has none."""
        rows = session.decode_rows(self._prompt)
        entries = [
            self._probability(token, logits) for token, logits in zip(self._prompt[1:], rows, strict=False)
        ]
        if self._prompt[0] != self._loop._vocab.bos:
            first = {"id": self._prompt[0], **self._named(self._prompt[0])}
            return [first | {"logprob": None, "top_logprobs": []}, *entries]
        if entries:  # OpenAI reports null for the first token, whatever came before it
            entries[0] |= {"logprob": None, "top_logprobs": []}
        return entries

    def _chooser(self, index: int) -> TokenChooser:
        room = self._loop._info.n_ctx - len(self._prompt)
        n_tokens = room if self._max_tokens is None else min(room, self._max_tokens)
        return TokenChooser(self._loop._pool.engine, self._fields, index=index, n_tokens=n_tokens)

    def _preserved(self) -> set[int]:
        """Control tokens that the parser of the answer has to see."""
        ids = [
            self._loop._vocab.tokenize(text, add_special=False, parse_special=True)
            for text in self._fields.get("preserved_tokens") or ()
        ]
        return {one[0] for one in ids if len(one) == 1}

    def _named(self, token: int) -> dict[str, Any]:
        piece = self._loop._pool.model.token_to_piece(token)
        return {"token": piece.decode("utf-8", "replace"), "bytes": list(piece)}

    def _probability(self, token: int, logits: NDArray[np.float32]) -> dict[str, Any]:
        """A token's log-probability and the likeliest tokens at its place, in llama-server's form."""
        import numpy as np

        shifted = logits - logits.max()
        values = shifted - np.log(np.exp(shifted, dtype=np.float64).sum())
        top = np.argpartition(-values, self._n_probs)[: self._n_probs]
        top = top[np.argsort(-values[top], kind="stable")]
        return {
            "id": token,
            **self._named(token),
            "logprob": float(values[token]),
            "top_logprobs": [{"id": int(t), **self._named(int(t)), "logprob": float(values[t])} for t in top],
        }


class _Writer:
    """Turns the tokens of one answer into events; holds back what may begin a stop string."""

    def __init__(self, answers: _Answers, index: int) -> None:
        self._answers = answers
        self._index = index
        self._preserved = answers._preserved()
        self._waiting: list[dict[str, Any]] = []  # log-probabilities of tokens whose text is held back
        self.text = TextStream(answers._fields["stop"])
        self.n_tokens = 0

    def write(self, token: int, logits: NDArray[np.float32]) -> Generator[Event, None, None]:
        """The events of a further token."""
        answers = self._answers
        piece = answers._loop._pool.model.token_to_piece(token, special=token in self._preserved)
        ready = self.text.feed(piece)
        if answers._n_probs:
            self._waiting.append(answers._probability(token, logits))
            if not self.text.held and not self.text.stopped_by:
                probs, self._waiting = self._waiting, []
                yield Piece(self._index, ready, probs)
                return
        if ready:
            yield Piece(self._index, ready)

    def final(self, stop: str, clock: _Clock, *, n_prompt: int, n_cached: int) -> Final:
        """The last event of the answer."""
        return Final(
            self._index,
            text=self.text.finish(),
            stop_type=stop,
            n_prompt=n_prompt,
            n_cached=n_cached,
            n_decoded=self.n_tokens,
            timings=clock.timings(n_prompt - n_cached, n_cached, self.n_tokens),
            probs=() if stop == "word" else self._waiting,
            stopping_word=self.text.stopped_by if stop == "word" else "",
        )


class _TokenIds:
    """The token ids so far, as a numpy array that grows in place."""

    def __init__(self, prompt: Sequence[int], n_ctx: int) -> None:
        import numpy as np

        self._buffer = np.empty(max(n_ctx, len(prompt)) + 1, dtype=np.intc)
        self._buffer[: len(prompt)] = prompt
        self.view = self._buffer[: len(prompt)]

    def append(self, token: int) -> None:
        size = len(self.view)
        self._buffer[size] = token
        self.view = self._buffer[: size + 1]


class _Clock:
    def __init__(self) -> None:
        self._start = self._read = time.perf_counter()

    def prompt_read(self) -> None:
        self._read = time.perf_counter()

    def timings(self, n_prompt: int, n_cached: int, n_tokens: int) -> dict[str, Any]:
        """What llama-server reports, in its names."""
        prompt_ms = max((self._read - self._start) * 1000, 1e-6)
        predicted_ms = max((time.perf_counter() - self._read) * 1000, 1e-6)
        return {
            "cache_n": n_cached,
            "prompt_n": n_prompt,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": prompt_ms / max(n_prompt, 1),
            "prompt_per_second": 1000 * n_prompt / prompt_ms,
            "predicted_n": n_tokens,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": predicted_ms / max(n_tokens, 1),
            "predicted_per_second": 1000 * n_tokens / predicted_ms,
        }
