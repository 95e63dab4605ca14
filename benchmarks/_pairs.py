"""Paired measurements: all sides in turn, many times, and the median of the ratios.

A machine's speed drifts; runs taken in turn see the same drift, so their ratio is steadier than any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "ROOT",
    "arguments",
    "chosen",
    "compare",
    "find_tool",
    "in_turn",
    "machine",
    "paired",
    "report",
    "run_json",
    "table",
]

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build" / "bench" / "bin"
#: Features of a CPU that decide which of llama.cpp's kernels run, as ``/proc/cpuinfo`` names them.
_FEATURES = ("amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "i8mm", "sve", "asimd")

Row = dict[str, float]


# Measuring


def find_tool(name: str) -> Path:
    """A program of llama.cpp, built from the same source by ``make bench-tools``."""
    path = TOOLS / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `make bench-tools` first")
    return path


def run_json(*command: Any) -> list[dict[str, Any]]:
    """The JSON objects that a program prints: as one list, or one per line."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    if done.stdout.lstrip().startswith("["):
        return list(json.loads(done.stdout))
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def in_turn(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each side gives in each round; who begins changes from round to round."""
    names = list(sides)
    out: dict[str, list[Any]] = {name: [] for name in names}
    for i in range(rounds):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            out[name].append(sides[name]())
    return out


def compare(ours: Iterable[float], peer: Iterable[float], *, seconds: bool = False) -> Row:
    """Medians of both sides and of their ratio, round by round.

    Args:
        ours: Our figures, one a round.
        peer: The peer's.
        seconds: Less is better: the ratio is then the peer's time over ours, so that above 1 ours is faster.
    """
    left, right = list(ours), list(peer)
    ratios = [(b / a if seconds else a / b) for a, b in zip(left, right, strict=True)]
    return {
        "ours": statistics.median(left),
        "peer": statistics.median(right),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def paired(ours: Callable[[], float], peer: Callable[[], float], pairs: int) -> Row:
    """Medians of both sides and of their ratio over ``pairs`` runs in turn, after one of each to warm up."""
    ours()
    peer()
    got = in_turn({"peer": peer, "ours": ours}, pairs)
    return compare(got["ours"], got["peer"])


# The command line and what is printed


def arguments(description: str | None, *, pairs: int) -> argparse.ArgumentParser:
    """A command line with what every benchmark here takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=pairs, help="runs of each side, in turn")
    parser.add_argument("--threads", type=int, help="CPU threads of every side; by default one per core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    return parser


def chosen(text: str, known: Iterable[str], what: str) -> list[str]:
    """The names in a list with commas.

    Raises:
        SystemExit: One is unknown; says which there are.
    """
    names, given = list(known), [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in names:
            raise SystemExit(f"there is no {what} {name!r}: choose from {', '.join(names)}")
    return given


def machine() -> str:
    """The CPU, the cores that this process may use, and the features that decide on kernels."""
    name, flags = "", set()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and not name:
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    except OSError:
        pass
    if not name:
        import platform

        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = ", ".join(feature for feature in _FEATURES if feature in flags)
    return f"{name}, {cores} cores" + (f" ({found})" if found else "")


def table(rows: Mapping[str, Row], unit: str) -> str:
    """A Markdown table of paired results."""
    tail = f", {unit}" if unit else ""
    lines = [f"| | ours{tail} | peer{tail} | ratio | ratio, min to max |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        spread = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        ours, peer = (_short(row[side]) for side in ("ours", "peer"))
        lines.append(f"| {name} | {ours} | {peer} | {row['ratio']:.3f} | {spread} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits that count, at least one after the point."""
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def report(rows: Mapping[str, Row], unit: str, path: Path | None, **facts: Any) -> None:
    """Prints the machine, the facts and the table, and writes all of it as JSON where asked to."""
    facts = {"machine": machine()} | facts
    print("; ".join(f"{key}: {value}" for key, value in facts.items()))
    print(table(rows, unit))
    if path is not None:
        path.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1, default=str) + "\n", "utf-8")
