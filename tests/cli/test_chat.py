"""The command ``llamacpp chat``, as a person uses it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli.process import COMMAND, Run, assert_error

QUICK = ("--n-ctx", "512", "--temperature", "0")


def test_one_answer(spawn: Run, smollm2_path: Path) -> None:
    done = spawn("chat", str(smollm2_path), *QUICK, "-p", "Say hello.", "--max-tokens", "6")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_json(run: Run, smollm2_path: Path) -> None:
    asked = ("chat", str(smollm2_path), *QUICK, "-p", "Say hello.", "--max-tokens", "6")
    response = json.loads(run(*asked, "--json").stdout)
    assert response["object"] == "chat.completion"
    assert run(*asked).stdout == response["choices"][0]["message"]["content"] + "\n"


def test_a_conversation_is_kept_saved_and_gone_on_with(run: Run, smollm2_path: Path, tmp_path: Path) -> None:
    chat = ("chat", str(smollm2_path), *QUICK, "--max-tokens", "4")
    typed = "Say one.\nSay two.\n/save a.json\n/clear\nSay three.\n/save b.json\n/exit\nnever asked\n"
    done = run(*chat, "--system", "Be brief.", typed=typed)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert [message["role"] for message in first] == ["system", "user", "assistant", "user", "assistant"]
    assert [message["content"] for message in second[:2]] == ["Be brief.", "Say three."]
    done = run(*chat, "--load", "a.json", "--save", "c.json", "-p", "Say four.")
    assert done.returncode == 0, done.stderr
    third = json.loads((tmp_path / "c.json").read_text())
    assert third[:5] == first
    assert third[5] == {"role": "user", "content": "Say four."}
    assert third[6]["content"] == done.stdout.removesuffix("\n")


def test_files_become_context(run: Run, smollm2_path: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The code word is Heron.")
    typed = "/file note.txt\n/file none.txt\nHello\n"
    done = run(
        "chat",
        str(smollm2_path),
        *QUICK,
        "-f",
        "note.txt",
        "--max-tokens",
        "2",
        "--save",
        "c.json",
        typed=typed,
    )
    assert done.returncode == 1, done.stderr
    assert "error: none.txt: No such file" in done.stderr
    system, question, _ = json.loads((tmp_path / "c.json").read_text())
    assert system["content"] == "note.txt:\nThe code word is Heron."
    assert question["content"] == "note.txt:\nThe code word is Heron.\n\nHello"


def test_several_lines_retry_and_a_question_that_is_too_long(
    run: Run, smollm2_path: Path, tmp_path: Path
) -> None:
    typed = f'"""\none\n\ntwo\n"""\n/retry\n{"sea " * 600}\n/load none.json\n/nonsense\n/save\n'
    done = run("chat", str(smollm2_path), *QUICK, "--max-tokens", "2", "--save", "c.json", typed=typed)
    assert done.returncode == 1, done.stderr
    question, _ = json.loads((tmp_path / "c.json").read_text())
    assert question["content"] == "one\n\ntwo"
    assert len(done.stdout.splitlines()) == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "512" in errors[0]
    assert "there is no command /nonsense" in done.stderr
    assert "/retry answers" in done.stderr
    assert "/save needs a file" in done.stderr


def test_ctrl_c_stops_the_answer_and_not_the_program(smollm2_path: Path, tmp_path: Path) -> None:
    """In a real terminal."""
    saved = tmp_path / "c.json"
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "chat", str(smollm2_path), *QUICK, "--save", str(saved)],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        try:
            shown = _read_until(master, "> ")
            os.write(master, b"Tell a very long story about a fox and a bear.\n")
            shown += _read_until(master, "bear.\r\n")  # echoed
            shown += _read_until(master, "e")
            process.send_signal(signal.SIGINT)
            shown += _read_until(master, "[stopped]")
            if not shown.endswith("> "):
                shown += _read_until(master, "> ")  # Ctrl-D counts from the prompt on
            os.write(master, b"\x04")
            shown += _read_until(master, "saved")
            assert process.wait(30) == 0
        finally:
            process.kill()
    os.close(master)
    story = json.loads(saved.read_text())[1]
    assert story["role"] == "assistant"
    assert story["content"]
    assert "Traceback" not in shown


def test_ctrl_c_in_a_single_answer_ends_with_its_status(smollm2_path: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "chat", str(smollm2_path), *QUICK, "-p", "Tell a long story.", "--save", "c.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        begun = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        shown, errors = begun + process.stdout.read(), process.stderr.read()
        assert process.wait(30) == 130
    assert errors == "saved c.json\n"
    assert json.loads((tmp_path / "c.json").read_text())[1]["content"] == shown.removesuffix("\n")


def test_a_script_is_told_of_a_line_without_an_answer(run: Run, smollm2_path: Path) -> None:
    done = run("chat", str(smollm2_path), *QUICK, "--max-tokens", "2", typed="a\0b\nHello\n")
    assert done.returncode == 1
    assert "error: messages[0].content holds a NUL" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def _read_until(terminal: int, text: str) -> str:
    shown, deadline = "", time.monotonic() + 60
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{text!r} did not come: {shown}"
        shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown


@pytest.mark.parametrize("model", ["no-such-model", "."])
def test_errors_are_one_line(model: str, run: Run) -> None:
    assert_error(run("chat", model, "-p", "x"), 1)


def test_files_that_cannot_be_read_are_told_before_anything_is_loaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "c.json").write_text('{"role": "user"}')
    assert_error(run("chat", "-f", "none.txt"), 2, "none.txt")
    assert_error(run("chat", "-f", "latin.txt"), 2, "UTF-8")
    assert_error(run("chat", "--load", "c.json"), 1, "c.json")
    assert_error(run("chat", "--load", "c.json", "-s", "x"), 2, "--system")
    assert_error(run("chat", "-p", "x", "--save", "none/c.json"), 2, "--save", "folder")
    assert_error(run("chat", "-p", "x", "--save", "."), 2, "--save", "folder")
