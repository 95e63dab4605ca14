"""A request in two parts: the model reasons freely, then a constraint holds for its answer.

The first part ends with the model's own end of reasoning, or when the budget is used up; the second goes on
from there under the constraint. To the consumer it is one stream of events, as if the model had ended its
reasoning in the way its template has it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

from llamacpp_core.engine.events import Event, Final, Piece
from llamacpp_core.engine.in_flight import Running
from llamacpp_core.engine.plan import Plan

__all__ = ["AnswerPart", "ReasoningFirst"]


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerPart:
    """The second part.

    Attributes:
        end: The text that the parser takes for the end of the reasoning.
        plan: Makes the plan from the reasoning of each answer.
        params: llama-server's sampling fields, constraint included.
        max_tokens: Tokens of both parts at most; None for no bound.
    """

    end: str
    plan: Callable[[list[str]], Plan]
    params: dict[str, Any]
    max_tokens: int | None


class ReasoningFirst:
    """A running request that consists of two.

    Args:
        submit: Starts a planned request.
        first: The running first part.
        n: How many answers it has.
        answer: The second part.
    """

    def __init__(
        self, submit: Callable[[Plan, dict[str, Any]], Running], first: Running, n: int, answer: AnswerPart
    ) -> None:
        self._submit = submit
        self._running = first
        self._answer = answer
        self._texts = [""] * n
        self._reasoned: list[Final | None] = [None] * n
        self._answering = False
        self._cancelled = False
        self._ready: deque[Event] = deque()

    def next(self) -> Event:
        """Waits for the next event on this thread."""
        while not self._ready:
            self._take(self._running.next())
        return self._ready.popleft()

    async def anext(self) -> Event:
        """Waits for the next event in this coroutine."""
        while not self._ready:
            self._take(await self._running.anext())
        return self._ready.popleft()

    def cancel(self) -> None:
        """Ends the request; does nothing to one that has ended."""
        self._cancelled = True
        self._running.cancel()

    def _take(self, event: Event) -> None:
        if self._answering:
            self._ready.append(self._merged(event) if isinstance(event, Final) else event)
        elif isinstance(event, Final):
            self._end_reasoning(event)
        elif isinstance(event, Piece):
            self._texts[event.position] += event.text
            self._ready.append(event)

    def _end_reasoning(self, event: Final) -> None:
        at = event.position
        self._reasoned[at] = event
        self._texts[at] += event.text
        if event.text or event.probs:
            self._ready.append(Piece(at, event.text, event.probs))
        self._ready.append(Piece(at, self._answer.end))
        if all(done is not None for done in self._reasoned) and not self._cancelled:
            self._begin_answer()

    def _begin_answer(self) -> None:
        answer = self._answer
        params = dict(answer.params)
        if answer.max_tokens is not None:
            used = max(done.n_decoded for done in self._reasoned if done is not None)
            params["n_predict"] = max(answer.max_tokens - used, 1)
        self._answering = True
        self._running = self._submit(answer.plan(self._texts), params)

    def _merged(self, event: Final) -> Final:
        """The end of an answer, with what its reasoning has cost."""
        first = self._reasoned[event.position]
        assert first is not None
        timings = dict(first.timings)
        for name in ("predicted_n", "predicted_ms"):
            timings[name] = timings.get(name, 0) + event.timings.get(name, 0)
        if timings.get("predicted_ms"):
            timings["predicted_per_second"] = 1000 * timings["predicted_n"] / timings["predicted_ms"]
            timings["predicted_per_token_ms"] = timings["predicted_ms"] / max(timings["predicted_n"], 1)
        return dataclasses.replace(
            event,
            n_prompt=first.n_prompt,
            n_cached=first.n_cached,
            n_decoded=first.n_decoded + event.n_decoded,
            timings=timings,
        )
