"""Embeddings as coloured strips, and ranked documents as bars."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamacpp_core.display.markup import Html, escape, fragment, terminal_text
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["as_matrix", "embedding_html", "rerank_html"]

_HIGH, _LOW = (59, 130, 246), (249, 115, 22)
_SHOWN = 50
_LABEL = 60


def embedding_html(vectors: Any, labels: Sequence[str] | None = None) -> Html:
    """Embeddings, each as a strip with one cell per dimension: blue is positive, orange negative.

    Args:
        vectors: What ``embed`` or ``create_embedding`` returns, or numbers of shape [dim] or [n, dim].
        labels: A text for each vector.

    Raises:
        InvalidParameterError: These are not vectors of one length, or the labels are not as many.
    """
    import numpy as np

    rows = as_matrix(vectors)
    n, dim = rows.shape
    names = [str(i) for i in range(n)] if labels is None else [str(label) for label in labels]
    if len(names) != n:
        raise InvalidParameterError(f"{n} vectors need {n} labels, got {len(names)}", parameter="labels")
    head = f"{n} embedding{'' if n == 1 else 's'} · {dim} dimensions"
    if not n:
        return fragment(f'<div class="lcpp-dim">{head}</div>', head)
    # One very large dimension, which many models have, must not wash out the others.
    limit = float(np.quantile(np.abs(rows[:_SHOWN]), 0.99)) or 1.0
    body, lines = [], [head]
    for name, row in zip(names[:_SHOWN], rows[:_SHOWN], strict=True):
        norm = float(np.linalg.norm(row))
        picture = base64.b64encode(_strip(row / limit)).decode()
        first = ", ".join(f"{x:.3f}" for x in row[:4]) + (", …" if dim > 4 else "")
        name = _short(name)
        body.append(
            f'<tr><td>{escape(name)}</td><td><img class="lcpp-vec" alt="{dim} values" '
            f'title="{first}" src="data:image/png;base64,{picture}"></td>'
            f'<td class="lcpp-n">length {norm:.3f}</td></tr>'
        )
        lines.append(terminal_text(f"{name}  [{first}]  length {norm:.3f}"))
    rest = f"… and {n - _SHOWN} more" if n > _SHOWN else ""
    if rest:
        lines.append(rest)
    table = f'<table class="lcpp-t"><tbody>{"".join(body)}</tbody></table>'
    return fragment(
        f'<div class="lcpp-dim">{head}</div>{table}<div class="lcpp-dim">{rest}</div>', "\n".join(lines)
    )


def as_matrix(vectors: Any) -> NDArray[np.float64]:
    """Vectors in any form as an array of shape [n, dim].

    Raises:
        InvalidParameterError: They are not numbers, or not of one length.
    """
    import numpy as np

    if isinstance(vectors, Mapping):
        if vectors.get("object") != "list":
            raise InvalidParameterError(
                "vectors must be what embed or create_embedding returns", parameter="vectors"
            )
        vectors = [entry["embedding"] for entry in vectors["data"]]
    try:
        rows = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidParameterError(
            "vectors must be numbers, all rows of one length", parameter="vectors"
        ) from None
    if rows.ndim == 1:
        rows = rows.reshape(1, -1) if rows.size else rows.reshape(0, 0)
    if rows.ndim != 2:
        raise InvalidParameterError(
            f"vectors must have one or two dimensions, not {rows.ndim}", parameter="vectors"
        )
    return rows


def _strip(row: NDArray[np.float64]) -> bytes:
    """A PNG of one line, a pixel per value, whose opacity is the size of the value."""
    import numpy as np

    clipped = np.clip(np.nan_to_num(row), -1, 1)
    pixels = np.empty((len(row), 4), dtype=np.uint8)
    pixels[:, :3] = np.where(clipped[:, None] >= 0, np.array(_HIGH), np.array(_LOW))
    pixels[:, 3] = np.round(255 * np.abs(clipped))
    header = struct.pack(">IIBBBBB", len(row), 1, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"\0" + pixels.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rerank_html(results: Sequence[Mapping[str, Any]], documents: Sequence[str] | None = None) -> Html:
    """Ranked documents with their scores as bars.

    Args:
        results: What ``rerank`` returns.
        documents: The texts that were ranked, if the results do not hold them.

    Raises:
        InvalidParameterError: These are not ranked documents.
    """
    if isinstance(results, str) or not isinstance(results, Sequence):
        raise InvalidParameterError("results must be the list that rerank returns", parameter="results")
    for i, result in enumerate(results):
        if not isinstance(result, Mapping) or not {"index", "relevance_score"} <= set(result):
            raise InvalidParameterError(f"results[{i}] is not what rerank returns", parameter="results")
    scores = [float(result["relevance_score"]) for result in results]
    # Probabilities and cosines on a scale of 0 to 1; the scores of a cross-encoder over their own range.
    low, high = (0.0, 1.0) if all(0 <= s <= 1 for s in scores) else (min(scores), max(scores))
    body, lines = [], []
    for result, score in zip(results, scores, strict=True):
        text = result.get("document")
        if text is None and documents is not None:
            text = documents[result["index"]]
        share = (score - low) / (high - low) if high > low else 1.0
        body.append(
            f'<tr><td class="lcpp-n">{score:.3f}</td><td style="width:9em"><span class="lcpp-track">'
            f'<span class="lcpp-bar" style="width:{100 * share:.1f}%"></span></span></td>'
            f'<td class="lcpp-n">{escape(result["index"])}</td>'
            f'<td class="lcpp-text" dir="auto">{escape(text or "")}</td></tr>'
        )
        lines.append(terminal_text(f"{score:7.3f}  [{result['index']}] {_short(str(text or ''))}".rstrip()))
    head = f"{len(results)} document{'' if len(results) == 1 else 's'}, best first"
    return fragment(
        f'<div class="lcpp-dim">{head}</div><table class="lcpp-t"><tbody>{"".join(body)}</tbody></table>',
        "\n".join([head, *lines]),
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
