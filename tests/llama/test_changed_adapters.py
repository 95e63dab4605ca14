"""Files of LoRA adapters that change while they are loaded."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama, ModelLoadError
from llamacpp_core.engine.adapters import AdapterFiles
from tests.llama.test_lora import text

#: Where a load reads the file's header, after its content was noted and before llama.cpp reads it.
CHECKS = "llamacpp_core.models.loadable.check_companion"
SESSION_CHECKS = "llamacpp_core.lowlevel.lora.check_companion"


@pytest.fixture
def path(adapters: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(adapters[0], tmp_path / "law.gguf"))


@pytest.fixture(params=["replaced", "written to", "replaced for a while"])
def change(
    request: pytest.FixtureRequest, path: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Lets the file change when a function is called that a load calls."""
    other, aside = Path(shutil.copy(adapters[1], path.with_name("other"))), path.with_name("aside")

    def now(*_: Any) -> None:
        monkeypatch.undo()
        if request.param == "written to":
            shutil.copyfile(other, path)
            return
        path.replace(aside)
        other.replace(path)
        if request.param == "replaced for a while":
            check = AdapterFiles.check

            def back(files: AdapterFiles) -> None:
                monkeypatch.undo()
                aside.replace(path)
                check(files)

            monkeypatch.setattr(AdapterFiles, "check", back)

    return lambda place: monkeypatch.setattr(place, now)


@pytest.mark.changes("prefix")
def test_at_run_time(smollm2_path: Path, path: Path, change: Callable[[str], None]) -> None:
    with Llama(smollm2_path, n_ctx=256, n_parallel=1) as llm:
        plain = text(llm)
        change(CHECKS)
        with pytest.raises(ModelLoadError, match=r"law\.gguf was changed while"):
            llm.load_lora(path)
        assert llm.loras == ()
        assert text(llm) == plain
        llm.load_lora(path)
        assert text(llm, lora="law") != plain


def test_at_the_start(smollm2_path: Path, path: Path, change: Callable[[str], None]) -> None:
    change(CHECKS)
    with pytest.raises(ModelLoadError, match=r"law\.gguf was changed while"):
        Llama(smollm2_path, n_ctx=256, n_parallel=1, lora=[path])
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, lora=[path]) as llm:
        assert text(llm) != text(llm, lora={})


def test_with_python_in_the_loop(smollm2_path: Path, path: Path, change: Callable[[str], None]) -> None:
    in_python: dict[str, Any] = {"logits_processor": lambda _ids, scores: scores}
    with Llama(smollm2_path, n_ctx=256, n_parallel=1, lora=[path]) as llm:
        expected = text(llm)
        change(SESSION_CHECKS)
        with pytest.raises(ModelLoadError, match=r"law\.gguf was changed while"):
            text(llm, **in_python)
        assert text(llm) == expected


def test_where_files_have_other_numbers_each_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, real = itertools.count(), os.fstat

    class Facts:
        def __init__(self, descriptor: int) -> None:
            self._real, self.st_ino = real(descriptor), next(numbers)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    monkeypatch.setattr(os, "fstat", Facts)
    files = AdapterFiles(path)
    files.check()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    other.replace(path)
    with pytest.raises(ModelLoadError, match=r"law\.gguf was changed while"):
        files.check()
