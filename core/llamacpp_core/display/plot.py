"""Plots for notebooks and reports, with matplotlib: ``pip install "llamacpp-integrations[plot]"``.

Each function draws into ``ax``, or into a new figure of ``matplotlib.pyplot``, and returns the axes, so that
titles, limits and files are in the caller's hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core._checks import require
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["similarity_matrix", "throughput", "token_probabilities"]

_HIGH, _LOW = "#3b82f6", "#f97316"
_MOST_TOKENS = 120
_CELLS_WITH_NUMBERS = 12


def token_probabilities(
    response: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, index: int = 0, ax: Axes | None = None
) -> Axes:
    """The probability of each token of an answer, as bars over the text.

    Args:
        response: A completion with log-probabilities, or the chunks of a streamed one.
        index: Which answer, of several.
        ax: Where to draw; None for a new figure.

    Raises:
        InvalidParameterError: It holds no log-probabilities, or more tokens than can be read.
        MissingDependencyError: matplotlib is not installed.
    """
    from llamacpp_core.display.tokens import token_choices, visible

    tokens = [token for token in token_choices(response, index) if token.probability is not None]
    if len(tokens) > _MOST_TOKENS:
        raise InvalidParameterError(
            f"{len(tokens)} tokens do not fit into one plot ({_MOST_TOKENS} do): use display.tokens_html",
            parameter="response",
        )
    ax = ax if ax is not None else _axes(max(5.0, 0.28 * len(tokens) + 1.2), 3.2)
    heights = [token.probability or 0.0 for token in tokens]
    ax.bar(range(len(tokens)), heights, color=[_HIGH if p >= 0.5 else _LOW for p in heights], width=0.85)
    labels = [_label(visible(token.token)) for token in tokens]
    ax.set_xticks(range(len(tokens)), labels, rotation=90, fontfamily="monospace", fontsize=9)
    ax.set_xlim(-0.6, len(tokens) - 0.4)
    ax.set_ylim(0, 1)
    ax.set_ylabel("probability")
    _plain(ax)
    return ax


def throughput(
    rows: Mapping[int, float] | Sequence[Mapping[str, Any]],
    *,
    label: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Tokens per second over the number of requests at once.

    Args:
        rows: Tokens per second by number of requests, or the rows of ``llamacpp bench --json``.
        label: Name of this line, for a legend; draw several into one ``ax``.
        ax: Where to draw; None for a new figure.

    Raises:
        InvalidParameterError: There are no rows, or they lack a number.
        MissingDependencyError: matplotlib is not installed.
    """
    points = _points(rows)
    ax = ax if ax is not None else _axes(5.5, 3.4)
    ax.plot([n for n, _ in points], [speed for _, speed in points], marker="o", label=label)
    ax.set_xscale("log", base=2)
    lines: list[Any] = list(ax.lines)
    ticks = sorted({float(n) for line in lines for n in line.get_xdata()})
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0, top=1.12 * max(float(y) for line in lines for y in line.get_ydata()))
    ax.set_xlabel("requests at once")
    ax.set_ylabel("tokens per second")
    ax.grid(axis="y", alpha=0.3)
    _plain(ax)
    if label is not None:
        ax.legend(frameon=False)
    return ax


def similarity_matrix(vectors: Any, labels: Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
    """The cosine similarity of each text to each other.

    Args:
        vectors: What ``embed`` or ``create_embedding`` returns, shape [n, dim].
        labels: A text for each vector.
        ax: Where to draw; None for a new figure.

    Raises:
        InvalidParameterError: These are not vectors of one length, or the labels are not as many.
        MissingDependencyError: matplotlib is not installed.
    """
    import numpy as np

    from llamacpp_core.display.vectors import as_matrix

    rows = as_matrix(vectors)
    n = len(rows)
    if not n:
        raise InvalidParameterError("vectors must be at least one", parameter="vectors")
    if labels is not None and len(labels) != n:
        raise InvalidParameterError(f"{n} vectors need {n} labels, got {len(labels)}", parameter="labels")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    cosines = unit @ unit.T
    ax = ax if ax is not None else _axes(max(4.0, 0.5 * n + 2.5), max(3.2, 0.5 * n + 1.2))
    low = min(0.0, float(cosines.min()))
    image = ax.imshow(cosines, cmap="Blues", vmin=low, vmax=1)
    names = [str(i) for i in range(n)] if labels is None else [_label(label, 28) for label in labels]
    ax.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), names)
    if n <= _CELLS_WITH_NUMBERS:
        middle = (1 + low) / 2
        for i in range(n):
            for j in range(n):
                ink = "white" if cosines[i, j] > middle else "black"
                ax.text(j, i, f"{cosines[i, j]:.2f}", ha="center", va="center", color=ink, fontsize=8)
    ax.get_figure().colorbar(image, ax=ax, label="cosine similarity", shrink=0.8)  # type: ignore[union-attr]
    return ax


def _axes(width: float, height: float) -> Axes:
    plt: Any = require("matplotlib.pyplot", "a plot", extra="plot")
    axes: Axes = plt.subplots(figsize=(width, height), layout="constrained")[1]
    return axes


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _label(text: str, most: int = 14) -> str:
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")  # else matplotlib reads mathematics


def _points(rows: Any) -> list[tuple[float, float]]:
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        rows = ()
    pairs = rows.items() if isinstance(rows, Mapping) else [_pair(i, row) for i, row in enumerate(rows)]
    try:
        points = sorted((float(n), float(speed)) for n, speed in pairs)
    except (TypeError, ValueError):
        points = []
    if not points or points[0][0] <= 0:
        raise InvalidParameterError(
            "rows must map numbers of requests (1 or more) to tokens per second", parameter="rows"
        )
    return points


def _pair(index: int, row: Any) -> tuple[Any, Any]:
    try:
        return row["concurrency"], row["tokens_per_second"]
    except (TypeError, KeyError):
        raise InvalidParameterError(
            f"rows[{index}] must be a dict with concurrency and tokens_per_second", parameter=f"rows[{index}]"
        ) from None
