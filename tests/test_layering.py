"""The house: imports point down a table of rooms, files stay short, and modules offer what they name."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamacpp_core
from llamacpp_core import errors

CORE = Path(llamacpp_core.__file__).parent
ROOT = CORE.parent.parent
ADAPTERS = ROOT / "llamacpp_integrations"

# Which room may import from which, at import time, in a function or for types alone. A room is a folder, or a
# module beside the folders; a folder that is not named here belongs to the room around it. Imports point only
# down this list, so there is no circle.
ROOMS = {
    "integrations/demo": "llamacpp_core integrations/langchain integrations/llama_index",
    "integrations/langchain": ("integrations llamacpp_core request response models _checks errors"),
    "integrations/llama_index": (
        "integrations llamacpp_core llama request response engine models types _checks errors"
    ),
    "integrations/cli": (
        "integrations/server integrations llamacpp_core display engine/load models grammar native _checks "
        "errors"
    ),
    "integrations/ray": "integrations/server integrations llamacpp_core _checks errors",
    "integrations/server": "llamacpp_core _checks errors",
    "integrations": "llamacpp_core llama engine/load types _checks errors",
    "llamacpp_core": "llama engine engine/load engine/python_loop grammar errors",
    "llama": (
        "chat_format chat_format/named request response display engine engine/load engine/python_loop "
        "lowlevel models models/bert grammar types _checks errors"
    ),
    "chat_format": "chat_format/named request response types errors",
    "chat_format/named": "errors",
    "request": "response engine/python_loop engine lowlevel grammar _checks errors",
    "response": "engine native errors",
    "display": "engine _checks errors",
    "engine/python_loop": "engine/load engine lowlevel errors",
    "engine/load": "engine models native _checks errors",
    "engine": "native errors",
    "lowlevel": "models models/gguf grammar native _checks errors",
    "models": "models/bert models/gguf _checks errors",
    "models/bert": "models/gguf _checks errors",
    "models/gguf": "errors",
    "grammar": "errors",
    "native": "errors",
    "types": "",
    "_checks": "errors",
    "errors": "",
}
MOST_ENTRIES = 14
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50

FRAMEWORKS = {
    "langchain",
    "langchain_core",
    "langchain_community",
    "langgraph",
    "llama_index",
    "llama_index_core",
    "llamacpp_integrations",
    "llama_cpp",
    "torch",
    "transformers",
}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    package = CORE if path.is_relative_to(CORE) else ADAPTERS
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports: modules, and modules followed by the imported name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(parts: tuple[str, ...]) -> str:
    """The innermost room of a module, given by the parts of its dotted name."""
    package, *inside = parts
    names = ["integrations" if package == "llamacpp_integrations" else "", *inside]
    while names:
        if (room := "/".join(filter(None, names))) in ROOMS:
            return room
        names.pop()
    assert package == "llamacpp_core", parts
    return package


def room_of_file(path: Path) -> str:
    room = room_of(tuple(name_of(path).split(".")))
    assert room != "llamacpp_core" or path == CORE / "__init__.py", f"{path} is in no room of the table"
    return room


def arrows() -> dict[tuple[str, str], list[str]]:
    """Which room imports from which, with the modules and names."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in (*modules(CORE), *modules(ADAPTERS)):
        here = room_of_file(path)
        for name in imports(path):
            if name.partition(".")[0] not in ("llamacpp_core", "llamacpp_integrations"):
                continue
            there = room_of(tuple(name.split(".")))
            if there != here:
                found.setdefault((here, there), []).append(f"{ids(path)}: {name}")
    return found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(CORE), ids=ids)
