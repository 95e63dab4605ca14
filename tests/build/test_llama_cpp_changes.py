"""A change of llama.cpp's source applies where its place is found once, and otherwise says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHANGES = Path(__file__).parents[2] / "native" / "llama_cpp" / "changes.cmake"

PROJECT = """
cmake_minimum_required(VERSION 3.26)
project(changes LANGUAGES NONE)
set(LLAMACPP_CHANGES OFF) # only the tools
set(LLAMA_CPP_SOURCE_DIR "{source}")
set(LLAMA_CPP_SOURCE_IS_PINNED {pinned})
include("{changes}")
llama_cpp_edit(copy FILE ggml/a.c FROM "{place}" TO "int b;" FROM "int y;" TO "int z;")
message(STATUS "copy: [${{copy}}]")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "llama.cpp" / "ggml" / "a.c"
    file.parent.mkdir(parents=True)
    file.write_text("int a;\nint x;\nint x;\nint y;\n", "utf-8")
    return tmp_path / "llama.cpp"


def configure(source: Path, *, place: str, pinned: bool) -> subprocess.CompletedProcess[str]:
    project = source.parent / "project"
    project.mkdir(exist_ok=True)
    text = PROJECT.format(
        source=source.as_posix(), changes=CHANGES.as_posix(), place=place, pinned="ON" if pinned else "OFF"
    )
    (project / "CMakeLists.txt").write_text(text, "utf-8")
    cmake = Path(sys.executable).with_name("cmake")  # the wheel of the build group
    command = [str(cmake), "-S", str(project), "-B", str(source.parent / "build")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    done.stderr = " ".join(done.stderr.split())  # CMake wraps its lines
    return done


def test_a_copy_is_changed_and_the_source_is_not(source: Path) -> None:
    done = configure(source, place="int a;", pinned=True)
    copy = source.parent / "build" / "llama_cpp_changes" / "ggml" / "a.c"
    assert done.returncode == 0, done.stderr
    assert f"copy: [{copy.as_posix()}]" in done.stdout
    assert copy.read_text("utf-8") == "int b;\nint x;\nint x;\nint z;\n"
    assert (source / "ggml" / "a.c").read_text("utf-8").startswith("int a;")


def test_an_equal_copy_is_not_written_again(source: Path) -> None:
    configure(source, place="int a;", pinned=True)
    copy = source.parent / "build" / "llama_cpp_changes" / "ggml" / "a.c"
    before = copy.stat().st_mtime_ns
    configure(source, place="int a;", pinned=True)
    assert copy.stat().st_mtime_ns == before


@pytest.mark.parametrize("place", ["int gone;", "int x;"], ids=["missing", "twice"])
def test_a_place_that_is_not_there_once_ends_the_build_of_the_pinned_source(source: Path, place: str) -> None:
    done = configure(source, place=place, pinned=True)
    assert done.returncode != 0
    assert "ggml/a.c does not hold exactly once" in done.stderr
    assert place in done.stderr


@pytest.mark.parametrize("place", ["int gone;", "int x;"], ids=["missing", "twice"])
def test_in_another_source_such_a_change_is_left_out_with_a_warning(source: Path, place: str) -> None:
    done = configure(source, place=place, pinned=False)
    assert done.returncode == 0
    assert "copy: []" in done.stdout
    assert "left out" in done.stderr


def test_a_file_that_is_gone_is_named(source: Path) -> None:
    (source / "ggml" / "a.c").unlink()
    done = configure(source, place="int a;", pinned=True)
    assert done.returncode != 0
    assert "ggml/a.c is not in this llama.cpp" in done.stderr
