"""From the engine's events to vectors and scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.engine.engine import TASK_EMBEDDING
from llamacpp_core.engine.events import Event, Final, Score, Vectors
from llamacpp_core.engine.plan import Plan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EmbeddingBatch", "JoinedBatches", "RerankBatch", "normalize"]


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to Euclidean length 1; a zero row stays zero."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    out: NDArray[np.float32] = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return out


class EmbeddingBatch:
    """The texts of one call, as pieces that fit into the model, and how their vectors come together.

    Attributes:
        plan: The pieces' tokens; None when there is nothing to compute.
        n_tokens: Tokens of all pieces.
    """

    def __init__(
        self,
        plan: Plan | None,
        owners: Sequence[int],
        lengths: Sequence[int],
        n_texts: int,
        unit: bool,
        dim: int,
    ) -> None:
        self.plan = plan
        self.kind = TASK_EMBEDDING
        self.params: dict[str, Any] = {"embd_normalize": 2 if unit else -1}
        self.n_tokens = sum(lengths)
        self._owners = owners
        self._lengths = lengths
        self._n_texts = n_texts
        self._unit = unit
        self._dim = dim
        self._rows: list[NDArray[np.float32] | None] = [None] * len(owners)
        self._left = len(owners)

    @property
    def done(self) -> bool:
        """Whether every piece has its vector."""
        return not self._left

    def add(self, event: Event) -> None:
        """Takes in the vector of one piece."""
        if isinstance(event, Vectors):
            self.put(event.position, event.rows)

    def put(self, position: int, rows: NDArray[np.float32]) -> None:
        """Takes in the vector of the piece at a position."""
        self._rows[position] = rows
        self._left -= 1

    @property
    def n_pieces(self) -> int:
        """How many vectors come together."""
        return len(self._owners)

    def vectors(self) -> NDArray[np.float32]:
        """The vectors, shape [n_texts, dim].

        A text in several pieces has the mean of their vectors, weighted by their tokens.
        """
        import numpy as np

        out = np.zeros((self._n_texts, self._dim), dtype=np.float32)
        weights = np.zeros((self._n_texts, 1), dtype=np.float32)
        for row, owner, length in zip(self._rows, self._owners, self._lengths, strict=True):
            assert row is not None
            out[owner] += row[0] * length
            weights[owner] += length
        if len(self._owners) == self._n_texts:
            return np.concatenate([row for row in self._rows if row is not None]) if self._n_texts else out
        out /= np.maximum(weights, 1)
        return normalize(out) if self._unit else out


class JoinedBatches:
    """Batches that are computed in one request of the engine.

    Attributes:
        plan: The tokens of all pieces.
    """

    def __init__(self, plan: Plan, batches: Sequence[EmbeddingBatch]) -> None:
        self.plan = plan
        self.kind = TASK_EMBEDDING
        self.params = batches[0].params
        self._places = [(at, i) for at, batch in enumerate(batches) for i in range(batch.n_pieces)]
        self._batches = batches

    def add(self, event: Event) -> int | None:
        """Takes in the vector of one piece; returns which batch is done by it, if one is."""
        if not isinstance(event, Vectors):
            return None
        at, position = self._places[event.position]
        self._batches[at].put(position, event.rows)
        return at if self._batches[at].done else None


class RerankBatch:
    """One score per document of one call.

    Attributes:
        n_tokens: Tokens of all prompts.
    """

    def __init__(self, plan: Plan, kind: int, params: dict[str, Any], n: int) -> None:
        self.n_tokens = sum(plan.n_tokens(i) for i in range(plan.n_prompts))
        self.plan: Plan | None = plan
        self.kind = kind
        self.params = params
        self.scores = [math.nan] * n
        self._left = n

    @property
    def done(self) -> bool:
        """Whether every document has its score."""
        return not self._left

    def add(self, event: Event) -> None:
        """Takes in the score of one document."""
        if isinstance(event, Score | Final):
            self.scores[event.position] = event.value if isinstance(event, Score) else _yes(event)
            self._left -= 1


def _yes(event: Final) -> float:
    """P(yes) / (P(yes) + P(no)) over the first token of the answer, in any case and with a leading space."""
    mass = {"yes": 0.0, "no": 0.0}
    for entry in event.probs[0]["top_logprobs"] if event.probs else ():
        word = entry["token"].strip().lower()
        if word in mass:
            mass[word] += math.exp(entry["logprob"])
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total > 0 else 0.0
