"""``llamacpp chat``: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_core.display import terminal_text
from llamacpp_core.errors import InvalidParameterError, LlamaCppError
from llamacpp_integrations.cli.shared import (
    CHAT_MODEL,
    ContextSize,
    GpuLayers,
    Json,
    MaxTokens,
    Model,
    Seed,
    Temperature,
    Threads,
    print_json,
    read_text,
    writable,
    write_text,
)
from llamacpp_integrations.cli.wrapping import WordWrapper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llamacpp_core import Llama

__all__ = ["register"]

HELP = """/file FILE puts a text file into the conversation
/retry answers the last question again
/clear forgets the conversation, but not the system message
/save FILE writes it as JSON, /load FILE goes on with a saved one
/exit ends, and so does Ctrl-D; Ctrl-C stops an answer
Begin and end a question of several lines with a line of three quotes: \"\"\""""
_QUOTES = '"""'
_STOPPED = "stopped"

Message = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("chat", help="Talk with a model. Answers go to stdout, all else to stderr.")(chat_command)


def chat_command(
    model: Model = CHAT_MODEL,
    system: Annotated[str | None, typer.Option("--system", "-s", help="Text of the system message.")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Put a text file into the system message; can be repeated."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Ask this, print the answer and exit.")
    ] = None,
    temperature: Temperature = 0.2,
    max_tokens: MaxTokens = 0,
    seed: Seed = None,
    n_ctx: ContextSize = 0,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
    load: Annotated[Path | None, typer.Option(help="Go on with a saved conversation.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the conversation to this file at the end.")] = None,
    as_json: Json = False,
) -> None:
    """Talk with a model."""
    if as_json and prompt is None:
        raise typer.BadParameter("needs --prompt", param_hint="--json")
    if save is not None:
        writable(save, "--save")
    conversation = _opening(system, file or [], load)
    from llamacpp_core import Llama

    options = {"temperature": temperature, "max_tokens": max_tokens or None, "seed": seed}
    with Llama(model, n_ctx=n_ctx, n_parallel=1, n_gpu_layers=n_gpu_layers, n_threads=threads) as llm:
        chat = _Chat(llm, conversation, options)
        status = 0
        if prompt is None:
            status = chat.run()
        elif as_json:
            print_json(chat.whole(prompt))
        elif chat.answer(prompt) == _STOPPED:
            status = 130  # as of a program that Ctrl-C ends
    if save is not None:
        _save(conversation, save)
    if status:
        raise typer.Exit(status)


def _opening(system: str | None, files: list[Path], load: Path | None) -> list[Message]:
    parts = [system] if system else []
    parts += [_quoted(path, read_text(path, "--file")) for path in files]
    opening: list[Message] = [{"role": "system", "content": "\n\n".join(parts)}] if parts else []
    if load is None:
        return opening
    if opening:
        raise typer.BadParameter(
            "a saved conversation has a beginning: leave out --system and --file", param_hint="--load"
        )
    return _messages(read_text(load, "--load"), load)


def _messages(text: str, path: Path) -> list[Message]:
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError):
        messages = None
    if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise InvalidParameterError(
            f"{path} is not a saved conversation: a JSON list of messages", parameter="load"
        )
    return messages


def _quoted(path: Path, text: str) -> str:
    return f"{path.name}:\n{text}"


