"""The command as a whole: help, completion, errors, exit status."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.process import COMMAND, Run, assert_error

from llamacpp_integrations.cli.app import COMMAND_MODULES, build_app
from llamacpp_integrations.cli.shared import complete_model

COMMANDS = ("chat", "complete", "embed", "bench", "doctor", "models")


def test_help_names_every_command(run: Run, spawn: Run) -> None:
    done = spawn("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    assert run().returncode == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, run: Run) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: llamacpp {name}")
    for python_type in ("<str", "<int", "<float", "<path", "<list", "<bool"):
        assert python_type not in done.stdout


def test_every_module_registers() -> None:
    for name in COMMAND_MODULES:
        assert callable(importlib.import_module(name).register)
    assert build_app().registered_commands


def test_version(run: Run) -> None:
    import llamacpp_core

    assert run("--version").stdout == f"llamacpp-integrations {llamacpp_core.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("nonsense",), ("nonsense", "--help")),
        (("chat", "--nonsense"), ("--nonsense", "chat --help")),
        (("chat", "--temperature", "hot"), ("--temperature", "number")),
        (("chat", "--json"), ("--json", "--prompt")),
        (("complete", "x", "--logprobs", "2"), ("--logprobs", "--json")),
        (("embed",), ("--text",)),
        (("embed", "--text", "a", "--overflow", "cut"), ("--overflow", "truncate")),
        (("bench", "--concurrency", "1,x"), ("--concurrency",)),
        (("bench", "--plot", "x.gif"), ("--plot", ".png")),
        (("bench", "--plot", "none/x.png"), ("--plot", "no such folder")),
        (("embed", "--text", "a", "-o", "none/x.jsonl"), ("--output", "no such folder")),
    ],
)
def test_usage_errors_are_one_line(arguments: tuple[str, ...], parts: tuple[str, ...], run: Run) -> None:
    assert_error(run(*arguments), 2, *parts)


def test_a_missing_extra_is_named(run: Run) -> None:
    assert_error(run("--help", blocked=("typer",)), 1, "typer", "llamacpp-integrations[cli]")
    assert_error(run("bench", "--plot", "x.png", blocked=("matplotlib",)), 1, "llamacpp-integrations[plot]")


def test_shell_completion(tmp_path: Path) -> None:
    script = subprocess.run(
        [*COMMAND, "--show-completion", "bash"], capture_output=True, text=True, timeout=60, check=False
    )
    assert script.returncode == 0
    assert "COMPREPLY" in script.stdout
    environment = {
        "COMP_WORDS": "llamacpp chat smollm2-135",
        "COMP_CWORD": "2",
        "_LLAMACPP_COMPLETE": "complete_bash",
    }
    code = "import sys; sys.argv[0] = 'llamacpp'; from llamacpp_integrations.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    assert done.stdout.split() == ["smollm2-135m-instruct"]


def test_completion_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("a.gguf", "a.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert complete_model("a") == ["all-minilm-l6-v2", "a.gguf"]
    assert set(complete_model("")) >= {"folder/", "a.gguf", "smollm2-135m-instruct"}
    assert set(complete_model(f"{tmp_path}/")) == {f"{tmp_path}/folder/", f"{tmp_path}/a.gguf"}
    assert complete_model("no/such/folder/x") == []


@pytest.mark.parametrize(
    ("closing", "arguments", "status"),
    [
        ("<&-", "complete -m {model} --n-ctx 256 --max-tokens 2", 0),
        ("<&-", "chat {model} --n-ctx 256", 0),
        (">&-", "complete Hi -m {model} --n-ctx 256 --max-tokens 2", 0),
        ("2>&-", "models info none", 1),
        (">/dev/full", "models list --json", 1),
    ],
)
def test_closed_and_full_streams(closing: str, arguments: str, status: int, smollm2_path: Path) -> None:
    command = shlex.join([*COMMAND, *arguments.format(model=smollm2_path).split()])
    done = subprocess.run(f"{command} {closing}", shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    if closing == ">/dev/full":
        assert done.stderr == "error: No space left on device\n"


def test_a_terminal_without_all_characters(smollm2_path: Path) -> None:
    arguments = ["complete", "5 €", "--echo", "-m", str(smollm2_path), "--n-ctx", "256", "--max-tokens", "1"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}

    def output(*more: str) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments, *more], capture_output=True, text=True, timeout=60, env=environment
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert output().startswith("5 ?")
    assert json.loads(output("--json"))["choices"][0]["text"].startswith("5 €")


@pytest.mark.parametrize("columns", [30, 50, 80, 200])
def test_tables_keep_their_text_in_narrow_terminals(
    columns: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamacpp_integrations.cli.shared.WIDTH_OF_A_FILE", columns)
    for command in (("models", "list"), ("models", "info", "all-minilm-l6-v2"), ("doctor",)):
        shown = run(*command).stdout
        assert "…" not in shown
        assert columns < 50 or "all-minilm-l6-v2" in shown


def test_a_reader_that_goes_away_is_no_traceback(smollm2_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "complete", "Once", "-m", str(smollm2_path), "--n-ctx", "512", "--max-tokens", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) != 0


def test_an_interrupt_during_the_imports_is_no_traceback() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["llamacpp"].partition(":")
    code = f"""
import signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "llamacpp_core.errors":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from {module} import {function}
{function}()
"""
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_entry_point_runs_the_command() -> None:
    code = "from llamacpp_integrations.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", "list", "--json"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
