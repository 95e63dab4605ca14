"""The tokens that a sampler chooses from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from llamacpp_core._checks import integer
from llamacpp_core.errors import EngineError, InvalidParameterError
from llamacpp_core.native import ffi

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Candidates"]


class _Gone:
    """Stands in for native candidates after the call that lent them."""

    def __getattr__(self, name: str) -> NoReturn:
        raise EngineError(
            "these candidates were lent for the sampler's call and are gone: copy what you keep of them"
        )


class Candidates:
    """Token ids with their logits and probabilities: what a sampler looks at and changes.

    Make one from logits with :meth:`from_logits`; a sampler written in Python is given one that is
    valid during its call only.

    ``ids``, ``logits`` and ``probs`` are views: writing to ``logits`` changes what the next sampler sees.
    Probabilities are what an earlier sampler left there, 0 at first; :meth:`softmax` computes them.
    """

    def __init__(self, native: Any, keeps: object = None) -> None:
        self._native = native
        self._keeps = keeps

    @classmethod
    def from_logits(cls, logits: NDArray[np.float32]) -> Candidates:
        """Makes candidates of a whole vocabulary from its logits, copied."""
        import numpy as np

        try:
            values = np.asarray(logits, dtype=np.float32)
        except (TypeError, ValueError):
            raise InvalidParameterError("logits must be numbers", parameter="logits") from None
        if values.ndim != 1 or not values.size:
            raise InvalidParameterError(
                f"logits must have shape [n_vocab], not {values.shape}", parameter="logits"
            )
        data = ffi.new("llama_token_data[]", values.size)
        array = ffi.new("llama_token_data_array *", {"data": data, "size": values.size, "selected": -1})
        candidates = cls(array, keeps=data)
        records = candidates._records
        records["id"] = np.arange(values.size, dtype=np.int32)
        records["logit"] = values
        return candidates

    def _end(self) -> None:
        """What this was a view of is gone: nothing can be read from it any more."""
        self._native = _Gone()

    @property
    def _records(self) -> NDArray[np.void]:
        import numpy as np

        kind = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        size = int(self._native.size)
        return np.frombuffer(ffi.buffer(self._native.data, size * kind.itemsize), dtype=kind)

    def __len__(self) -> int:
        return int(self._native.size)

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids, [n]."""
        return self._records["id"]

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits, [n]; writable. Say ``sorted = False`` after changing their order."""
        return self._records["logit"]

    @property
    def probs(self) -> NDArray[np.float32]:
        """Probabilities, [n]."""
        return self._records["p"]

    @property
    def sorted(self) -> bool:
        """Whether the candidates are sorted by logit, highest first."""
        return bool(self._native.sorted)

    @sorted.setter
    def sorted(self, value: bool) -> None:
        self._native.sorted = value

    @property
    def selected(self) -> int | None:
        """The token id that was chosen, if any."""
        index = int(self._native.selected)
        return int(self._native.data[index].id) if 0 <= index < len(self) else None

    def select(self, index: int) -> None:
        """Chooses the candidate at ``index`` (an index in :attr:`ids`, not a token id)."""
        self._native.selected = integer(0, len(self) - 1)("index", index)

    def keep(self, which: NDArray[Any] | list[int]) -> None:
        """Drops all candidates but these.

        Args:
            which: A mask of booleans, [n], or indices in the order wanted.

        Raises:
            InvalidParameterError: Nothing would be left, or an index is out of range.
        """
        import numpy as np

        records = self._records
        chosen = np.asarray(which)
        if chosen.dtype == bool and chosen.shape != records.shape:
            raise InvalidParameterError(
                f"the mask has shape {chosen.shape}, not {records.shape}", parameter="which"
            )
        try:
            kept = records[chosen].copy()
        except IndexError as error:
            raise InvalidParameterError(f"which: {error}", parameter="which") from error
        if not 0 < kept.size <= records.size or kept.ndim != 1:
            raise InvalidParameterError(
                f"a sampler must leave 1 to {records.size} candidates, not {kept.size}", parameter="which"
            )
        records[: kept.size] = kept
        self._native.size = kept.size
        self._native.selected = -1

    def softmax(self) -> NDArray[np.float32]:
        """Computes :attr:`probs` from the logits and returns it."""
        import numpy as np

        logits = self.logits
        probs = self.probs
        np.exp(logits - logits.max(), out=probs)
        probs /= probs.sum()
        return probs
