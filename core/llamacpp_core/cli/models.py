"""``llamacpp models``: list, pull, info, rm."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from llamacpp_core.models import ModelInfo

__all__ = ["register"]

_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_Name = Annotated[str, typer.Argument(help="A catalog name, hf:owner/repo:file-or-glob.gguf, or a path.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    models = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(models, name="models", help="Models: what there is, fetch one, what it is, delete it.")
    models.command("list", help="List the catalog and what is on disk.")(list_command)
    models.command("pull", help="Fetch a model.")(pull_command)
    models.command("info", help="Show what a model is and the memory it needs.")(info_command)
    models.command("rm", help="Delete a fetched model.")(remove_command)


def list_command(as_json: _Json = False) -> None:
    """List the catalog."""
    from rich.table import Table

    from llamacpp_core.models import list_models

    listed = list_models()
    if as_json:
        _print_json(
            [
                asdict(model.entry)
                | {"source": str(model.entry.source), "cached": model.cached, "path": model.path}
                for model in listed
            ]
        )
        return
    table = Table("name", "kind", "size", "licence", "cached", "source", box=None, pad_edge=False)
    for model in listed:
        entry = model.entry
        cached = "yes" if model.cached else "no"
        table.add_row(entry.name, entry.kind, _size(entry.size), entry.licence, cached, str(entry.source))
    _console().print(table)


def pull_command(
    name: _Name,
    force: Annotated[bool, typer.Option("--force", help="Fetch it again even when it is there.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole file against its checksum.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Type of the weights of a converted model: f32, f16, bf16, q8_0.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Fetch a model."""
    from llamacpp_core.models import pull

    model = pull(name, force=force, verify=verify, dtype=dtype)
    if as_json:
        _print_json({"name": model.name, "path": model.path, "files": model.files, "source": model.source})
    else:
        typer.echo(model.path)


def info_command(name: _Name, as_json: _Json = False) -> None:
    """Show what a model is."""
    from llamacpp_core.models import info

    model = info(name)
    if as_json:
        _print_json(asdict(model))
        return
    console = _console()
    console.print(_facts(model))
    if model.memory:
        console.print()
        console.print(_memory_table(model))
        if model.memory_is_upper_bound:
            console.print("Upper bounds: sliding-window or recurrent layers take less.")


def remove_command(name: _Name, as_json: _Json = False) -> None:
    """Delete a fetched model."""
    from llamacpp_core.models import remove

    freed = remove(name)
    if as_json:
        _print_json({"name": name, "freed_bytes": freed})
    else:
        typer.echo(f"deleted {name}: {_size(freed)} freed")


def _facts(model: ModelInfo) -> Any:
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
        "size": _size(model.size_bytes),
        "trained context": None if model.context_length is None else f"{model.context_length:,} tokens",
        "embedding size": model.embedding_size,
        "layers": model.n_layers,
        "vocabulary": None if model.vocab_size is None else f"{model.vocab_size:,} tokens",
        "chat template": template,
        "query prefix": repr(model.query_prefix) if model.query_prefix else None,
        "document prefix": repr(model.document_prefix) if model.document_prefix else None,
        "licence": model.licence or "not stated",
        "source": model.source,
        "path": model.path or f"not fetched yet: llamacpp models pull {model.name}",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for label, value in rows.items():
        if value is not None:
            table.add_row(label, Text(str(value)))
    return table


def _memory_table(model: ModelInfo) -> Any:
    from rich.table import Table

    table = Table("context", "KV cache (f16)", "with weights", box=None, pad_edge=False)
    for row in model.memory:
        table.add_row(f"{row.n_ctx:,}", _size(row.kv_bytes), _size(row.total_bytes))
    return table


def _console() -> Console:
    """A console that cuts nothing off when its output goes to a file or a pipe."""
    import sys

    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, soft_wrap=True)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _print_json(value: Any) -> None:
    def convert(item: Any) -> str:
        if isinstance(item, Path):
            return str(item)
        raise TypeError(type(item))

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=convert))
