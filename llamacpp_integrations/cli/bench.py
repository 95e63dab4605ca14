"""``llamacpp bench``: how fast a model runs on this machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_core._checks import require
from llamacpp_integrations.cli import measure
from llamacpp_integrations.cli.shared import (
    CHAT_MODEL,
    GpuLayers,
    Json,
    Model,
    Threads,
    console,
    print_json,
    writable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamacpp_core import Llama

__all__ = ["register"]

_CONCURRENCY = "1,2,4,8,16"
_HELP = """Measure how fast a model runs on this machine.

Speed of reading the prompt and of generating for one request alone, then tokens per second for several
requests at once; of an embedding model, texts per second. Medians over the repeats."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("bench", help=_HELP)(bench_command)


def bench_command(
    model: Model = CHAT_MODEL,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of each prompt, or of each text.")] = 64,
    generate: Annotated[int, typer.Option(min=1, help="Tokens generated for each.")] = 32,
    concurrency: Annotated[
        str, typer.Option(help="Numbers of requests at once, or of texts in a call.")
    ] = _CONCURRENCY,
    repeats: Annotated[int, typer.Option("--repeats", "-r", min=1, help="Measurements of each.")] = 3,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the throughput into this PNG, SVG or PDF; needs the extra 'plot'."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure speed."""
    levels = _levels(concurrency)
    if plot is not None:
        require("matplotlib", "--plot", extra="plot")
        if plot.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise typer.BadParameter("the name must end in .png, .svg or .pdf", param_hint="--plot")
        writable(plot, "--plot")
    from llamacpp_core import Llama
    from llamacpp_core.models import resolve_model

    options: dict[str, Any] = {"n_gpu_layers": n_gpu_layers, "n_threads": threads}
    if not resolve_model(model).embedding:
        options |= {"n_ctx": prompt + generate + 8, "n_parallel": max(levels)}
    start = time.perf_counter()
    with Llama(model, **options) as llm:
        result = _about(llm, time.perf_counter() - start) | {
            "prompt_tokens": prompt,
            "repeats": repeats,
        }
        if llm.info.capabilities.completion:
            result |= {"generated_tokens": generate} | _generation(llm, prompt, generate, levels, repeats)
        else:
            result |= _embedding(llm, prompt, levels, repeats)
    if plot is not None:
        _draw(result, plot)
    if as_json:
        print_json(result)
    else:
        _print(result)


def _levels(given: str) -> list[int]:
    try:
        levels = sorted({int(part) for part in given.split(",")})
    except ValueError:
        levels = [0]
    if levels[0] < 1 or levels[-1] > 256:
        raise typer.BadParameter(
            f"{given!r} is not a list such as {_CONCURRENCY}, from 1 to 256", param_hint="--concurrency"
        )
    return levels


def _about(llm: Llama, load_seconds: float) -> dict[str, Any]:
    from llamacpp_core.native.build_info import build_info

    info, build = llm.info, build_info()
    return {
        "model": info.name,
        "quantization": info.quantization,
        "size_bytes": info.size_bytes,
        "llama_cpp": build["llama_cpp"],
        "devices": [device["description"] for device in build["devices"]],
        "threads": info.n_threads,
        "load_seconds": load_seconds,
    }


def _generation(
    llm: Llama, n_prompt: int, n_generate: int, levels: list[int], repeats: int
) -> dict[str, Any]:
    steps: list[Callable[[], dict[str, float]]] = [lambda: measure.one_request(llm, n_prompt, n_generate)]
    steps += [lambda n=n: measure.throughput(llm, n, n_prompt, n_generate) for n in levels]  # type: ignore[misc]
    steps[0]()  # the first request warms caches that later ones find warm
    alone, *together = _measured(steps, repeats)
    return {"one_request": alone, "throughput": together}


def _embedding(llm: Llama, n_tokens: int, levels: list[int], repeats: int) -> dict[str, Any]:
    n_tokens = min(n_tokens, llm.info.n_ctx, llm.info.n_ubatch)
    measure.embedding_speed(llm, 1, n_tokens)
    steps: list[Callable[[], dict[str, float]]]
    steps = [lambda n=n: measure.embedding_speed(llm, n, n_tokens) for n in levels]  # type: ignore[misc]
    return {"prompt_tokens": n_tokens, "throughput": _measured(steps, repeats)}


def _measured(steps: list[Callable[[], dict[str, float]]], repeats: int) -> list[dict[str, float]]:
    """Takes the steps in turn, so that a machine that changes its speed changes it for all of them."""
    from tqdm.auto import tqdm

    runs: list[list[dict[str, float]]] = [[] for _ in steps]
    total, off = len(steps) * repeats, not sys.stderr.isatty()
    with tqdm(total=total, desc="measuring", file=sys.stderr, leave=False, disable=off) as bar:
        for _ in range(repeats):
            for step, seen in zip(steps, runs, strict=True):
                seen.append(step())
                bar.update()
    return [measure.speed(seen) for seen in runs]


def _print(result: dict[str, Any]) -> None:
    from rich.table import Table

    out = console()
    out.print(
        f"{result['model']} ({result['quantization']}), llama.cpp {result['llama_cpp']}, "
        f"{result['threads']} threads, {', '.join(result['devices'])}"
    )
    out.print(
        f"loaded in {result['load_seconds']:.2f} s; medians of {result['repeats']}, "
        "slowest to fastest in brackets\n"
    )
    if alone := result.get("one_request"):
        table = Table("one request", "tokens/s", "", box=None, pad_edge=False)
        table.columns[1].justify = "right"
        table.add_row(f"reading {result['prompt_tokens']} tokens", *_spread(alone, "prompt"))
        table.add_row(f"generating {result['generated_tokens']} tokens", *_spread(alone, "generation"))
        out.print(table)
        out.print(f"first token after {alone['first_token_ms']:.0f} ms\n")
    key, name = (
        ("generated_per_second", "generated/s")
        if "one_request" in result
        else ("texts_per_second", "texts/s")
    )
    first = "requests at once" if "one_request" in result else "texts in a call"
    table = Table(first, "tokens/s", "", name, "speed-up", box=None, pad_edge=False)
    for column in (0, 1, 3, 4):
        table.columns[column].justify = "right"
    base = result["throughput"][0]["tokens_per_second"]
    for row in result["throughput"]:
        table.add_row(
            str(round(row["concurrency"])),
            *_spread(row, "tokens_per_second"),
            f"{row[key]:,.1f}",
            f"{row['tokens_per_second'] / base:.2f}x",
        )
    out.print(table)


def _spread(row: dict[str, float], key: str) -> tuple[str, str]:
    return f"{row[key]:,.1f}", f"({row[f'{key}_min']:,.1f} to {row[f'{key}_max']:,.1f})"


def _draw(result: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    from llamacpp_core.display import plot

    figure = Figure(figsize=(6, 3.8), layout="constrained")
    ax = plot.throughput(result["throughput"], ax=figure.add_subplot())
    embedding = "one_request" not in result
    ax.set_title(f"{result['model']}, {result['threads']} threads", fontsize=11)
    ax.set_xlabel("texts in a call" if embedding else "requests at once")
    ax.set_ylabel("tokens per second" if embedding else "tokens per second, read and generated")
    figure.savefig(path, dpi=150)
    print(f"plot: {path}", file=sys.stderr)
