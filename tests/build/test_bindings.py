"""What is bound, counted by other means than those that bind it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llamacpp_core.native import ffi, lib

HEADERS = {
    "llama.h": "include/llama.h",
    "mtmd.h": "tools/mtmd/mtmd.h",
    "mtmd-helper.h": "tools/mtmd/mtmd-helper.h",
    "ggml-backend.h": "ggml/include/ggml-backend.h",
    "gguf.h": "ggml/include/gguf.h",
}


def plain(path: Path) -> str:
    """The C part of a header, without comments, preprocessor lines and strings."""
    text = re.sub(r"//.*|/\*[\s\S]*?\*/", "", path.read_text(encoding="utf-8"))
    lines, cpp_depth = [], 0
    for line in text.splitlines():
        word = line.strip()
        if re.match(r"#\s*if", word):
            cpp_depth = cpp_depth + 1 if cpp_depth or "__cplusplus" in word else 0
        elif word.startswith("#endif") and cpp_depth:
            cpp_depth -= 1
        elif not cpp_depth and not word.startswith("#"):
            lines.append(re.sub(r'"[^"]*"', '""', line))
    return "\n".join(lines)


def function_names(text: str) -> set[str]:
    """Every name before an opening parenthesis whose statement stands outside of braces and is no typedef."""
    text = text.replace("DEPRECATED(", " ")
    depth, flat = 0, []
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        flat.append(character if depth == 0 or character == "}" else "")
    names = set()
    for statement in "".join(flat).split(";"):
        found = re.search(r"\b(?:LLAMA|MTMD|GGML|GGML_BACKEND)_API\b(.*)", statement, re.DOTALL)
        if found and "typedef" not in statement.split(found.group(0))[0]:
            names.add(re.findall(r"(\w+)\s*\(", found.group(1))[0])
    return names


@pytest.mark.parametrize(
    ("header", "at_least"),
    [("llama.h", 230), ("mtmd.h", 50), ("mtmd-helper.h", 20), ("ggml-backend.h", 100), ("gguf.h", 50)],
)
def test_every_function_of_a_header_is_bound(llama_cpp_source: Path, header: str, at_least: int) -> None:
    declared = function_names(plain(llama_cpp_source / HEADERS[header]))
    assert len(declared) >= at_least
    missing = sorted(name for name in declared if name not in dir(lib))
    assert missing == []
    assert all(callable(getattr(lib, name)) for name in declared)


@pytest.mark.parametrize("header", HEADERS)
def test_every_enum_constant_has_the_header_s_value(llama_cpp_source: Path, header: str) -> None:
    count = 0
    for body in re.findall(r"\benum\s+\w+\s*\{([^}]*)\}", plain(llama_cpp_source / HEADERS[header])):
        value = -1
        for entry in filter(None, map(str.strip, body.split(","))):
            name, _, expression = (part.strip() for part in entry.partition("="))
            if re.fullmatch(r"[-\d\s<|()x]+", expression):
                value = eval(expression)
            elif expression:
                value = getattr(lib, expression, None) or getattr(lib, name)
            else:
                value += 1
            assert getattr(lib, name) == value, name
            count += 1
    if header == "llama.h":
        assert count > 100


def test_integer_macros(llama_cpp_source: Path) -> None:
    text = (llama_cpp_source / HEADERS["llama.h"]).read_text(encoding="utf-8")
    found = re.findall(r"^#define\s+(LLAMA_\w+)\s+(-?(?:0x)?[0-9a-fA-F]+)u?\b", text, re.MULTILINE)
    assert {name for name, _ in found} >= {"LLAMA_DEFAULT_SEED", "LLAMA_TOKEN_NULL", "LLAMA_FILE_MAGIC_GGSN"}
    for name, value in found:
        assert getattr(lib, name) == int(value, 0), name
    assert lib.LLAMA_SESSION_MAGIC == lib.LLAMA_FILE_MAGIC_GGSN
    assert lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY == 1


def test_structs_are_complete(llama_cpp_source: Path) -> None:
    text = plain(llama_cpp_source / HEADERS["llama.h"])
    structs = re.findall(r"\bstruct\s+(\w+)\s*\{([^{}]*)\}", text)
    assert len(structs) > 15
    for name, body in structs:
        fields = {field for field, _ in ffi.typeof(f"struct {name}").fields or []}
        for part in filter(None, map(str.strip, body.split(";"))):
            pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)", part)  # to a function
            declared = pointer or re.search(r"(\w+)\s*(?:\[[^]]*\]\s*)*$", part)
            assert declared is not None
            assert declared.group(1) in fields, (name, part)


def test_devices_can_be_listed() -> None:
    names = []
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        names.append(ffi.string(lib.ggml_backend_dev_name(device)))
        free, total = ffi.new("size_t *"), ffi.new("size_t *")
        lib.ggml_backend_dev_memory(device, free, total)
        assert free[0] <= total[0]
    assert b"CPU" in names


def test_own_functions_are_bound() -> None:
    text = re.sub(
        r"//.*", "", (Path(__file__).parents[2] / "native" / "engine.h").read_text(encoding="utf-8")
    )
    names = set(re.findall(r"\b(lc_\w+)\s*\([^)]*\)\s*;", text))
    assert len(names) > 15
    assert names <= set(dir(lib))


def test_the_stub_knows_our_functions() -> None:
    root = Path(__file__).parents[2]
    stub = (root / "core" / "llamacpp_core" / "native" / "_native.pyi").read_text(encoding="utf-8")
    text = re.sub(r"//.*", "", (root / "native" / "engine.h").read_text(encoding="utf-8"))
    declared = {
        name: [part for part in arguments.split(",") if part.strip() not in ("", "void")]
        for name, arguments in re.findall(r"\b(lc_\w+)\s*\(([^)]*)\)\s*;", text)
    }
    typed = {
        name: [part for part in arguments.split(",") if part.strip() not in ("", "self")]
        for name, arguments in re.findall(r"def (lc_\w+)\(([^)]*)\)", stub)
    }
    assert {name: len(arguments) for name, arguments in declared.items()}.items() <= {
        name: len(arguments) for name, arguments in typed.items()
    }.items()
