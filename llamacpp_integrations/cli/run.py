"""``llamacpp run``: a table of requests to a table of answers."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamacpp_core.errors import InvalidParameterError
from llamacpp_integrations._rows import FIELDS
from llamacpp_integrations.cli.answers import write_answers
from llamacpp_integrations.cli.requests import BatchFile, Request, Requests, RequestTable, layout_of
from llamacpp_integrations.cli.shared import (
    CHAT_MODEL,
    ContextSize,
    GpuLayers,
    Json,
    ModelOption,
    Threads,
    one_of,
    print_json,
    read_text,
    writable,
)
from llamacpp_integrations.cli.tables import READABLE, WRITABLE, Row, format_of, replacing

if TYPE_CHECKING:
    from llamacpp_core import Llama

__all__ = ["register"]

_HELP = """Answer a table of requests.

INPUT is JSON Lines, CSV, TSV, parquet or plain text. Its rows are requests (with messages, prompt, input, or
query and documents; columns named as parameters are used), or they have a text in --column, or they are those
of a batch file in OpenAI's form (custom_id, url, body).

OUTPUT gets every row in its order with its answer in further columns, or with its error: a bad row does not
end the work. Answers are kept in OUTPUT.part until all are there: after an interruption the same command goes
on where it stopped. Parquet needs the extra 'data'."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("run", help=_HELP)(run_command)


