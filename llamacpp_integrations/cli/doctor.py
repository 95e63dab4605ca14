"""``llamacpp doctor``: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from llamacpp_integrations.cli.checks import BROKEN, NOTE, OK, Finding, examine, try_model
from llamacpp_integrations.cli.shared import Json, complete_model, console, print_json

__all__ = ["register"]

_HELP = """Look at this installation, and say what to do about each problem.

Shows versions, how llama.cpp was built, devices and memory, the cache of models and optional packages. The
exit status is 1 when something is broken."""
_MARKS = {OK: " ", NOTE: "!", BROKEN: "X"}
_STYLES = {OK: "", NOTE: "yellow", BROKEN: "bold red"}


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("doctor", help=_HELP, short_help="Look at this installation, and say what to do.")(
        doctor_command
    )


def doctor_command(
    try_: Annotated[
        str | None,
        typer.Option(
            "--try", metavar="MODEL", help="Load this model and let it work.", autocompletion=complete_model
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at this installation."""
    findings = list(examine())
    if try_ is not None:
        findings += try_model(try_)
    broken = [finding for finding in findings if finding.status == BROKEN]
    if as_json:
        print_json({"healthy": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    if broken:
        raise typer.Exit(1)


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    topic = ""
    for finding in findings:
        if topic and finding.topic != topic:
            table.add_row()
        shown = "" if finding.topic == topic else finding.topic
        topic = finding.topic
        style = _STYLES[finding.status]
        mark, detail = Text(_MARKS[finding.status], style), Text(finding.detail, style)
        table.add_row(Text(shown, "bold"), mark, finding.name, detail)
        if finding.advice:
            table.add_row("", "", "", Text(f"-> {finding.advice}", style or "dim"))
    out.print(table)
    out.print()
    notes = sum(finding.status == NOTE for finding in findings)
    problems = sum(finding.status == BROKEN for finding in findings)
    if problems:
        out.print(f"{problems} broken: see the lines with X.")
    else:
        out.print("Nothing is broken." + (" Lines with ! could be better." if notes else ""))
