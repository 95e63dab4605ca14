"""The command ``llamacpp``.

Each command lives in a module of this package that has ``register(app)``; :data:`COMMAND_MODULES` names them.
They import what is heavy inside their functions, so that ``llamacpp --help`` stays fast.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from llamacpp_core.errors import LlamaCppError
from llamacpp_core.models.optional import require

if TYPE_CHECKING:
    import typer

__all__ = ["COMMAND_MODULES", "build_app", "main"]

COMMAND_MODULES = ("llamacpp_core.cli.chat", "llamacpp_core.cli.models")
"""Modules with a function ``register(app: typer.Typer) -> None`` that adds commands."""


def build_app() -> typer.Typer:
    """The command-line application with all its commands.

    Raises:
        MissingDependencyError: typer or rich is not installed.
    """
    require("rich", "the command llamacpp", extra="cli")
    require("typer", "the command llamacpp", extra="cli")
    import typer

    app = typer.Typer(
        name="llamacpp",
        help="llama.cpp in the Python process: models, chat, embeddings.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"llamacpp-integrations {_version()}")
            raise typer.Exit

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", help="Show the version and exit.", callback=print_version, is_eager=True
        ),
    ) -> None:
        pass

    for name in COMMAND_MODULES:
        importlib.import_module(name).register(app)
    return app


def main() -> None:
    """Run the command.

    Exit status: 0; 1 after an error of this package, 2 after a usage error, 130 after Ctrl-C.
    """
    try:
        build_app()()
    except LlamaCppError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llamacpp-integrations")
    except PackageNotFoundError:
        return "(not installed as a package)"
