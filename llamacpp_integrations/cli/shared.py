"""Options and output that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

__all__ = [
    "CHAT_MODEL",
    "EMBEDDING_MODEL",
    "WIDTH_OF_A_FILE",
    "ContextSize",
    "GpuLayers",
    "Json",
    "MaxTokens",
    "Model",
    "ModelOption",
    "Seed",
    "Temperature",
    "Threads",
    "complete_model",
    "console",
    "one_of",
    "print_json",
    "read_text",
    "writable",
    "write_text",
]

CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"
WIDTH_OF_A_FILE = 200
_MODEL_HELP = "A catalog name, hf:owner/repo:file-or-glob.gguf, or a path."


def complete_model(incomplete: str) -> list[str]:
    """Names of the catalog and GGUF files that begin so, for the shell's completion."""
    from llamacpp_core.models import load_catalog

    names = [name for name in load_catalog() if name.startswith(incomplete)]
    head = Path(incomplete)
    folder = head if incomplete.endswith("/") else head.parent
    try:
        found = sorted(folder.iterdir())
    except OSError:
        found = []
    paths = [
        f"{path}/" if path.is_dir() else str(path)
        for path in found
        if path.suffix == ".gguf" or path.is_dir()
    ]
    return names + [path for path in paths if path.startswith(incomplete)]


Model = Annotated[str, typer.Argument(help=_MODEL_HELP, autocompletion=complete_model)]
ModelOption = Annotated[str, typer.Option("--model", "-m", help=_MODEL_HELP, autocompletion=complete_model)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Temperature = Annotated[float, typer.Option(help="0 picks the likeliest token; higher is more random.")]
MaxTokens = Annotated[int, typer.Option(help="Tokens to generate at most; 0: to the end of the context.")]
Seed = Annotated[int | None, typer.Option(help="Makes the answer repeatable.")]
ContextSize = Annotated[int, typer.Option(help="Context in tokens; 0: what the model was trained with.")]
GpuLayers = Annotated[
    int | None, typer.Option(help="Layers on the GPU; -1: all.", show_default="as many as fit")
]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", help="CPU threads.", show_default="one per physical core")
]


def console() -> Console:
    """A console that cuts nothing off when its output goes to a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return Console(width=width, highlight=False, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints a value as JSON on stdout, which may be unable to hold all characters."""
    escaped = not (sys.stdout.encoding or "").lower().startswith("utf")

    def convert(item: Any) -> str:
        if isinstance(item, Path):
            return str(item)
        raise TypeError(type(item))

    typer.echo(json.dumps(value, indent=2, ensure_ascii=escaped, default=convert))


def write_text(text: str) -> None:
    """Writes a piece of a model's text to stdout at once; control characters do not reach a terminal."""
    if sys.stdout.isatty():
        from llamacpp_core.display import terminal_text

        text = terminal_text(text)
    sys.stdout.write(text)
    sys.stdout.flush()


def read_text(path: Path, option: str) -> str:
    """The text of a file that an option names.

    Raises:
        BadParameter: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not UTF-8 text", param_hint=option) from None
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=option) from None


def writable(path: Path, option: str) -> Path:
    """Checks before the work that its result can be put there.

    Raises:
        BadParameter: It is a folder, or would be in a folder that does not exist.
    """
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder", param_hint=option)
    if not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{path}: there is no such folder", param_hint=option)
    return path


def one_of(option: str, value: str, names: Sequence[str]) -> str:
    """Checks that an option has one of a few values.

    Raises:
        BadParameter: It has not.
    """
    if value not in names:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(names)}", param_hint=option)
    return value
