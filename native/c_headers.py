"""Reads C headers the way the C compiler does, and picks declarations out of them.

The compiler's own preprocessor expands the headers, its line markers tell which file each declaration
comes from, and pycparser (a dependency of cffi) turns the text into a tree. No declaration is written
down by hand here, so nothing can drift away from the headers that the extension is compiled against.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pycparser import c_ast, c_generator, c_parser

# What the standard headers define; their own text is left out because pycparser reads plain C only.
# cffi knows all of these by itself.
STANDARD_TYPES = (
    *(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("size_t", "ssize_t", "ptrdiff_t", "intptr_t", "uintptr_t", "wchar_t", "FILE", "va_list"),
)

_LINE_MARKER = re.compile(r'^\s*#\s*(?:line\s+)?\d+\s+"((?:[^"\\]|\\.)*)"')
_COMPILER_WORDS = re.compile(r"\b(?:__extension__|__restrict(?:__)?|__inline(?:__)?|__cdecl|__forceinline)\b")
_DECORATIONS = ("__attribute__", "__declspec", "__asm__", "__pragma")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+([A-Za-z_]\w*)[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*")


class HeaderError(RuntimeError):
    """The headers could not be read as C."""


@dataclass(frozen=True)
class Compiler:
    """The configured C compiler.

    Attributes:
        command: Path of the compiler.
        msvc: Whether it takes the options of Microsoft's compiler.
        include_dirs: Where its ``#include`` looks.
        definitions: Macros to define, as ``NAME`` or ``NAME=VALUE``.
    """

    command: str
    msvc: bool
    include_dirs: tuple[Path, ...]
    definitions: tuple[str, ...] = ()

    def preprocess(self, source: str) -> str:
        """Returns ``source`` with every include and macro expanded, line markers kept."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "headers.c"
            path.write_text(source, encoding="utf-8")
            if self.msvc:
                options = ["/nologo", "/E", "/TC", "/utf-8", *(f"/I{d}" for d in self.include_dirs)]
                options += [f"/D{d}" for d in self.definitions]
            else:
                options = ["-E", "-x", "c", "-std=c11", *(f"-I{d}" for d in self.include_dirs)]
                options += [f"-D{d}" for d in self.definitions]
            done = subprocess.run(
                [self.command, *options, str(path)], capture_output=True, encoding="utf-8", errors="replace"
            )
        if done.returncode != 0:
            raise HeaderError(f"the C preprocessor failed:\n{done.stderr}")
        return done.stdout


@dataclass
class Declarations:
    """The declarations of a set of headers, in their order.

    Attributes:
        nodes: Every top-level declaration, with the name of the header that holds it.
    """

    nodes: list[tuple[str, c_ast.Node]] = field(default_factory=list)

    @classmethod
    def parse(cls, preprocessed: str, headers: dict[Path, str]) -> Declarations:
        """Parses what the preprocessor printed, keeping only what comes from ``headers``.

        Args:
            preprocessed: C text with line markers.
            headers: The files whose declarations count, each with the name to know it by.
        """
        prelude = "".join(f"typedef int {name};\n" for name in STANDARD_TYPES)
        text = prelude + _only_from(preprocessed, headers)
        try:
            tree = c_parser.CParser().parse(text, filename="<standard types>")
        except c_parser.ParseError as error:
            raise HeaderError(f"cannot read the headers as C: {error}") from error
        known = set(headers.values())
        return cls([(file, node) for node in tree.ext if (file := _file_of(node)) in known])

    def functions(self, header: str) -> list[str]:
        """Names of the functions that ``header`` declares."""
        return [node.name for file, node in self.nodes if file == header and is_function(node)]

    def select(self, wanted: dict[str, re.Pattern[str]]) -> list[c_ast.Node]:
        """Picks declarations and everything that they need, in the order of the headers.

        Args:
            wanted: For each header name, a pattern that a declaration's name must match in full.
                What does not match still comes along when something selected needs it.
        """
        by_name: dict[str, c_ast.Node] = {}
        for _, node in self.nodes:
            for name in _defines(node):
                by_name[name] = node
        chosen: set[int] = set()
        pending = [
            node
            for file, node in self.nodes
            if file in wanted and not isinstance(node, c_ast.FuncDef) and wanted[file].fullmatch(_label(node))
        ]
        while pending:
            node = pending.pop()
            if id(node) in chosen:
                continue
            chosen.add(id(node))
            pending += [by_name[name] for name in _needs(node) if name in by_name]
        return [node for _, node in self.nodes if id(node) in chosen]


def to_c(nodes: list[c_ast.Node]) -> str:
    """Writes declarations back as C."""
    generator = c_generator.CGenerator()
    lines = [str(generator.visit(_for_cffi(node))) + ";" for node in nodes]
    return "\n".join(lines) + "\n"


