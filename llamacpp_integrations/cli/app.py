"""The command ``llamacpp``.

Each command lives in a module of this package that has ``register(app)``; :data:`COMMAND_MODULES` names them.
They import what is heavy inside their functions, so that ``llamacpp --help`` stays fast.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from llamacpp_core import __version__
from llamacpp_core._checks import require
from llamacpp_core.errors import LlamaCppError
from llamacpp_integrations.cli.values import name_values

if TYPE_CHECKING:
    import typer

__all__ = ["COMMAND_MODULES", "build_app", "main"]

COMMAND_MODULES = (
    "llamacpp_integrations.cli.chat",
    "llamacpp_integrations.cli.complete",
    "llamacpp_integrations.cli.embed",
    "llamacpp_integrations.cli.run",
    "llamacpp_integrations.cli.serve",
    "llamacpp_integrations.cli.models",
    "llamacpp_integrations.cli.bench",
    "llamacpp_integrations.cli.doctor",
)
"""Modules with a function ``register(app: typer.Typer) -> None`` that adds commands."""

_ERROR, _USAGE, _INTERRUPTED = 1, 2, 130


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
        help="llama.cpp in the Python process: chat, completion, embeddings, models, speed.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    def print_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"llamacpp-integrations {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: bool = typer.Option(  # noqa: ARG001 - its callback obeys it
            False, "--version", help="Show the version and exit.", callback=print_version, is_eager=True
        ),
        verbose: bool = typer.Option(False, "--verbose", "-v", help="Show llama.cpp's log on stderr."),
    ) -> None:
        _show_log(verbose)

    for name in COMMAND_MODULES:
        importlib.import_module(name).register(app)
    return app


def main() -> None:
    """Runs the command.

    Exit status: 0; 1 after an error, 2 after a usage error, 130 after Ctrl-C. An error is one line on stderr.
    """
    _mend_streams()
    try:
        status = _run()
    except LlamaCppError as error:
        status = _fail(str(error))
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except OSError as error:
        what = error.strerror or str(error)
        status = _fail(f"{error.filename}: {what}" if error.filename else what)
    raise SystemExit(status)


def _mend_streams() -> None:
    """Puts files in place of standard streams that are closed, and lets no character end the program."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
    if hasattr(sys.stdout, "reconfigure") and not sys.stdout.encoding.lower().startswith("utf"):
        sys.stdout.reconfigure(errors="replace")


def _run() -> int:
    app = build_app()
    import typer

    # The root of click's errors: of typer's own copy of click, or of click, whichever it uses.
    shown: Any = typer.BadParameter.__mro__[2]
    command: Any = typer.main.get_command(app)
    name_values(command)
    try:
        status = command(prog_name="llamacpp", standalone_mode=False)
    except typer.Abort:
        return _INTERRUPTED
    except shown as error:
        text = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            print(text, file=sys.stderr)
            return _USAGE
        context = getattr(error, "ctx", None)
        more = f" (see: {context.command_path} --help)" if context is not None else ""
        return _fail(text + more, getattr(error, "exit_code", _USAGE))
    return status if isinstance(status, int) else 0


def _fail(text: str, status: int = _ERROR) -> int:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return status


def _show_log(verbose: bool) -> None:
    """Warnings of this package, and with ``verbose`` everything, llama.cpp's log too, on stderr."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s" if verbose else "warning: %(message)s"))
    logger = logging.getLogger("llamacpp_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose and not sys.stderr.isatty():  # a program wants one line, not one for each attempt
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not verbose:  # llama.cpp's own warnings speak to its developers, its errors come as exceptions
        logging.getLogger("llamacpp_core.llama_cpp").setLevel(logging.CRITICAL)
