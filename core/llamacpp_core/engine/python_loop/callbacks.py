"""Python code inside a generation: logits processors and stopping criteria."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "LogitsProcessor",
    "LogitsProcessorList",
    "MinTokensLogitsProcessor",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "callbacks",
    "process_logits",
]

LogitsProcessor: TypeAlias = "Callable[[NDArray[np.intc], NDArray[np.float32]], NDArray[np.float32]]"
"""Takes the token ids so far, int32 of shape [n], and the logits of the next token, float32 of shape
[n_vocab]; returns logits of the same shape. It may change the array it is given."""

StoppingCriteria: TypeAlias = "Callable[[NDArray[np.intc], NDArray[np.float32]], bool]"
"""Takes what a logits processor takes, and says whether the generation is to end here."""


class LogitsProcessorList(list[Any]):
    """Logits processors, applied one after the other."""

    def __call__(self, input_ids: NDArray[np.intc], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits after all of them."""
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class StoppingCriteriaList(list[Any]):
    """Stopping criteria; one that says yes is enough."""

    def __call__(self, input_ids: NDArray[np.intc], logits: NDArray[np.float32]) -> bool:
        """Whether any of them says so. All are asked, so that criteria with a memory stay in step."""
        answers = [criterion(input_ids, logits) for criterion in self]
        return any(answers)


class MinTokensLogitsProcessor:
    """Forbids the end of the answer before it has some tokens.

    Args:
        min_tokens: Tokens that the answer has at least.
        token_eos: The token that ends an answer, :meth:`Llama.token_eos`.
    """

    def __init__(self, min_tokens: int, token_eos: int) -> None:
        self.min_tokens = min_tokens
        self.token_eos = token_eos
        self.prompt_tokens: int | None = None

    def __call__(self, input_ids: NDArray[np.intc], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits, without the end token as long as the answer is too short."""
        if self.prompt_tokens is None:
            self.prompt_tokens = len(input_ids)
        if len(input_ids) - self.prompt_tokens < self.min_tokens:
            scores[self.token_eos] = float("-inf")
        return scores


def callbacks(name: str, value: Any) -> list[Callable[..., Any]]:
    """The functions that a parameter holds: one, several in a list, or none.

    Raises:
        InvalidParameterError: Something is not callable.
    """
    if value is None:
        return []
    is_list = isinstance(value, LogitsProcessorList | StoppingCriteriaList)
    several = is_list or (isinstance(value, Iterable) and not callable(value))
    functions: list[Any] = []
    for i, function in enumerate(value if several else [value]):
        if not callable(function):
            raise InvalidParameterError(
                f"{name}[{i}] must be a function of (input_ids, logits), got a {type(function).__name__}",
                parameter=f"{name}[{i}]",
            )
        functions.append(function)
    return functions


def process_logits(
    processors: Sequence[Callable[..., Any]], input_ids: NDArray[np.intc], logits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The logits after all processors; those given are not changed.

    Raises:
        InvalidParameterError: A processor returned something that is not logits; names it.
    """
    import numpy as np

    if not processors:
        return logits
    scores = logits.copy()
    for i, processor in enumerate(processors):
        name = f"logits_processor[{i}]"
        returned = processor(input_ids, scores)
        try:
            scores = np.asarray(returned, dtype=np.float32)
        except (TypeError, ValueError):
            raise InvalidParameterError(
                f"{name} must return logits, got a {type(returned).__name__}", parameter=name
            ) from None
        if scores.shape != logits.shape:
            raise InvalidParameterError(
                f"{name} must return logits of shape {logits.shape}, got {scores.shape}", parameter=name
            )
        if np.isnan(scores).any() or np.isposinf(scores).any():
            raise InvalidParameterError(
                f"{name} returned NaN or +inf: logits are finite, or -inf", parameter=name
            )
    return scores