def integer_constants(header_text: str) -> list[str]:
    """Names of the macros whose value is an integer, directly or through another such macro."""
    values = {name: value.strip("() \t") for name, value in _DEFINE.findall(strip_comments(header_text))}

    def is_integer(value: str, depth: int = 0) -> bool:
        if _INTEGER.fullmatch(value):
            return True
        return depth < 8 and value in values and is_integer(values[value], depth + 1)

    return [name for name, value in values.items() if is_integer(value)]


def strip_comments(text: str) -> str:
    """Removes C comments."""
    return _COMMENT.sub(" ", text)


def is_function(node: c_ast.Node) -> bool:
    """Whether a top-level node declares a function."""
    return isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl)


def count_kinds(nodes: list[c_ast.Node]) -> dict[str, int]:
    """Counts functions, structs, enums and the constants inside the enums."""
    counts = {"functions": sum(map(is_function, nodes)), "structs": 0, "enums": 0, "enum constants": 0}
    for node in nodes:
        for part in _walk(node):
            if isinstance(part, c_ast.Struct) and part.decls:
                counts["structs"] += 1
            elif isinstance(part, c_ast.Enum) and part.values:
                counts["enums"] += 1
                counts["enum constants"] += len(part.values.enumerators)
    return counts


def _only_from(preprocessed: str, headers: dict[Path, str]) -> str:
    lines: list[str] = []
    names: dict[str, str | None] = {}
    current: str | None = None
    for line in preprocessed.splitlines():
        marker = _LINE_MARKER.match(line)
        if marker:
            file = marker.group(1)
            if file not in names:
                names[file] = headers.get(Path(file.replace("\\\\", "\\")).resolve())
            current = names[file]
            if current is not None:
                lines.append(f'# 1 "{current}"')
        elif current is not None and not line.lstrip().startswith("#"):
            lines.append(line)
    text = "\n".join(lines)
    for word in _DECORATIONS:
        text = _without_call(text, word)
    return _COMPILER_WORDS.sub("", text) + "\n"


def _without_call(text: str, word: str) -> str:
    """Removes ``word`` together with the balanced parentheses that follow it."""
    parts: list[str] = []
    position = 0
    for match in re.finditer(rf"\b{word}\s*\(", text):
        if match.start() < position:
            continue
        parts.append(text[position : match.start()])
        depth, position = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[position], 0)
            position += 1
    parts.append(text[position:])
    return "".join(parts)


def _walk(node: c_ast.Node) -> list[c_ast.Node]:
    found = [node]
    for _, child in node.children():
        found += _walk(child)
    return found


def _file_of(node: c_ast.Node) -> str | None:
    for part in _walk(node):
        if part.coord is not None:
            return str(part.coord.file)
    return None


def _label(node: c_ast.Node) -> str:
    if getattr(node, "name", None):
        return str(node.name)
    tag = getattr(getattr(node, "type", None), "name", None)
    return str(tag or "")


def _defines(node: c_ast.Node) -> list[str]:
    """Keys that a top-level node satisfies: a typedef's name, ``struct x``, ``enum x``."""
    keys = [node.name] if isinstance(node, c_ast.Typedef) else []
    for part in _walk(node):
        if isinstance(part, c_ast.Struct | c_ast.Union) and part.decls and part.name:
            keys.append(f"struct {part.name}")
        elif isinstance(part, c_ast.Enum) and part.values:
            keys += [f"enum {part.name}"] if part.name else []
            keys += [item.name for item in part.values.enumerators]
    return keys


def _needs(node: c_ast.Node) -> list[str]:
    keys: list[str] = []
    for part in _walk(node):
        if isinstance(part, c_ast.IdentifierType):
            keys += part.names
        elif isinstance(part, c_ast.ID):
            keys.append(part.name)
        elif isinstance(part, c_ast.Struct | c_ast.Union) and not part.decls:
            keys.append(f"struct {part.name}")
        elif isinstance(part, c_ast.Enum) and not part.values:
            keys.append(f"enum {part.name}")
    return keys


def _for_cffi(node: c_ast.Node) -> c_ast.Node:
    if isinstance(node, c_ast.Decl):
        node.storage = []
        node.funcspec = []
    for part in _walk(node):
        # cffi cannot compute a sizeof; "..." makes the C compiler fill in the length
        if isinstance(part, c_ast.ArrayDecl) and part.dim is not None and _has_sizeof(part.dim):
            part.dim = c_ast.ID("...")
    return node


def _has_sizeof(node: c_ast.Node) -> bool:
    return any(isinstance(part, c_ast.UnaryOp) and part.op == "sizeof" for part in _walk(node))
