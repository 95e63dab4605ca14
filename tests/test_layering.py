"""The arrows between the floors point downwards, and what a module offers is what it names."""

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
# Modules whose job is the border to native code.
NATIVE = {
    "_ffi",
    "_native_errors",
    "_native_log",
    "build_info",
    "engine",
    "options",
    "parsers",
    "plan",
    "request",
    "server_options",
    "template_check",
    "vocab",
}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(path: Path, package: Path = CORE) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path, *, at_import_time: bool = False) -> Iterator[str]:
    """Absolute names of what a file imports: modules, and modules with the imported name behind them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes: list[ast.AST] = list(_toplevel(tree)) if at_import_time else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _toplevel(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _toplevel(node)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(CORE), ids=ids)
def test_core_knows_no_framework(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS


@pytest.mark.parametrize("path", modules(CORE), ids=ids)
def test_native_code_is_touched_only_at_its_border(path: Path) -> None:
    inside = path.relative_to(CORE)
    if inside.parts[0] == "lowlevel" or inside.stem in NATIVE:
        return
    touched = {name for name in imports(path) if re.search(r"(^|\.)(_ffi|_native)(\.|$)|^cffi", name)}
    allowed = {"_native"} if inside.parts[0] == "cli" else set()  # `llamacpp doctor` reports the build
    assert not touched - allowed


def test_only_one_module_imports_the_extension() -> None:
    found = {name_of(path) for path in modules(CORE) if "llamacpp_core.native._native" in imports(path)}
    assert found == {"llamacpp_core.native"}


def test_adapters_never_touch_native_code() -> None:
    for path in modules(ADAPTERS):
        for name in imports(path):
            assert not name.startswith(("llamacpp_core.native", "llamacpp_core.native._native", "cffi")), (
                path,
                name,
            )
            assert name.split(".")[-1] not in ("ffi", "lib"), (path, name)


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
        if path.relative_to(folder).parts[0] in ("cli", "demo", "demo.py", "__main__.py"):
            continue  # commands
        calls = (
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        )
        assert not [
            call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
        ], path
