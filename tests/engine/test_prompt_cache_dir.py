"""Long beginnings of prompts on disk: used by the next process, bounded, and never trusted blindly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamacpp_core import InvalidParameterError, Llama, LlamaDiskCache

pytestmark = pytest.mark.changes("prefix")

SYSTEM = "You keep the records of a small harbour. " + "Boats come and go, and each is written down. " * 40
OPTIONS: dict[str, Any] = {"n_ctx": 1024, "n_parallel": 2}


def ask(llm: Llama, system: str = SYSTEM, question: str = "How many boats?") -> tuple[str, int]:
    response = llm.create_completion(system + question, max_tokens=8, temperature=0)
    return response["choices"][0]["text"], response["usage"]["prompt_tokens_details"]["cached_tokens"]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def kept(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the beginning of one prompt, and the answer to it."""
    folder = tmp_path_factory.mktemp("kept") / "new"
    with Llama(smollm2_path, prompt_cache_dir=folder, **OPTIONS) as llm:
        assert llm.info.prompt_cache.folder == str(folder)
        text, cached = ask(llm)
        assert cached == 0
    assert len(files(folder)) == 1
    return folder, text


@pytest.fixture
def folder(kept: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that folder."""
    for file in files(kept[0]):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def reopened(smollm2_path: Path, folder: Path) -> Iterator[Llama]:
    with Llama(smollm2_path, prompt_cache_dir=folder, **OPTIONS) as llm:
        yield llm


def test_the_next_engine_uses_it(kept: tuple[Path, str], reopened: Llama, folder: Path) -> None:
    text, cached = ask(reopened)
    assert cached >= 384
    assert text == kept[1]
    assert ask(reopened, question="And how many ropes?")[1] >= 384
    assert len(files(folder)) == 1, "nothing long was new"


def test_another_process_uses_it(
    kept: tuple[Path, str], folder: Path, smollm2_path: Path, run_python: Any
) -> None:
    code = (
        "import sys\nfrom llamacpp_core import Llama\n"
        "with Llama(sys.argv[1], n_ctx=1024, n_parallel=2, prompt_cache_dir=sys.argv[2]) as llm:\n"
        "    answer = llm.create_completion(sys.argv[3], max_tokens=8, temperature=0)\n"
        "    print(answer['usage']['prompt_tokens_details']['cached_tokens'])\n"
        "    print(answer['choices'][0]['text'])\n"
    )
    result = run_python(code, str(smollm2_path), str(folder), SYSTEM + "How many boats?")
    assert result.returncode == 0, result.stderr
    cached, _, text = result.stdout.partition("\n")
    assert int(cached) >= 384
    assert text.rstrip("\n") == kept[1]


def test_other_beginnings_add_files(smollm2_path: Path, folder: Path) -> None:
    with Llama(smollm2_path, prompt_cache_dir=folder, **OPTIONS) as llm:
        ask(llm, "Another harbour. " + SYSTEM)
        ask(llm, "Too short to keep. ")
    assert len(files(folder)) == 2


@pytest.mark.parametrize("change", ["n_ctx", "type_k", "rope_freq_base", "model"])
def test_what_does_not_fit_is_left_alone(
    smollm2_path: Path, folder: Path, tmp_path: Path, change: str
) -> None:
    changed: dict[str, Any] = {"n_ctx": 768, "type_k": "q8_0", "rope_freq_base": 90000.0}
    options = OPTIONS | ({change: changed[change]} if change in changed else {})
    model = smollm2_path
    if change == "model":
        model = tmp_path.parent / f"{tmp_path.name}-other.gguf"
        data = bytearray(smollm2_path.read_bytes())
        data[-1000] ^= 1
        model.write_bytes(data)
    with Llama(model, prompt_cache_dir=folder, **options) as llm:
        assert ask(llm)[1] == 0


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ("flip", 0),
        ("flip", 12),
        ("flip", 30),
        ("flip", 60),
        ("flip", 400),
        ("flip", -1),
        ("cut", 60),
        ("cut", -1),
    ],
)
def test_damaged_files(
    kept: tuple[Path, str], smollm2_path: Path, folder: Path, place: int, damage: str
) -> None:
    (file,) = files(folder)
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[place] ^= 0x40
    damaged = bytes(data if damage == "flip" else data[:place])
    file.write_bytes(damaged)
    with Llama(smollm2_path, prompt_cache_dir=folder, **OPTIONS) as llm:
        assert ask(llm) == (kept[1], 0)
        llm.set_cache(None)  # waits for what is being written
        assert file.read_bytes() != damaged, "it was not written again"


def test_foreign_files_stay(smollm2_path: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "x.prefix").mkdir()
    with Llama(smollm2_path, prompt_cache_dir=folder, prompt_cache_mib=1, **OPTIONS) as llm:
        ask(llm)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "x.prefix").is_dir()


def test_the_folder_is_bounded(smollm2_path: Path, tmp_path: Path) -> None:
    with Llama(smollm2_path, prompt_cache_dir=tmp_path, prompt_cache_mib=25, **OPTIONS) as llm:
        for i in range(4):
            ask(llm, f"Harbour number {i}. {SYSTEM}")
    assert 0 < sum(file.stat().st_size for file in files(tmp_path)) <= 25 * 2**20
    with Llama(smollm2_path, prompt_cache_dir=tmp_path, **OPTIONS) as llm:
        assert ask(llm, f"Harbour number 3. {SYSTEM}")[1] >= 384, "the last one is kept"


def test_files_are_private(kept: tuple[Path, str]) -> None:
    assert files(kept[0])[0].stat().st_mode & 0o077 == 0
    assert kept[0].stat().st_mode & 0o077 == 0


def test_several_engines_share_a_folder(smollm2_path: Path, tmp_path: Path) -> None:
    with (
        Llama(smollm2_path, prompt_cache_dir=tmp_path, **OPTIONS) as one,
        Llama(smollm2_path, prompt_cache_dir=tmp_path, **OPTIONS) as other,
    ):
        ask(one)
        ask(other, "Another harbour. " + SYSTEM)
        one.set_cache(None)  # waits for what is being written
        other.set_cache(None)
        assert ask(other)[1] >= 384


def test_a_folder_that_vanishes_does_no_harm(smollm2_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with Llama(smollm2_path, prompt_cache_dir=folder, **OPTIONS) as llm:
        folder.rmdir()
        text, _ = ask(llm)
        assert text == ask(llm)[0]


def test_a_folder_that_cannot_be(smollm2_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for value in (tmp_path / "file", tmp_path / "file" / "below", 3, ""):
        with pytest.raises(InvalidParameterError, match="prompt_cache_dir"):
            Llama(smollm2_path, prompt_cache_dir=value, **OPTIONS)  # type: ignore[arg-type]


def test_llama_disk_cache(smollm2_path: Path, folder: Path) -> None:
    with Llama(smollm2_path, **OPTIONS) as llm:
        llm.set_cache(LlamaDiskCache(os.fspath(folder)))
        assert ask(llm)[1] >= 384
        llm.set_cache(None)
        ask(llm, "Another harbour. " + SYSTEM)
    assert len(files(folder)) == 1


def test_memory_and_disk_together(smollm2_path: Path, folder: Path) -> None:
    with Llama(smollm2_path, prompt_cache_dir=folder, cache_ram_mib=64, **OPTIONS) as llm:
        assert ask(llm)[1] >= 384
        for i in range(4):
            ask(llm, f"Harbour {i}. {SYSTEM}")
        assert ask(llm)[1] >= 384, "from memory"
