"""Of a model's file only what is read in place stays in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llamacpp_core import Llama

SMAPS = Path("/proc/self/smaps")
pytestmark = pytest.mark.skipif(
    not SMAPS.exists(), reason="the system does not tell which pages are resident"
)


def resident_of(path: Path) -> int:
    """Bytes of a file that are resident in this process."""
    total, its = 0, False
    for line in SMAPS.read_text().splitlines():
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):  # the first line of a mapping
            its = len(rest) == 5 and rest[4] == str(path.resolve())
        elif its and name == "Rss:":
            total += int(rest[0]) * 1024
    return total


@pytest.mark.changes("encoders")
def test_packed_weights_are_not_kept_twice(minilm_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(minilm_path, tmp_path))  # one that no other model of this process has
    with Llama(str(path)) as packed:
        assert 0 < resident_of(path) < 0.6 * path.stat().st_size  # the rest is looked up by rows
        before = packed.embed("a text")
        assert packed.embed("a text") == pytest.approx(before)
    assert resident_of(path) == 0


def test_weights_that_are_read_in_place_stay(smollm2_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(smollm2_path, tmp_path))
    with Llama(str(path), n_ctx=256, n_parallel=1) as llm:
        llm.create_completion("a", max_tokens=2)
        assert resident_of(path) > 0
