"""From the engine's events to OpenAI-shaped responses and chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from llamacpp_core.engine.events import Event, Final, Piece
from llamacpp_core.native.build_info import system_fingerprint
from llamacpp_core.response.choice import Choice, Delta, OutputParser
from llamacpp_core.response.logprobs import chat_logprob, completion_logprobs, mean_logprob

__all__ = ["ChatAssembler", "CompletionAssembler"]


class _Assembler:
    """What chat and text completions share."""

    prefix = ""

    def __init__(
        self,
        *,
        model: str,
        n: int,
        n_logprobs: int | None,
        include_usage: bool,
        piece: Callable[[int], bytes] | None,
    ) -> None:
        self.id = self.prefix + uuid.uuid4().hex
        self.created = int(time.time())
        self.model = model
        self.fingerprint = system_fingerprint()
        self.n_logprobs = n_logprobs
        self.piece = piece
        self.include_usage = include_usage
        self.choices = [Choice(None) for _ in range(n)]

    @property
    def done(self) -> bool:
        """Whether every answer has ended."""
        return all(choice.final is not None for choice in self.choices)

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def usage(self) -> dict[str, Any]:
        """Tokens of the prompt, counted once, and of all answers."""
        finals = [choice.final for choice in self.choices if choice.final is not None]
        prompt = max((final.n_prompt for final in finals), default=0)
        cached = max((final.n_cached for final in finals), default=0)
        completion = sum(final.n_decoded for final in finals)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def timings(self) -> dict[str, Any]:
        """llama.cpp's timings of the first answer; of several, each has its own."""
        final = self.choices[0].final
        return dict(final.timings) if final else {}

    def close(self, chunks: list[dict[str, Any]]) -> None:
        """Adds what belongs to the whole response to its last chunk, once every answer has ended."""
        if not self.done:
            return
        last = chunks[-1]
        last["timings"] = self.timings()
        if self.include_usage:
            chunks.append(self.envelope(last["object"], []) | {"usage": self.usage()})
        else:
            last["usage"] = self.usage()

    def keep_probs(self, choice: Choice, event: Piece | Final) -> list[dict[str, Any]]:
        """The logprobs that come with a piece of text, and those that waited for it.

        Tokens without text may be the beginning of a stop string: those of one belong to no answer.
        """
        if isinstance(event, Final) and event.stop_type == "word":
            choice.waiting.clear()
        top = self.n_logprobs or 0
        choice.waiting += [chat_logprob(entry, top, self.piece) for entry in event.probs]
        if not event.text and isinstance(event, Piece):
            return []
        entries, choice.waiting = choice.waiting, []
        choice.logprobs += entries
        return entries


