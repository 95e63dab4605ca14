"""``llamacpp models``: list, pull, info, rm."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_core.display.facts import size_text
from llamacpp_core.errors import ModelNotFoundError
from llamacpp_integrations.cli.shared import Json, Model, console, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamacpp_core.models import ContextMemory, ModelFacts

__all__ = ["register"]

_WIDE = 72  # columns that a terminal needs for licenses and sources


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    models = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(models, name="models", help="Models: what there is, fetch one, what it is, delete it.")
    models.command("list", help="List the catalog and what is on disk.")(list_command)
    models.command("pull", help="Fetch a model.")(pull_command)
    models.command("info", help="Show what a model is and the memory it needs.")(info_command)
    models.command("rm", help="Delete a fetched model.")(remove_command)


def list_command(as_json: Json = False) -> None:
    """List the catalog."""
    from rich.table import Table

    from llamacpp_core.models import list_models

    listed = list_models()
    if as_json:
        print_json(
            [
                asdict(model.entry)
                | {"source": str(model.entry.source), "cached": model.cached, "path": model.path}
                for model in listed
            ]
        )
        return
    out = console()
    columns = ["name", "kind", "size", "cached", "license", "source"]
    table = Table(box=None, pad_edge=False)
    for name in columns if out.width >= _WIDE else columns[:4]:
        table.add_column(name, no_wrap=name in columns[:4], overflow="fold")
    for model in listed:
        entry = model.entry
        cached = "yes" if model.cached else "no"
        row = [entry.name, entry.kind, size_text(entry.size), cached, entry.license, str(entry.source)]
        table.add_row(*row[: len(table.columns)])
    out.print(table)


def pull_command(
    name: Model,
    force: Annotated[bool, typer.Option("--force", help="Fetch it again even when it is there.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole file against its checksum.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Type of the weights of a converted model: f32, f16, bf16, q8_0.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a model."""
    from llamacpp_core.models import pull

    model = pull(name, force=force, verify=verify, dtype=dtype)
    if as_json:
        print_json({"name": model.name, "path": model.path, "files": model.files, "source": model.source})
    else:
        typer.echo(model.path)


def info_command(
    name: Model,
    n_ctx: Annotated[
        int | None, typer.Option(help="Tell the memory for this context, of all requests together.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a model is."""
    from llamacpp_core.models import info

    model = info(name)
    memory = model.memory if n_ctx is None else _memory_for(model, n_ctx)
    can = _capabilities(model)
    if as_json:
        print_json(asdict(model) | {"memory": [asdict(row) for row in memory], "capabilities": can})
        return
    out = console()
    out.print(_facts(model, can))
    if memory:
        out.print()
        out.print(_memory_table(memory))
        if model.memory_is_upper_bound:
            out.print("Upper bounds: sliding-window or recurrent layers take less.")


def _memory_for(model: ModelFacts, n_ctx: int) -> tuple[ContextMemory, ...]:
    from llamacpp_core.models import ContextMemory, kv_cache_bytes, read_gguf_header

    if model.path is None:
        raise ModelNotFoundError(
            f"{model.name} is not on disk; fetch it with: llamacpp models pull {model.name}"
        )
    kv = kv_cache_bytes(read_gguf_header(model.path), n_ctx)
    return (ContextMemory(n_ctx, kv, (model.weights_bytes or 0) + kv),)


def _capabilities(model: ModelFacts) -> list[str] | None:
    """What the model can do, by its file alone; None while it has not been fetched."""
    if model.path is None:
        return None
    if model.kind != "chat":
        return ["embeddings", "reranking"] if model.kind == "embedding" else ["reranking"]
    from llamacpp_core.models import read_gguf_header

    template = read_gguf_header(model.path).chat_template or ""
    out = ["completion"]
    if template:
        native = "tools" in template
        out += ["chat", "tools in the model's own form" if native else "tools, described in the prompt"]
    if "think" in template:
        out.append("reasoning")
    return out


def remove_command(name: Model, as_json: Json = False) -> None:
    """Delete a fetched model."""
    from llamacpp_core.models import remove

    freed = remove(name)
    if as_json:
        print_json({"name": name, "freed_bytes": freed})
    else:
        typer.echo(f"deleted {name}: {size_text(freed)} freed")


def _facts(model: ModelFacts, can: list[str] | None) -> Any:
    from rich.table import Table
    from rich.text import Text

    template = {None: None, True: "yes", False: "no"}[model.chat_template]
    rows = {
        "name": model.name,
        "kind": model.kind,
        "model": model.model_name,
        "architecture": model.architecture,
        "parameters": None if model.n_params is None else f"{model.n_params:,}",
        "quantisation": model.quantization,
        "size": size_text(model.size_bytes),
        "trained context": None if model.context_length is None else f"{model.context_length:,} tokens",
        "embedding size": model.embedding_size,
        "layers": model.n_layers,
        "vocabulary": None if model.vocab_size is None else f"{model.vocab_size:,} tokens",
        "chat template": template,
        "can": None if can is None else "; ".join(can),
        "query prefix": repr(model.query_prefix) if model.query_prefix else None,
        "document prefix": repr(model.document_prefix) if model.document_prefix else None,
        "license": model.license or "not stated",
        "source": model.source,
        "path": model.path or f"not fetched yet: llamacpp models pull {model.name}",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows.items():
        if value is not None:
            table.add_row(label, Text(str(value)))
    return table


def _memory_table(memory: Sequence[ContextMemory]) -> Any:
    from rich.table import Table

    table = Table("context", "KV cache (f16)", "with weights", box=None, pad_edge=False)
    for row in memory:
        table.add_row(f"{row.n_ctx:,}", size_text(row.kv_bytes), size_text(row.total_bytes))
    return table
