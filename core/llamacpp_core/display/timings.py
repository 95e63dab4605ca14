"""How long a request took, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamacpp_core.display.markup import Html, escape, fragment
from llamacpp_core.errors import InvalidParameterError

__all__ = ["timings_html", "timings_line"]


def timings_html(response: Mapping[str, Any]) -> Html:
    """Times and speeds of a request, as bars over the time it took.

    Args:
        response: A chat or text completion, the last chunk of a streamed one, or its ``timings``.

    Raises:
        InvalidParameterError: It holds no timings.
    """
    timings = _timings(response)
    rows = _phases(timings)
    total = sum(ms for _, _, ms, _, _ in rows) or 1.0
    lines, html = [], []
    for label, n, ms, rate, low in rows:
        speed = f"{rate:,.0f} tokens/s" if n else ""
        html.append(
            f'<tr><th>{label}</th><td class="lcpp-n">{_tokens(n)}</td><td class="lcpp-n">{_time(ms)}</td>'
            f'<td class="lcpp-n">{speed}</td><td style="width:14em"><span class="lcpp-track">'
            f'<span class="lcpp-bar{low}" style="width:{100 * ms / total:.1f}%"></span></span></td></tr>'
        )
        lines.append(f"{label:<9} {_tokens(n):>13}  {_time(ms):>8}  {speed}".rstrip())
    notes = _notes(timings)
    if notes:
        html.append(f'<tr><td colspan="5" class="lcpp-dim">{escape(notes)}</td></tr>')
        lines.append(notes)
    return fragment(f'<table class="lcpp-t"><tbody>{"".join(html)}</tbody></table>', "\n".join(lines))


def timings_line(timings: Mapping[str, Any]) -> str:
    """Times and speeds in one line."""
    parts = [
        f"{label}: {_tokens(n)} in {_time(ms)}" + (f", {rate:,.0f} tokens/s" if n else "")
        for label, n, ms, rate, _ in _phases(timings)
    ]
    return " · ".join(filter(None, (*parts, _notes(timings))))


def _timings(response: Any) -> Mapping[str, Any]:
    found = response.get("timings", response) if isinstance(response, Mapping) else None
    if not found or "predicted_n" not in found:
        raise InvalidParameterError(
            "this holds no timings: give a whole completion, or the last chunk of a stream",
            parameter="response",
        )
    return found  # type: ignore[no-any-return]


def _phases(timings: Mapping[str, Any]) -> list[tuple[str, int, float, float, str]]:
    """Label, tokens, milliseconds, tokens per second and CSS class of reading and of writing."""
    out = []
    for label, key, low in (("prompt", "prompt", " lcpp-low"), ("generated", "predicted", "")):
        n, ms = int(timings[f"{key}_n"]), float(timings[f"{key}_ms"])
        out.append((label, n, ms, 1000 * n / ms if ms > 0 else 0.0, low))
    return out


def _notes(timings: Mapping[str, Any]) -> str:
    notes = []
    if timings.get("cache_n"):
        notes.append(f"{timings['cache_n']:,} more tokens of the prompt came from the cache")
    if timings.get("draft_n"):
        notes.append(
            f"{timings.get('draft_n_accepted', 0):,} of {timings['draft_n']:,} drafted tokens accepted"
        )
    return "; ".join(notes)


def _tokens(n: int) -> str:
    return "1 token" if n == 1 else f"{n:,} tokens"


def _time(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
