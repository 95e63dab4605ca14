"""``llamacpp chat``: a conversation in the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llamacpp_core import Llama

__all__ = ["register"]

HELP = """Commands: /help, /clear forgets the conversation, /save FILE writes it as JSON, /exit ends.
Ctrl-C stops an answer, Ctrl-D ends."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("chat", help="Talk with a model.")(chat_command)


def chat_command(
    model: Annotated[
        str, typer.Argument(help="A catalog name, hf:owner/repo:file.gguf, or a path.")
    ] = "smollm2-135m-instruct",
    system: Annotated[str | None, typer.Option("--system", "-s", help="Text of the system message.")] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="Put a text file into the system message.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Ask this, print the answer and exit.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 picks the likeliest token.")] = 0.2,
    max_tokens: Annotated[int, typer.Option(help="Tokens per answer; 0: to the end of the context.")] = 0,
    n_ctx: Annotated[int, typer.Option(help="Context in tokens; 0: what the model was trained with.")] = 0,
    n_gpu_layers: Annotated[int, typer.Option(help="Layers on the GPU; -1: all.")] = -1,
    save: Annotated[Path | None, typer.Option(help="Write the conversation to this file at the end.")] = None,
) -> None:
    """Talk with a model."""
    from llamacpp_core import Llama

    conversation = _opening(system, file or [])
    with Llama(model, n_ctx=n_ctx, n_parallel=1, n_gpu_layers=n_gpu_layers) as llm:
        if prompt is not None:
            _answer(llm, conversation, prompt, temperature, max_tokens)
        else:
            print(f"{llm.info.name}, {llm.info.n_ctx} tokens of context. /help shows the commands.", file=sys.stderr)
            for line in _lines():
                if line.startswith("/"):
                    if not _command(line, conversation, system, file or []):
                        break
                elif line.strip():
                    _answer(llm, conversation, line, temperature, max_tokens)
    if save is not None:
        _save(conversation, save)


def _opening(system: str | None, files: list[Path]) -> list[dict[str, Any]]:
    parts = [system] if system else []
    for path in files:
        try:
            parts.append(f"{path.name}:\n{path.read_text('utf-8')}")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{path}: {error}", param_hint="--file") from None
    return [{"role": "system", "content": "\n\n".join(parts)}] if parts else []


def _lines() -> Iterator[str]:
    """Lines of input; Ctrl-C at the prompt only starts a new one."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            yield input(prompt)
        except KeyboardInterrupt:
            print(file=sys.stderr)
        except EOFError:
            return


def _command(line: str, conversation: list[dict[str, Any]], system: str | None, files: list[Path]) -> bool:
    """Obeys a command; False ends the program."""
    name, _, argument = line.strip().partition(" ")
    if name == "/exit":
        return False
    if name == "/clear":
        conversation[:] = _opening(system, files)
    elif name == "/save" and argument:
        _save(conversation, Path(argument))
    else:
        print(HELP, file=sys.stderr)
    return True


def _answer(
    llm: Llama, conversation: list[dict[str, Any]], question: str, temperature: float, max_tokens: int
) -> None:
    """Streams one answer; Ctrl-C keeps what came so far."""
    conversation.append({"role": "user", "content": question})
    pieces: list[str] = []
    stream = llm.create_chat_completion(
        conversation, stream=True, temperature=temperature, max_tokens=max_tokens or None
    )
    try:
        for chunk in stream:
            piece = chunk["choices"][0]["delta"].get("content") or ""
            pieces.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="", file=sys.stderr)
    finally:
        stream.close()
    print(flush=True)
    conversation.append({"role": "assistant", "content": "".join(pieces)})


def _save(conversation: list[dict[str, Any]], path: Path) -> None:
    try:
        path.write_text(json.dumps(conversation, ensure_ascii=False, indent=2) + "\n", "utf-8")
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        print(f"saved {path}", file=sys.stderr)