class _Chat:
    """A conversation with a model, and the commands of a person."""

    def __init__(self, llm: Llama, conversation: list[Message], options: dict[str, Any]) -> None:
        self._llm = llm
        self._conversation = conversation
        self._options = options
        self._attached: list[str] = []

    def run(self) -> int:
        """Answers the lines of stdin until its end.

        Returns:
            The exit status: 1 when no person sat there and a line had no answer.
        """
        info, person, failed = self._llm.info, sys.stdin.isatty(), False
        _say(f"{info.name}, {info.n_ctx:,} tokens of context. /help shows the commands.")
        for line in _lines():
            try:
                if line.startswith("/"):
                    if line.strip() == "/exit":
                        break
                    self._command(line)
                elif line.strip():
                    self.answer(line)
            except (LlamaCppError, typer.BadParameter) as error:
                failed = True
                _say(f"error: {' '.join(str(error).split())}")
        return int(failed and not person)

    def answer(self, question: str) -> str | None:
        """Streams one answer; Ctrl-C keeps what came so far.

        Returns:
            Why it ended, "stopped" after Ctrl-C.

        Raises:
            LlamaCppError: There can be no answer; the conversation is as before.
        """
        self._ask(question)
        try:
            return self._respond()
        except LlamaCppError:
            del self._conversation[-1]
            raise

    def whole(self, question: str) -> dict[str, Any]:
        """The whole response to a question."""
        self._ask(question)
        response: Any = self._llm.create_chat_completion(self._conversation, **self._options)
        self._conversation.append(response["choices"][0]["message"])
        return response  # type: ignore[no-any-return]

    def _ask(self, question: str) -> None:
        content = "\n\n".join([*self._attached, question])
        self._attached.clear()
        self._conversation.append({"role": "user", "content": content})

    def _respond(self) -> str | None:
        pieces: list[str] = []
        shown = WordWrapper(write_text) if sys.stdout.isatty() else None
        reason, thinking, stream = None, False, None
        try:
            stream = self._llm.create_chat_completion(self._conversation, stream=True, **self._options)
            for chunk in stream:
                choice = chunk["choices"][0]
                reason = choice["finish_reason"] or reason
                thinking = _think(choice["delta"], thinking)
                if piece := choice["delta"].get("content") or "":
                    pieces.append(piece)
                    write_text(piece) if shown is None else shown.add(terminal_text(piece))
        except KeyboardInterrupt:
            reason = _STOPPED
        finally:
            if stream is not None:
                stream.close()
            if shown is not None:
                shown.finish()
        write_text("\n")
        if reason in ("length", _STOPPED) and sys.stderr.isatty():
            _say("[stopped]" if reason == _STOPPED else "[cut off: the limit of tokens was reached]")
        self._conversation.append({"role": "assistant", "content": "".join(pieces)})
        return reason

    def _command(self, line: str) -> None:
        name, _, argument = line.strip().partition(" ")
        path = Path(argument.strip()).expanduser()
        if name == "/clear":
            self._attached.clear()
            del self._conversation[1 if self._system() else 0 :]
        elif name == "/retry":
            self._retry()
        elif name == "/save" and argument:
            _save(self._conversation, path)
        elif name == "/load" and argument:
            self._conversation[:] = _messages(read_text(path, "/load"), path)
            _say(f"{len(self._conversation)} messages")
        elif name == "/file" and argument:
            self._attached.append(_quoted(path, read_text(path, "/file")))
            _say(f"{path.name} goes in front of your next question")
        elif name in ("/save", "/load", "/file"):
            _say(f"{name} needs a file, as in: {name} notes.txt")
        else:
            if name != "/help":
                _say(f"there is no command {name}. These are all:")
            _say(HELP)

    def _system(self) -> bool:
        return bool(self._conversation) and self._conversation[0]["role"] == "system"

    def _retry(self) -> None:
        asked = [i for i, message in enumerate(self._conversation) if message["role"] == "user"]
        if not asked:
            _say("nothing was asked yet")
            return
        kept = self._conversation[asked[-1] + 1 :]
        del self._conversation[asked[-1] + 1 :]
        try:
            self._respond()
        except LlamaCppError:
            self._conversation += kept
            raise


def _think(delta: Mapping[str, Any], thinking: bool) -> bool:
    """Shows reasoning on stderr; whether the model still thinks."""
    if thought := delta.get("reasoning_content"):
        sys.stderr.write(terminal_text(thought))
        sys.stderr.flush()
        return True
    if thinking and delta.get("content"):
        _say("\n")
        return False
    return thinking


def _lines() -> Iterator[str]:
    """Questions and commands; Ctrl-C at the prompt only starts a new one."""
    person = sys.stdin.isatty()
    if person:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() editing and history
    while True:
        try:
            line = input("> " if person else "")
            if line.strip() == _QUOTES:
                line = _block(person)
            yield line
        except KeyboardInterrupt:
            _say("")
        except EOFError:
            if person:
                _say("")
            return


def _block(person: bool) -> str:
    lines: list[str] = []
    while (line := input("… " if person else "")).strip() != _QUOTES:
        lines.append(line)
    return "\n".join(lines)


def _save(conversation: list[Message], path: Path) -> None:
    try:
        path.write_text(json.dumps(conversation, ensure_ascii=False, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise InvalidParameterError(f"{path}: {error.strerror}", parameter="save") from None
    _say(f"saved {path}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
