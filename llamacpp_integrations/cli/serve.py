"""``llamacpp serve``: OpenAI's and Anthropic's APIs over HTTP."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_integrations.cli.shared import (
    CHAT_MODEL,
    ContextSize,
    GpuLayers,
    Threads,
    complete_model,
    read_text,
)

if TYPE_CHECKING:
    from llamacpp_core import Llama, ModelPool
    from llamacpp_integrations.server import ServerSettings
    from llamacpp_integrations.server.models import Models

__all__ = ["register"]

_MIB = 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HELP = """Serve models over HTTP, in the form of OpenAI's and Anthropic's APIs, with a page to chat in.

Only this machine can reach the server unless --host says otherwise. Give keys with --api-key-file or in the
variable LLAMACPP_API_KEY, separated by commas. Needs the extra 'server'."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("serve", help=_HELP)(serve_command)


def serve_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Catalog names, hf:owner/repo:file-or-glob.gguf, or paths; NAME=MODEL gives one a name.",
            show_default=CHAT_MODEL,
            autocompletion=complete_model,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any free one.")] = 8080,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with an API key on each line.", show_default=False)
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may call the server; can be repeated; * for all."),
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(help="Requests of a model that run at once.", show_default="by its size")
    ] = None,
    max_waiting: Annotated[int, typer.Option(help="Further requests of a model that may wait.")] = 64,
    max_body: Annotated[int, typer.Option(help="MiB that a request may have.")] = 16,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most; 0: the whole context.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take; 0: any.")] = 600,
    grace: Annotated[int, typer.Option(help="Seconds for running requests when the server is stopped.")] = 10,
    budget: Annotated[
        str | None,
        typer.Option(
            help='Memory for all models, like "8GiB": they are loaded when they are asked for.',
            show_default="all stay loaded",
        ),
    ] = None,
    keep_alive: Annotated[
        float | None,
        typer.Option(help="Seconds without use after which a model is unloaded.", show_default="never"),
    ] = None,
    page: Annotated[bool, typer.Option(help="Serve the page to chat in.")] = True,
    lora_dir: Annotated[
        Path | None,
        typer.Option(help="A folder from which requests may load LoRA adapters.", show_default="none"),
    ] = None,
    n_ctx: ContextSize = 0,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
) -> None:
    """Serve models over HTTP."""
    from llamacpp_integrations.server import create_app, serve
    from llamacpp_integrations.server.models import LoadedModels

    settings = _settings(
        host,
        api_keys=_keys(api_key_file),
        origins=tuple(origin or ()),
        max_waiting=max_waiting,
        max_body_bytes=max_body * _MIB,
        max_tokens=max_tokens or None,
        timeout=timeout or None,
        page=page,
        lora_dir=lora_dir,
    )
    options = {"n_ctx": n_ctx, "n_gpu_layers": n_gpu_layers, "n_threads": threads, "n_parallel": parallel}
    chosen = {name: value for name, value in options.items() if value is not None}
    wanted = [_named(entry) for entry in models or [CHAT_MODEL]]
    with ExitStack() as opened:
        if budget is None and keep_alive is None:
            served: Models = LoadedModels(_load(wanted, chosen, opened))
        else:
            served = opened.enter_context(_pool(wanted, chosen, budget, keep_alive))
        serve(create_app(served, settings), host=host, port=port, grace_seconds=grace)


def _settings(host: str, **limits: Any) -> ServerSettings:
    from llamacpp_integrations.server import ServerSettings
    from llamacpp_integrations.server.settings import LOOPBACK

    local = host in _LOOPBACK
    if not local and not limits["api_keys"]:
        print(f"warning: without API keys, everybody who reaches {host} can use the models", file=sys.stderr)
    return ServerSettings(hosts=LOOPBACK if local else None, **limits)


def _keys(path: Path | None) -> tuple[str, ...]:
    """The API keys of the environment and of a file."""
    lines = os.environ.get("LLAMACPP_API_KEY", "").split(",")
    if path is not None:
        of_file = [line.strip() for line in read_text(path, "--api-key-file").splitlines()]
        if not any(of_file):
            raise typer.BadParameter(f"{path} holds no key", param_hint="--api-key-file")
        lines += of_file
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _load(
    wanted: list[tuple[str | None, str]], options: dict[str, Any], opened: ExitStack
) -> dict[str, Llama]:
    """All models, loaded, by name."""
    from llamacpp_core import Llama

    found: dict[str, Llama] = {}
    for alias, model in wanted:
        llm = opened.enter_context(Llama(model, **options))
        _put(found, alias or llm.info.name, llm)
    return found


def _pool(
    wanted: list[tuple[str | None, str]],
    options: dict[str, Any],
    budget: str | None,
    keep_alive: float | None,
) -> ModelPool:
    """All models, fetched and not loaded yet."""
    from llamacpp_core import ModelPool
    from llamacpp_core.models import resolve_model

    found: dict[str, dict[str, Any]] = {}
    for alias, model in wanted:
        _put(found, alias or resolve_model(model).name, {"model": model, **options})
    return ModelPool(found, budget=budget, keep_alive=keep_alive)


def _put(found: dict[str, Any], name: str, model: Any) -> None:
    if name in found:
        raise typer.BadParameter(f"two models are called {name!r}: give one NAME=MODEL", param_hint="MODEL")
    found[name] = model


def _named(entry: str) -> tuple[str | None, str]:
    """The name and the model of ``NAME=MODEL``; a path may have an equals sign too."""
    name, mark, model = entry.partition("=")
    if not mark or "/" in name or Path(entry).exists():
        return None, entry
    if not name or not model:
        raise typer.BadParameter(f"{entry!r} must be MODEL or NAME=MODEL", param_hint="MODEL")
    return name, model
