"""The parts of an answer: reasoning, text and tool calls, whole or as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ["Block", "BlockReader", "Step", "blocks_of"]

Kind = Literal["reasoning", "text", "call"]


@dataclasses.dataclass(slots=True)
class Block:
    """A part of an answer.

    Attributes:
        index: Its place in the answer.
        kind: What it is.
        text: Its text so far; of a call, its arguments.
        id: The id of a call.
        name: The tool that a call calls.
        logprobs: The log-probabilities of its tokens, in OpenAI's form.
    """

    index: int
    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    logprobs: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to a block.

    Attributes:
        what: It begins, gets a piece, or ends.
        block: The block.
        piece: The piece of text.
        logprobs: Those of the piece.
    """

    what: Literal["begin", "piece", "end"]
    block: Block
    piece: str = ""
    logprobs: list[Any] = dataclasses.field(default_factory=list)


class BlockReader:
    """Finds the blocks in the chunks of one answer.

    Attributes:
        blocks: The blocks so far.
        finish_reason: Why the answer ended; None before that.
        stop_reason: The stop string that ended it; None where none did.
        usage: Its tokens; None before its end.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.finish_reason: str | None = None
        self.stop_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self._open: Block | None = None
        self._call = -1

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Step]:
        """What a further chunk does."""
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            delta = choice["delta"]
            logprobs = (choice.get("logprobs") or {}).get("content") or []
            if delta.get("reasoning_content"):
                yield from self._piece("reasoning", delta["reasoning_content"])
            if delta.get("content"):
                yield from self._piece("text", delta["content"], logprobs)
            for call in delta.get("tool_calls") or ():
                yield from self._call_piece(call)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self.stop_reason = choice.get("stop_reason") or self.stop_reason

    def finish(self) -> Iterator[Step]:
        """What happens at the end."""
        if self._open is not None:
            yield Step("end", self._open)
            self._open = None

    def _begin(self, kind: Kind, call_id: str = "", name: str = "") -> Iterator[Step]:
        yield from self.finish()
        self._open = Block(len(self.blocks), kind, id=call_id, name=name)
        self.blocks.append(self._open)
        yield Step("begin", self._open)

    def _piece(self, kind: Kind, text: str, logprobs: list[Any] | None = None) -> Iterator[Step]:
        if self._open is None or self._open.kind != kind:
            yield from self._begin(kind)
        assert self._open is not None
        self._open.text += text
        self._open.logprobs += logprobs or []
        yield Step("piece", self._open, text, logprobs or [])

    def _call_piece(self, call: Mapping[str, Any]) -> Iterator[Step]:
        function = call.get("function") or {}
        if call["index"] != self._call or self._open is None or self._open.kind != "call":
            self._call = call["index"]
            yield from self._begin("call", call.get("id") or "", function.get("name") or "")
        if function.get("arguments"):
            yield from self._piece("call", function["arguments"])


def blocks_of(choice: Mapping[str, Any]) -> list[Block]:
    """The blocks of a whole answer."""
    reader, message = BlockReader(), choice["message"]
    calls = [{**call, "index": i} for i, call in enumerate(message.get("tool_calls") or ())]
    delta = {**message, "tool_calls": calls}
    for _ in reader.feed({"choices": [{**choice, "delta": delta}]}):
        pass
    return reader.blocks
