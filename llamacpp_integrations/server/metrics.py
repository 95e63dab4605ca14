"""Counters and histograms in Prometheus' text format."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
Labels = tuple[tuple[str, str], ...]

_HELP = {
    "llamacpp_requests_total": ("counter", "Requests that were answered, by route and status."),
    "llamacpp_disconnects_total": ("counter", "Requests whose client went away before the answer."),
    "llamacpp_refused_total": ("counter", "Requests refused because too many waited."),
    "llamacpp_prompt_tokens_total": ("counter", "Tokens of prompts, those from the cache included."),
    "llamacpp_cached_tokens_total": ("counter", "Tokens of prompts that came from the cache."),
    "llamacpp_generated_tokens_total": ("counter", "Tokens of answers."),
    "llamacpp_requests_in_flight": ("gauge", "Requests that wait or run."),
    "llamacpp_request_seconds": ("histogram", "Seconds from a request to the end of its answer."),
    "llamacpp_first_token_seconds": ("histogram", "Seconds from a request to its stream's first event."),
}


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Numbers about a server. Labels come from short fixed sets: routes, statuses, models."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, int]] = {
            name: {} for name, (kind, _) in _HELP.items() if kind != "histogram"
        }
        self._histograms: dict[str, dict[Labels, _Histogram]] = {
            name: {} for name, (kind, _) in _HELP.items() if kind == "histogram"
        }

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Adds to a counter or a gauge."""
        with self._lock:
            values, key = self._values[name], tuple(sorted(labels.items()))
            values[key] = values.get(key, 0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Adds a duration to a histogram."""
        with self._lock:
            found = self._histograms[name].setdefault(tuple(sorted(labels.items())), _Histogram())
            found.observe(seconds)

    def value(self, name: str, **labels: str) -> int:
        """A counter or gauge, 0 where nothing was added."""
        with self._lock:
            return self._values[name].get(tuple(sorted(labels.items())), 0)

    def text(self) -> str:
        """Everything, as Prometheus reads it."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name, (kind, help_text) in _HELP.items():
            yield f"# HELP {name} {help_text}"
            yield f"# TYPE {name} {kind}"
            for labels, value in self._values.get(name, {}).items():
                yield f"{name}{_shown(labels)} {value!r}"
            for labels, histogram in self._histograms.get(name, {}).items():
                yield from _histogram_lines(name, labels, histogram)


def _histogram_lines(name: str, labels: Labels, histogram: _Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip((*_SECONDS, "+Inf"), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket{_shown((*labels, ('le', str(bound))))} {total}"
    yield f"{name}_sum{_shown(labels)} {histogram.sum:.6f}"
    yield f"{name}_count{_shown(labels)} {total}"


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
