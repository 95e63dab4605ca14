"""Every place where llama.cpp ends the process is accounted for in ``docs/explanation/assertions.md``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "assertions.md"
#: What is compiled into the module, by the rows of the page's first table.
FOLDERS = {
    "src": ("src/**/*",),
    "common": ("common/*", "common/jinja/*", "common/parsers/*"),
    "tools/server": ("tools/server/server-[!hm]*", "tools/server/server-models.h"),
    "tools/mtmd": ("tools/mtmd/*", "tools/mtmd/models/*"),
    "ggml/src": ("ggml/src/*",),
    "ggml/src/ggml-cpu": ("ggml/src/ggml-cpu/**/*",),
}
ASSERTION = re.compile(r"\bGGML_(?:ASSERT|ABORT)\(")
#: Other ways to end a process.
END = re.compile(r"(?<!void )(?<![\w.>:])(?:std::)?(?:abort\(\)|terminate\(\)|exit\()")
#: Programs of llama.cpp, which are not linked.
PROGRAMS = {"server.cpp", "server-http.cpp", "server-models.cpp", "mtmd-cli.cpp"}
SOURCES = {".c", ".cpp", ".h"}


def sources(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in root.glob(pattern) if path.suffix in SOURCES}
    return sorted(path for path in found if path.name not in PROGRAMS)


def code_of(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if not line.lstrip().startswith("//")]


def rows(heading: str) -> dict[str, list[str]]:
    """A table of the page: its rows by their first cells."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_assertions_are_counted(llama_cpp_source: Path) -> None:
    def count(path: Path) -> int:
        return sum(len(ASSERTION.findall(line)) for line in code_of(path))

    counted = {
        folder: sum(map(count, sources(llama_cpp_source, patterns))) for folder, patterns in FOLDERS.items()
    }
    assert {row: int(cells[0].replace(",", "")) for row, cells in rows("Assertions").items()} == counted


def test_every_other_end_is_explained(llama_cpp_source: Path) -> None:
    found = Counter(
        path.relative_to(llama_cpp_source).as_posix()
        for patterns in FOLDERS.values()
        for path in sources(llama_cpp_source, patterns)
        for line in code_of(path)
        if END.search(line)
    )
    assert {file: int(cells[0]) for file, cells in rows("Other ends").items()} == found
