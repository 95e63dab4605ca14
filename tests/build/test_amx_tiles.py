"""The compiler must store all 64 bytes of a tile configuration before the processor reads them."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TILES = Path(__file__).parents[2] / "native" / "llama_cpp" / "amx" / "tiles.h"
LOADS = """
#include <immintrin.h>
#include <string.h>
{include}
void load(const char * from) {{
    alignas(64) char config[64];
    memcpy(config, from, sizeof(config));
    _tile_loadconfig(config);
}}
"""
USES = """
#include <immintrin.h>
#include <string.h>
{include}
void load(const char * from, int again) {{
    alignas(64) char block[64];
    memcpy(block, from, sizeof(block));
    _tile_loadd(2, block, 64);
    _tile_stored(2, block, 64);
    if (again && lc_tiles_are_ours()) {{
        _tile_storeconfig(block);
        asm volatile("" : : "r"(block) : "memory");
    }}
}}
"""
pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="AMX is an extension of x86-64"
)


def assembly(compiler: str, source: str, folder: Path) -> str:
    file = folder / "tiles.cpp"
    file.write_text(source, encoding="utf-8")
    # without AVX, 64 bytes are four moves whose offsets can be told apart
    flags = ["-std=c++17", "-O3", "-mamx-tile", "-mamx-int8", "-mno-avx", "-Wall", "-Wextra", "-Werror"]
    done = subprocess.run(
        [compiler, *flags, "-S", "-o", "-", str(file)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def offsets_read(listing: str, instruction: str) -> list[int]:
    """Which bytes of the argument `from` are read, in order, before the instruction."""
    before = listing[: re.search(rf"\b{instruction}\b", listing).start()]  # type: ignore[union-attr]
    return sorted({int(offset or 0) for offset in re.findall(r"mov[a-z]+\s+(\d*)\(%r(?:di|bx|14)\)", before)})


@pytest.fixture(params=["g++", "clang++"])
def compiler(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "probe.cpp").touch()
    probe = [found, "-mamx-tile", "-dM", "-E", str(tmp_path / "probe.cpp")]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if "#define __AMX_TILE__ " not in done.stdout:
        pytest.skip(f"llama.cpp has no AMX code for {request.param}")  # Clang 14 spells the macro otherwise
    return found


def test_a_configuration_is_stored_whole(compiler: str, tmp_path: Path) -> None:
    listing = assembly(compiler, LOADS.format(include=f'#include "{TILES}"'), tmp_path)
    assert offsets_read(listing, "ldtilecfg") == [0, 16, 32, 48]


def test_the_compilers_own_intrinsic_is_why(compiler: str, tmp_path: Path) -> None:
    if "clang" in compiler:
        pytest.skip("Clang's intrinsic is right")
    version = subprocess.run(
        [compiler, "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout
    major, minor = (int(number) for number in version.split(".")[:2])
    mended = {11: 5, 12: 4, 13: 3}.get(major, 0)
    if minor >= mended:
        pytest.skip(f"GCC {version.strip()} has a right one")
    listing = assembly(compiler, LOADS.format(include=""), tmp_path)
    assert 48 not in offsets_read(listing, "ldtilecfg")


def test_tiles_see_what_was_stored_before(compiler: str, tmp_path: Path) -> None:
    listing = assembly(compiler, USES.format(include=f'#include "{TILES}"'), tmp_path)
    assert offsets_read(listing, "tileloadd") == [0, 16, 32, 48]
    assert "sttilecfg" in listing
    assert "ldtilecfg" in listing  # where another library has changed the configuration
