"""Paired measurements: both sides in turn, many times, and the median of the ratios.

A machine's speed drifts; two runs taken in turn see the same drift, so their ratio is steadier than either.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "find_tool", "paired", "run_json", "table"]

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build" / "bench" / "bin"


def find_tool(name: str) -> Path:
    """A program of llama.cpp, built from the same source by ``make bench-tools``."""
    path = TOOLS / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make bench-tools` first")
    return path


def run_json(*command: Any) -> list[dict[str, Any]]:
    """The JSON objects that a program prints: as one list, or one per line."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    if done.stdout.lstrip().startswith("["):
        return list(json.loads(done.stdout))
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def paired(ours: Callable[[], float], peer: Callable[[], float], pairs: int) -> dict[str, float]:
    """Medians of both sides and of their ratio over ``pairs`` runs in turn, after one of each to warm up."""
    ours()
    peer()
    left, right = [], []
    for i in range(pairs):
        for side, out in ((ours, left), (peer, right)) if i % 2 else ((peer, right), (ours, left)):
            out.append(side())
    ratios = [a / b for a, b in zip(left, right, strict=True)]
    return {
        "ours": statistics.median(left),
        "peer": statistics.median(right),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def table(rows: dict[str, dict[str, float]], unit: str) -> str:
    """A Markdown table of paired results."""
    lines = [f"| | ours, {unit} | peer, {unit} | ratio | ratio, min to max |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        spread = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        lines.append(f"| {name} | {row['ours']:.1f} | {row['peer']:.1f} | {row['ratio']:.3f} | {spread} |")
    return "\n".join(lines)
