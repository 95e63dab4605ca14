"""The command, called in this process as its entry point calls it; ``spawn`` starts a process of its own."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.process import COMMAND, Done, Run

from llamacpp_integrations.cli import main


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """The command sets logging up, as a program may; a test must not leave that behind."""
    loggers = [logging.getLogger(name) for name in ("llamacpp_core", "llamacpp_core.llama_cpp")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    _logging_as_before: None,
) -> Run:
    """Runs ``llamacpp`` in an empty folder."""

    def run(*arguments: str, typed: str = "", blocked: tuple[str, ...] = ()) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["llamacpp", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
            for name in blocked:  # modules that are not installed
                patch.setitem(sys.modules, name, None)
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def spawn(tmp_path: Path) -> Run:
    """Runs ``llamacpp`` as a process in an empty folder."""

    def spawn(*arguments: str, typed: str = "") -> Done:
        done = subprocess.run(
            [*COMMAND, *arguments], input=typed, capture_output=True, text=True, timeout=100, cwd=tmp_path
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return spawn
