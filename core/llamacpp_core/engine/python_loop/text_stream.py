"""From the bytes of tokens to text that can be handed out: whole characters, and no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from llamacpp_core.engine.text import partial_suffix

__all__ = ["TextStream"]


class TextStream:
    """Collects token pieces.

    Args:
        stops: Strings that end the text.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.held = ""
        self.stopped_by = ""

    def feed(self, piece: bytes) -> str:
        """Text that a further piece makes certain; sets ``stopped_by`` when a stop string has come."""
        self.held += self._decoder.decode(piece)
        found = min(((at, stop) for stop in self._stops if (at := self.held.find(stop)) >= 0), default=None)
        if found is not None:
            at, self.stopped_by = found
            ready, self.held = self.held[:at], ""
            return ready
        keep = partial_suffix(self.held, *self._stops)
        ready, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return ready

    def finish(self) -> str:
        """What was held back; a character that is still incomplete is left out."""
        held, self.held = self.held, ""
        return held
