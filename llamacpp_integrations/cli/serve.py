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
    from llamacpp_core import Llama
    from llamacpp_integrations.server import ServerSettings

__all__ = ["register"]

_MIB = 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HELP = """Serve models over HTTP, in the form of OpenAI's and Anthropic's APIs, with a page to chat in.

Only this machine can reach the server unless --host says otherwise. Give keys with --api-key-file or in the
variable LLAMACPP_API_KEY, separated by commas. Needs the extra 'server'."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
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
    page: Annotated[bool, typer.Option(help="Serve the page to chat in.")] = True,
    n_ctx: ContextSize = 0,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
) -> None:
    """Serve models over HTTP."""
    from llamacpp_integrations.server import create_app, serve

    settings = _settings(
        host,
        api_keys=_keys(api_key_file),
        origins=tuple(origin or ()),
        max_waiting=max_waiting,
        max_body_bytes=max_body * _MIB,
        max_tokens=max_tokens or None,
        timeout=timeout or None,
        page=page,
    )
    options = {"n_ctx": n_ctx, "n_gpu_layers": n_gpu_layers, "n_threads": threads, "n_parallel": parallel}
    with ExitStack() as loaded:
        app = create_app(_load(models or [CHAT_MODEL], options, loaded), settings)
        serve(app, host=host, port=port, grace_seconds=grace)


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


def _load(wanted: list[str], options: dict[str, Any], loaded: ExitStack) -> dict[str, Llama]:
    from llamacpp_core import Llama

    found: dict[str, Llama] = {}
    chosen = {name: value for name, value in options.items() if value is not None}
    for entry in wanted:
        alias, model = _named(entry)
        llm = loaded.enter_context(Llama(model, **chosen))
        name = alias or llm.info.name
        if name in found:
            raise typer.BadParameter(
                f"two models are called {name!r}: give one NAME=MODEL", param_hint="MODEL"
            )
        found[name] = llm
    return found


def _named(entry: str) -> tuple[str | None, str]:
    """The name and the model of ``NAME=MODEL``; a path may have an equals sign too."""
    name, mark, model = entry.partition("=")
    if not mark or "/" in name or Path(entry).exists():
        return None, entry
    if not name or not model:
        raise typer.BadParameter(f"{entry!r} must be MODEL or NAME=MODEL", param_hint="MODEL")
    return name, model
