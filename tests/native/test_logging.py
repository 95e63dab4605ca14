"""llama.cpp's log goes to Python's logging, under one logger, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import Llama, ModelLoadError

LOGGER = "llamacpp_core.llama_cpp"
SMALL: dict[str, Any] = {"n_ctx": 256, "n_parallel": 1, "warmup": False}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_records_arrive_when_the_level_asks_for_them(
    smollm2_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, LOGGER), Llama(smollm2_path, **SMALL) as llama:
        llama("Hi", max_tokens=1)
    records = [record for record in caplog.records if record.name == LOGGER]
    assert any("llama_model_loader" in record.getMessage() for record in records)
    assert {record.levelno for record in records} >= {logging.INFO}
    assert not any(record.getMessage().endswith("\n") for record in records)
    assert capfd.readouterr() == ("", "")


def test_the_level_holds_back_what_is_below_it(smollm2_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, LOGGER), Llama(smollm2_path, **SMALL) as llama:
        llama("Hi", max_tokens=1)
    assert not [record for record in caplog.records if record.name == LOGGER]


def test_the_level_can_change_while_an_engine_is_open(llm: Llama, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> int:
        return sum(record.name == LOGGER and record.levelno == logging.INFO for record in caplog.records)

    llm("Hi", max_tokens=1)
    before = lines()
    with caplog.at_level(logging.INFO, LOGGER):
        deadline = time.monotonic() + 10
        while lines() == before:
            llm("Hi", max_tokens=1)
            assert time.monotonic() < deadline
    time.sleep(1.2)  # the delivery thread looks at the level at least once a second
    llm("Hi", max_tokens=1)
    quiet = lines()
    llm("Hi", max_tokens=1)
    assert lines() == quiet


def test_the_reason_of_a_failed_load_is_logged_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "brontosaurus")
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with caplog.at_level(logging.ERROR, LOGGER), pytest.raises(ModelLoadError) as caught:
        Llama(tmp_path / "other.gguf", **SMALL)
    assert "brontosaurus" in str(caught.value)
    assert "brontosaurus" in caplog.text


def test_verbose_shows_the_log_on_stderr(run_python: Run, smollm2_path: Path) -> None:
    code = """
import sys
from llamacpp_core import Llama
for _ in range(2):
    with Llama(sys.argv[1], n_ctx=256, n_parallel=1, warmup=False, verbose=True) as llm:
        llm('Hi', max_tokens=1)
"""
    done = run_python(code, str(smollm2_path))
    assert done.returncode == 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert sum("llama_model_loader: loaded meta data" in line for line in lines) == 2  # once per load


def test_a_logging_handler_that_uses_the_engine_does_not_lock_up(smollm2_path: Path) -> None:
    seen: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if box and len(seen) < 3:
                seen.append(len(box[0].tokenize("a b c")))

    box: list[Llama] = []
    logger, handler = logging.getLogger(LOGGER), Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with Llama(smollm2_path, **SMALL) as llama:
            box.append(llama)
            llama("Hi", max_tokens=2)
            deadline = time.monotonic() + 5
            while not seen and time.monotonic() < deadline:
                llama("Hi", max_tokens=2)
            box.clear()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert seen == [3] * len(seen)
    assert seen


def test_a_broken_logging_handler_does_not_stop_the_engine(smollm2_path: Path) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyError("broken handler")

    logger, handler = logging.getLogger(LOGGER), Handler()
    with Llama(smollm2_path, **SMALL) as llama:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            for _ in range(3):
                assert llama("Hi", max_tokens=2)["usage"]["completion_tokens"] == 2
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        assert llama("Hi", max_tokens=2)["usage"]["completion_tokens"] == 2