class ChatAssembler(_Assembler):
    """Builds a chat completion, or its chunks.

    Args:
        model: The name to report.
        n: How many answers there are.
        n_logprobs: Alternatives per token in ``logprobs``; None for no logprobs.
        include_usage: Send a last chunk that holds only the usage, as OpenAI does on request.
        new_parser: Makes the parser of one answer; None for plain text.
        legacy_functions: Report a call under the deprecated ``function_call``.
        count_tokens: Counts the tokens of a text, for the usage of reasoning.
        piece: The bytes of a token, for ``logprobs``.
        check_call: Says what is wrong with a call that no grammar could hold in full.
        report: What is said about an answer's schemas, from its text and the functions of its calls.
    """

    prefix = "chatcmpl-"

    def __init__(
        self,
        *,
        model: str,
        n: int = 1,
        n_logprobs: int | None = None,
        include_usage: bool = False,
        new_parser: Callable[[], OutputParser] | None = None,
        legacy_functions: bool = False,
        count_tokens: Callable[[str], int] | None = None,
        piece: Callable[[int], bytes] | None = None,
        check_call: Callable[[dict[str, Any]], str | None] | None = None,
        report: Callable[[str, list[dict[str, Any]]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(model=model, n=n, n_logprobs=n_logprobs, include_usage=include_usage, piece=piece)
        self.check_call = check_call
        self.report = report
        self.legacy_functions = legacy_functions
        self.count_tokens = count_tokens
        if new_parser is not None:
            for choice in self.choices:
                choice.parser = new_parser()

    def _deltas(self, choice: Choice, event: Piece | Final) -> tuple[list[Delta], list[dict[str, Any]]]:
        """What an event adds to the message, and its logprobs."""
        deltas: list[Delta] = []
        if event.text:
            deltas = choice.parser.feed(event.text) if choice.parser else [{"content": event.text}]
        if isinstance(event, Final):
            choice.final = event
            if choice.parser:
                deltas += choice.parser.finish()
        return deltas, self.keep_probs(choice, event) if self.n_logprobs is not None else []

    def add(self, event: Event) -> None:
        """Takes in an event of a request that is not streamed."""
        assert isinstance(event, Piece | Final)
        choice = self.choices[event.position]
        deltas, _ = self._deltas(choice, event)
        for delta in deltas:
            choice.merge(delta)

    def response(self) -> dict[str, Any]:
        """The chat completion."""
        out = self.envelope("chat.completion", [self._finished(i, c) for i, c in enumerate(self.choices)])
        out["usage"] = self.usage()
        out["timings"] = self.timings()
        return out

    def usage(self) -> dict[str, Any]:
        """Tokens, with those of the reasoning counted apart."""
        usage = super().usage()
        if self.count_tokens is not None:
            reasoning = sum(self.count_tokens("".join(c.reasoning)) for c in self.choices if c.reasoning)
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return usage

    def _finished(self, index: int, choice: Choice) -> dict[str, Any]:
        text = "".join(choice.text)
        calls = [choice.calls[i] for i in sorted(choice.calls)]
        for piece in self._problems(choice):
            choice.calls[piece["index"]]["error"] = piece["error"]
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
        if choice.reasoning:
            message["reasoning_content"] = "".join(choice.reasoning)
        if calls and self.legacy_functions:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        logprobs = {"content": choice.logprobs} if self.n_logprobs is not None else None
        return {"index": index, "message": message, "logprobs": logprobs, **self._ending(choice)}

    def _ending(self, choice: Choice) -> dict[str, Any]:
        ending = choice.ending
        if self.legacy_functions and ending["finish_reason"] == "tool_calls":
            ending["finish_reason"] = "function_call"
        if self.report is not None:
            calls = [choice.calls[index]["function"] for index in sorted(choice.calls)]
            ending["schema_report"] = self.report("".join(choice.text), calls)
        return ending

    def _problems(self, choice: Choice) -> list[dict[str, Any]]:
        """What is wrong with the calls of an answer that has ended, as pieces of calls."""
        if self.check_call is None:
            return []
        found = ((index, self.check_call(call["function"])) for index, call in sorted(choice.calls.items()))
        return [{"index": index, "error": problem} for index, problem in found if problem is not None]

    def chunks(self, event: Event) -> list[dict[str, Any]]:
        """The chunks that an event of a streamed request gives."""
        assert isinstance(event, Piece | Final)
        choice = self.choices[event.position]
        deltas, probs = self._deltas(choice, event)
        out = []
        if not choice.started:
            choice.started = True
            out.append(self._chunk(event.position, {"role": "assistant", "content": ""}))
        if isinstance(event, Piece) and event.progress:
            out.append(self._chunk(event.position, {}) | {"prompt_progress": event.progress})
            return out
        for delta in deltas:
            choice.merge(delta)
            out.append(self._chunk(event.position, self._legacy(delta), probs))
            probs = []
        if probs:
            out.append(self._chunk(event.position, {}, probs))
        if isinstance(event, Final):
            problems = [] if self.legacy_functions else self._problems(choice)
            if problems:
                out.append(self._chunk(event.position, {"tool_calls": problems}))
            out.append(self._chunk(event.position, {}, ending=self._ending(choice)))
            self.close(out)
        return out

    def _legacy(self, delta: Delta) -> Delta:
        if not (self.legacy_functions and "tool_calls" in delta):
            return delta
        return {"function_call": delta["tool_calls"][0].get("function", {})}

    def _chunk(
        self,
        index: int,
        delta: Delta,
        probs: list[dict[str, Any]] | None = None,
        ending: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": {"content": probs} if probs else None,
            **(ending or {"finish_reason": None}),
        }
        return self.envelope("chat.completion.chunk", [choice])


class CompletionAssembler(_Assembler):
    """Builds a text completion, or its chunks.

    Args:
        model: The name to report.
        n: How many answers are generated.
        n_logprobs: Alternatives per token in ``logprobs``; None for no logprobs.
        include_usage: Send a last chunk that holds only the usage.
        echo: Text to put in front of every answer.
        offset: Characters before the first token that ``logprobs`` tells of.
        best: How many answers to report, the likeliest per token; None for all.
        piece: The bytes of a token, for ``logprobs``.
    """

    prefix = "cmpl-"

    def __init__(
        self,
        *,
        model: str,
        n: int = 1,
        n_logprobs: int | None = None,
        include_usage: bool = False,
        echo: str = "",
        offset: int = 0,
        best: int | None = None,
        piece: Callable[[int], bytes] | None = None,
    ) -> None:
        super().__init__(model=model, n=n, n_logprobs=n_logprobs, include_usage=include_usage, piece=piece)
        self.echo = echo
        self.offset = offset
        self.best = best
        self._prompt_logprobs: list[dict[str, Any]] = []

    def _text(self, choice: Choice, event: Piece | Final) -> tuple[str, list[dict[str, Any]]]:
        if isinstance(event, Final):
            choice.final = event
        elif event.prompt_probs is not None:
            top = self.n_logprobs or 0
            self._prompt_logprobs = [chat_logprob(entry, top) for entry in event.prompt_probs]
        if self.n_logprobs is None and self.best is None:
            return event.text, []
        probs = self.keep_probs(choice, event)
        return event.text, probs if self.n_logprobs is not None else []

    def add(self, event: Event) -> None:
        """Takes in an event of a request that is not streamed."""
        assert isinstance(event, Piece | Final)
        choice = self.choices[event.position]
        text, _ = self._text(choice, event)
        choice.text.append(text)

    def response(self) -> dict[str, Any]:
        """The text completion."""
        order = self.choices
        if self.best is not None:
            order = sorted(order, key=lambda c: mean_logprob(c.logprobs), reverse=True)[: self.best]
        choices = [self._finished(i, choice) for i, choice in enumerate(order)]
        out = self.envelope("text_completion", choices)
        out["usage"] = self.usage()
        out["timings"] = self.timings()
        return out

    def _finished(self, index: int, choice: Choice) -> dict[str, Any]:
        logprobs = None
        if self.n_logprobs is not None:
            logprobs = completion_logprobs([*self._prompt_logprobs, *choice.logprobs], self.offset)
        return {
            "text": self.echo + "".join(choice.text),
            "index": index,
            "logprobs": logprobs,
            **choice.ending,
        }

    def chunks(self, event: Event) -> list[dict[str, Any]]:
        """The chunks that an event of a streamed request gives."""
        assert isinstance(event, Piece | Final)
        if isinstance(event, Piece) and event.progress:
            return [self._chunk(event.position, "", None) | {"prompt_progress": event.progress}]
        choice = self.choices[event.position]
        offset = self.offset + sum(len(entry["token"]) for entry in choice.logprobs)
        text, probs = self._text(choice, event)
        if not choice.started:
            choice.started = True
            text = self.echo + text
            probs = [*self._prompt_logprobs, *probs]
        elif self._prompt_logprobs:
            offset += sum(len(entry["token"]) for entry in self._prompt_logprobs)
        out = []
        if text or probs:
            logprobs = completion_logprobs(probs, offset) if probs else None
            out.append(self._chunk(event.position, text, logprobs))
        if isinstance(event, Final):
            out.append(self._chunk(event.position, "", None, choice.ending))
            self.close(out)
        return out

    def _chunk(
        self, index: int, text: str, logprobs: dict[str, Any] | None, ending: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"text": text, "index": index, "logprobs": logprobs, **(ending or {"finish_reason": None})}
        return self.envelope("text_completion", [choice])