def test_core_knows_no_framework(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS


def test_rooms_import_only_what_the_table_allows() -> None:
    allowed = {(room, other) for room, others in ROOMS.items() for other in others.split()}
    found = arrows()
    assert {pair: found[pair] for pair in found.keys() - allowed} == {}, "not in the table of rooms"
    assert allowed - found.keys() == set(), "in the table of rooms, and not used any more"


def test_the_table_of_rooms_points_down() -> None:
    order = list(ROOMS)
    for room, others in ROOMS.items():
        for other in others.split():
            assert order.index(other) > order.index(room), (room, other)


def test_every_room_has_few_entries_on_its_floor() -> None:
    for folder in (CORE, ADAPTERS):
        marks = {"__pycache__", "py.typed"}
        entries = [entry.name for entry in folder.iterdir() if entry.name not in marks]
        assert len(entries) <= MOST_ENTRIES, sorted(entries)


@pytest.mark.parametrize("folder", ["core", "llamacpp_integrations", "native", "tests"])
def test_files_and_functions_stay_short(folder: str) -> None:
    sources = [path for kind in ("*.py", "*.cpp", "*.h") for path in (ROOT / folder).rglob(kind)]
    assert sources
    bundled = ROOT / "native" / "bundled"  # llama.cpp, in a source archive
    for path in sources:
        if path.is_relative_to(bundled):
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= MOST_LINES, path
        for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert body_lines(node) <= MOST_LINES_OF_A_FUNCTION, f"{path}: {node.name}"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    documented = ast.get_docstring(function, clean=False) is not None
    code = function.body[documented:]
    return (function.end_lineno or 0) - code[0].lineno + 1 if code else 0


def test_only_one_module_imports_the_extension() -> None:
    found = {
        name_of(path) for path in modules(CORE) if any("native._native" in name for name in imports(path))
    }
    assert found == {"llamacpp_core.native"}


def test_adapters_never_touch_native_code() -> None:
    for path in modules(ADAPTERS):
        for name in imports(path):
            assert name.split(".")[-1] not in ("ffi", "lib", "cffi", "_native"), (path, name)


def test_adapters_do_not_know_each_other() -> None:
    for folder, other in (("langchain", "llama_index"), ("llama_index", "langchain")):
        for path in modules(ADAPTERS / folder):
            assert not [name for name in imports(path) if other in name], path


def _order(name: str) -> tuple[int, list[object]]:
    """Constants, then classes, then the rest, each in natural order: what ruff (RUF022) keeps."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


@pytest.mark.parametrize("path", modules(CORE), ids=ids)
def test_all_is_complete_and_sorted(path: Path) -> None:
    if path.stem == "__main__":
        return
    module = importlib.import_module(name_of(path))
    exported = getattr(module, "__all__", None)
    private = any(
        part.startswith("_") and part != "__init__" for part in path.relative_to(CORE).with_suffix("").parts
    )
    if private and exported is None:
        return
    assert exported is not None, "no __all__"
    assert list(exported) == sorted(exported, key=_order)
    assert len(set(exported)) == len(exported)
    for name in exported:
        assert hasattr(module, name), name
    assert inspect.getdoc(module), "no docstring"


@pytest.mark.parametrize("path", modules(CORE), ids=ids)
def test_everything_public_has_a_docstring(path: Path) -> None:
    module = importlib.import_module(name_of(path))
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module.__name__}.{name}"


def test_the_tree_in_the_errors_docstring_is_the_tree_of_classes() -> None:
    drawn: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ├└─]*)(\w+Error)(?: \((\w+)\))?", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        path[depth:] = [found[2]]
        drawn[found[2]] = (path[depth - 1] if depth else "Exception", found[3])
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(drawn) == set(classes) == set(errors.__all__)
    for name, (parent, builtin) in drawn.items():
        bases = [base.__name__ for base in classes[name].__bases__]
        assert bases == [parent, builtin] if builtin else bases == [parent], name


def test_every_error_is_exported_by_the_package() -> None:
    assert set(errors.__all__) <= set(llamacpp_core.__all__)
    assert all(issubclass(getattr(errors, name), errors.LlamaCppError) for name in errors.__all__)


@pytest.mark.parametrize("folder", [CORE, ADAPTERS], ids=ids)
def test_no_module_prints(folder: Path) -> None:
    for path in modules(folder):
        if path.relative_to(folder).parts[0] in ("cli", "demo", "demo.py") or path.name == "selftest.py":
            continue  # commands
        calls = (
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        )
        assert not [
            call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
        ], path