def run_command(
    input: Annotated[str, typer.Argument(help="The table; - reads stdin.", show_default=False)],
    output: Annotated[str, typer.Argument(help="The file to write; - for stdout.", show_default=False)],
    model: ModelOption = CHAT_MODEL,
    task: Annotated[
        str | None, typer.Option(help=", ".join(FIELDS) + ".", show_default="as the rows show")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", "-c", help="The column that holds a text.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message before each text.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens to generate at most.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 picks the likeliest token.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the answers repeatable.")] = None,
    json_schema: Annotated[
        Path | None, typer.Option(help="A JSON schema that answers in chat have to follow.")
    ] = None,
    params: Annotated[
        str | None, typer.Option(help="Further parameters of all requests, as a JSON object.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Write the whole response, too.")] = False,
    input_format: Annotated[
        str | None, typer.Option(help=", ".join(READABLE) + ".", show_default="by the file's name")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help=", ".join(WRITABLE) + ".", show_default="by the file's name")
    ] = None,
    n_ctx: ContextSize = 0,
    n_parallel: Annotated[
        int | None, typer.Option(help="Requests that run at once.", show_default="4, encoders 32")
    ] = None,
    n_gpu_layers: GpuLayers = None,
    threads: Threads = None,
    progress: Annotated[
        bool | None, typer.Option(help="Show progress on stderr.", show_default="on a terminal")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away interrupted work.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Answer a table of requests."""
    form = _output_form(output, output_format, overwrite, as_json)
    if task is not None:
        one_of("--task", task, tuple(FIELDS))
    if input != "-" and not Path(input).is_file():
        raise InvalidParameterError(f"there is no file {input}", parameter="input")
    table = RequestTable(input, format_of(input, input_format, READABLE, "--input-format"), column or "text")
    requests = layout_of(table, task, column, system, full=full, one_task=form != "jsonl")
    if isinstance(requests, BatchFile) and form != "jsonl":
        raise typer.BadParameter("a batch file's answers are JSON Lines", param_hint="--output-format")
    shared = _shared(params, json_schema, max_tokens=max_tokens, temperature=temperature, seed=seed)
    options: dict[str, Any] = {
        "n_ctx": n_ctx,
        "n_parallel": n_parallel,
        "n_gpu_layers": n_gpu_layers,
        "n_threads": threads,
        "progress": progress,
    }
    if requests.first_task() == "embedding":
        options["embedding"] = True
    from llamacpp_core import Llama

    start = time.monotonic()
    with Llama(model, **options) as llm:
        work = _Work(llm, requests, shared, progress)
        if output == "-":
            work.write(sys.stdout.buffer, form, None)
            sys.stdout.flush()
            return
        work.into(Path(output), form, restart=restart)
    summary = {"rows": work.rows, "failed": work.failed, "output": output}
    summary["seconds"] = round(time.monotonic() - start, 2)
    if as_json:
        print_json(summary)
    else:
        print("{rows} rows, {failed} failed, in {seconds} s: {output}".format(**summary), file=sys.stderr)


def _output_form(output: str, given: str | None, overwrite: bool, as_json: bool) -> str:
    form = format_of(output, given, WRITABLE, "--output-format")
    if output == "-":
        if form == "parquet":
            raise typer.BadParameter("parquet needs a file", param_hint="OUTPUT")
        if as_json:
            raise typer.BadParameter("needs an output file: the answers are on stdout", param_hint="--json")
    elif writable(Path(output), "OUTPUT").exists() and not overwrite:
        raise InvalidParameterError(f"{output} is there already: --overwrite replaces it", parameter="output")
    return form


def _shared(params: str | None, schema: Path | None, **named: Any) -> dict[str, Any]:
    """The parameters of all requests."""
    more: Any = {}
    if params is not None:
        try:
            more = json.loads(params)
        except (ValueError, RecursionError) as error:
            raise typer.BadParameter(f"it is not JSON: {error}", param_hint="--params") from None
        if not isinstance(more, dict):
            raise typer.BadParameter("it must be a JSON object", param_hint="--params")
    if schema is not None:
        try:
            value = json.loads(read_text(schema, "--json-schema"))
        except (ValueError, RecursionError) as error:
            raise typer.BadParameter(f"{schema} is not JSON: {error}", param_hint="--json-schema") from None
        named["response_format"] = {"type": "json_schema", "json_schema": {"schema": value}}
    for name, value in named.items():
        if value is not None:
            if name in more:
                raise typer.BadParameter(f"{name} is given twice", param_hint="--params")
            more[name] = value
    return dict(more)


class _Work:
    """The requests of a table on their way through a model."""

    def __init__(self, llm: Llama, requests: Requests, shared: dict[str, Any], progress: bool | None) -> None:
        self._llm = llm
        self._requests = requests
        self._shared = shared
        self._progress = progress
        self.rows = self.failed = 0

    def into(self, output: Path, form: str, *, restart: bool) -> None:
        """Writes the output, which is there as a whole in the end; what is answered is kept beside it."""
        kept = output.with_name(output.name + ".part")
        if restart:
            _remove(kept)
        try:
            with replacing(output) as target:
                self.write(target, form, kept)
        except KeyboardInterrupt:
            print(f"interrupted after {self.rows} rows; the same command goes on from there", file=sys.stderr)
            raise
        except InvalidParameterError as error:
            if error.parameter != "resume":
                raise
            raise InvalidParameterError(f"{error}; --restart begins anew", parameter="resume") from None
        _remove(kept)

    def write(self, target: Any, form: str, kept: Path | None) -> None:
        """Writes the rows with their answers as they come."""
        requests = self._requests
        columns = {} if form == "jsonl" else requests.columns()
        write_answers(target, form, self._answered(kept), columns)

    def _answered(self, kept: Path | None) -> Iterator[Row]:
        waiting: deque[Request] = deque()

        def asked() -> Iterator[Any]:
            for request in self._requests:
                waiting.append(request)
                yield request.asked

        answers = self._llm.map(
            asked(),
            task=self._requests.task,
            on_error="return",
            resume=kept,
            progress=self._progress,
            **self._shared,
        )
        try:
            for answer in answers:
                self.rows += 1
                self.failed += isinstance(answer, Exception)
                yield self._requests.answered(waiting.popleft(), answer)
        finally:
            answers.close()


def _remove(kept: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        kept.with_name(kept.name + end).unlink(missing_ok=True)
