"""What a request gives while it runs: typed, and read once from the native layer's bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llamacpp_core.native import ffi, lib

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Event", "Final", "NativeEvent", "Piece", "Score", "Vectors"]


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A piece of generated text.

    Attributes:
        position: Which of the request's answers it belongs to.
        text: The text.
        probs: The log-probabilities of the tokens that came with it, in llama-server's form.
        prompt_probs: Those of the prompt's tokens; None where they are not reported.
        progress: How far the prompt is read, in llama-server's form; None where that is not reported.
    """

    position: int
    text: str = ""
    probs: Sequence[dict[str, Any]] = ()
    prompt_probs: Sequence[dict[str, Any]] | None = None
    progress: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Final:
    """The end of one answer.

    Attributes:
        position: Which of the request's answers has ended.
        stop_type: "eos", "word" (a stop string) or "limit".
        stopping_word: The stop string that ended it; empty for none.
        n_prompt: Tokens of the prompt.
        n_cached: Those of them that were in the cache.
        n_decoded: Tokens of the answer.
        timings: llama.cpp's timings.
        text: Text that has not come in pieces.
        id_slot: The engine's slot that holds the conversation; -1 for none.
        id_task: By which the engine knows that it is still there.
        probs: The log-probabilities of the tokens that came with the text.
    """

    position: int
    stop_type: str
    n_prompt: int
    n_cached: int
    n_decoded: int
    timings: dict[str, Any]
    text: str = ""
    id_slot: int = -1
    id_task: int = -1
    probs: Sequence[dict[str, Any]] = ()
    stopping_word: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of one input.

    Attributes:
        position: Which of the request's inputs they belong to.
        rows: float32, shape [n, dim].
    """

    position: int
    rows: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """The score of one document.

    Attributes:
        position: Which of the request's documents it belongs to.
        value: The score.
    """

    position: int
    value: float


Event = Piece | Final | Vectors | Score


class NativeEvent(NamedTuple):
    """A copy of an ``lc_event``, whose memory is only lent."""

    request: int
    kind: int
    position: int
    data: bytes
    is_last: bool
    shape: tuple[int, int]

    @classmethod
    def copy(cls, event: Any) -> NativeEvent:
        """Copies an ``lc_event``."""
        data = ffi.buffer(event.data, event.size)[:]
        shape = (event.n_rows, event.n_cols)
        return cls(event.request, event.kind, event.index, data, bool(event.is_last), shape)

    @property
    def is_error(self) -> bool:
        """Whether the request has failed."""
        return bool(self.kind == lib.LC_EVENT_ERROR)

    @property
    def report(self) -> dict[str, Any]:
        """The report of an error."""
        value: dict[str, Any] = json.loads(self.data)
        return value

    def read(self) -> Event:
        """The event."""
        if self.kind == lib.LC_EVENT_TEXT:
            return Piece(self.position, self.data.decode("utf-8", "replace"))
        if self.kind == lib.LC_EVENT_EMBEDDING:
            import numpy as np

            return Vectors(self.position, np.frombuffer(self.data, dtype=np.float32).reshape(self.shape))
        if self.kind == lib.LC_EVENT_SCORE:
            from struct import unpack

            return Score(self.position, float(unpack("f", self.data)[0]))
        kind = Final if self.kind == lib.LC_EVENT_FINAL else Piece
        body = json.loads(self.data)
        return kind(self.position, **{name: body[name] for name in _FIELDS[kind] if name in body})


_FIELDS: dict[type[Piece | Final], tuple[str, ...]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind) if field.name != "position")
    for kind in (Piece, Final)
}
