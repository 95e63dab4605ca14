"""The command ``llamacpp chat``, as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUN = (sys.executable, "-c", "from llamacpp_core.cli import main; main()")


def chat(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, "chat", "--n-ctx", "512", *arguments], input=typed, capture_output=True, text=True, timeout=100
    )


def test_one_answer(smollm2_path: Path) -> None:
    done = chat(str(smollm2_path), "-p", "Say hello.", "--max-tokens", "6", "--temperature", "0")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert done.stderr == ""


def test_a_conversation_is_kept_and_saved(smollm2_path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    typed = f"Say one.\nSay two.\n/save {saved}\n/clear\n/exit\n"
    done = chat(str(smollm2_path), "--system", "Be brief.", "--max-tokens", "4", typed=typed)
    assert done.returncode == 0, done.stderr
    roles = [message["role"] for message in json.loads(saved.read_text())]
    assert roles == ["system", "user", "assistant", "user", "assistant"]


def test_a_file_becomes_context(smollm2_path: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The code word is Heron.")
    saved = tmp_path / "chat.json"
    done = chat(
        str(smollm2_path), "-f", str(note), "-p", "Hello", "--max-tokens", "2", "--save", str(saved)
    )
    assert done.returncode == 0, done.stderr
    assert "The code word is Heron." in json.loads(saved.read_text())[0]["content"]


def test_errors_are_one_line(tmp_path: Path) -> None:
    for arguments in (("no-such-model",), (str(tmp_path),)):
        done = chat(*arguments, "-p", "x")
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
