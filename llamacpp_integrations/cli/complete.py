"""``llamacpp complete``: continue a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_integrations.cli.shared import (
    CHAT_MODEL,
    ContextSize,
    GpuLayers,
    Json,
    MaxTokens,
    ModelOption,
    Seed,
    Temperature,
    Threads,
    print_json,
    read_text,
    write_text,
)

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("complete", help="Continue a text. The continuation goes to stdout.")(complete_command)


def complete_command(
    prompt: Annotated[
        str, typer.Argument(help="The text to continue; - reads it from stdin.", show_default=False)
    ] = "-",
    model: ModelOption = CHAT_MODEL,
    max_tokens: MaxTokens = 128,
    temperature: Temperature = 0.8,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens that together reach this.")] = 0.95,
    top_k: Annotated[int, typer.Option(help="Keep this many likeliest tokens; 0: all.")] = 40,
    min_p: Annotated[
        float, typer.Option(help="Drop tokens less likely than this part of the likeliest.")
    ] = 0.05,
    repeat_penalty: Annotated[float, typer.Option(help="Above 1 makes repetition less likely.")] = 1.0,
    seed: Seed = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Text that ends the answer; can be repeated.")
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(help="Text after the gap, for models that can fill in the middle.")
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt in front of it.")] = False,
    grammar: Annotated[Path | None, typer.Option(help="A GBNF file that the answer has to follow.")] = None,
    json_schema: Annotated[
        Path | None, typer.Option(help="A JSON schema that the answer has to follow.")
    ] = None,
    logprobs: Annotated[
        int | None, typer.Option(help="Log-probabilities of that many tokens at each place; needs --json.")
    ] = None,
    n_ctx: ContextSize = 0,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Continue a text."""
    if logprobs is not None and not as_json:
        raise typer.BadParameter("needs --json", param_hint="--logprobs")
    text = _prompt(prompt)
    options: dict[str, Any] = {
        "max_tokens": max_tokens or None,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repeat_penalty": repeat_penalty,
        "seed": seed,
        "stop": stop or None,
        "suffix": suffix,
        "echo": echo,
        "grammar": _grammar(grammar, json_schema),
        "logprobs": logprobs,
    }
    from llamacpp_core import Llama

    with Llama(model, n_ctx=n_ctx, n_parallel=1, n_gpu_layers=n_gpu_layers, n_threads=threads) as llm:
        if as_json:
            print_json(llm.create_completion(text, **options))
        else:
            _stream(llm, text, options)


def _prompt(given: str) -> str:
    if given != "-":
        return given
    if sys.stdin.isatty():
        print("Type the text, then Ctrl-D.", file=sys.stderr)
    try:
        return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise typer.BadParameter("stdin is not UTF-8 text", param_hint="PROMPT") from None


def _grammar(grammar: Path | None, schema: Path | None) -> Any:
    if grammar is not None and schema is not None:
        raise typer.BadParameter("give --grammar or --json-schema, not both", param_hint="--json-schema")
    from llamacpp_core.grammar import LlamaGrammar

    if grammar is not None:
        return LlamaGrammar.from_string(read_text(grammar, "--grammar"))
    return None if schema is None else LlamaGrammar.from_json_schema(read_text(schema, "--json-schema"))


def _stream(llm: Llama, text: str, options: dict[str, Any]) -> None:
    stream: Any = llm.create_completion(text, stream=True, **options)
    try:
        for chunk in stream:
            write_text(chunk["choices"][0]["text"])
    finally:
        stream.close()
        write_text("\n")
