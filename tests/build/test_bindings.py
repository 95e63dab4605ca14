"""What is bound, counted by other means than those that bind it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from llamacpp_core.native import ffi, lib, text

LLAMA_H = "include/llama.h"
NATIVE = Path(__file__).parents[2] / "native"
OWN_HEADERS = ("error", "log_records", "lowlevel", "cores", "selftest", "engine", "plan", "parser", "slots")


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


def test_every_function_of_llama_h_is_bound(llama_cpp_source: Path) -> None:
    declared = function_names(plain(llama_cpp_source / LLAMA_H))
    assert len(declared) >= 230
    missing = sorted(name for name in declared if name not in dir(lib))
    assert missing == []
    assert all(callable(getattr(lib, name)) for name in declared)


def test_only_what_is_used_of_ggml_is_bound() -> None:
    used = {
        name for path in (NATIVE.parent / "core").rglob("*.py") for name in _USED.findall(path.read_text())
    }
    assert {name for name in dir(lib) if name.startswith(("ggml_", "gguf_", "mtmd_"))} == used


_USED = re.compile(r"\blib\.((?:ggml|gguf|mtmd)_\w+)")


def test_every_enum_constant_has_the_header_s_value(llama_cpp_source: Path) -> None:
    count = 0
    for body in re.findall(r"\benum\s+\w+\s*\{([^}]*)\}", plain(llama_cpp_source / LLAMA_H)):
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
    assert count > 100


def test_integer_macros(llama_cpp_source: Path) -> None:
    text = (llama_cpp_source / LLAMA_H).read_text(encoding="utf-8")
    found = re.findall(r"^#define\s+(LLAMA_\w+)\s+(-?(?:0x)?[0-9a-fA-F]+)u?\b", text, re.MULTILINE)
    assert {name for name, _ in found} >= {"LLAMA_DEFAULT_SEED", "LLAMA_TOKEN_NULL", "LLAMA_FILE_MAGIC_GGSN"}
    for name, value in found:
        assert getattr(lib, name) == int(value, 0), name
    assert lib.LLAMA_SESSION_MAGIC == lib.LLAMA_FILE_MAGIC_GGSN
    assert lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY == 1


def test_structs_are_complete(llama_cpp_source: Path) -> None:
    text = plain(llama_cpp_source / LLAMA_H)
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
    devices = json.loads(text(lib.lc_build_info()))["devices"]
    assert "CPU" in [device["name"] for device in devices]
    assert all(device["memory_free"] <= device["memory_total"] for device in devices)


def own_headers() -> str:
    return "\n".join(plain(NATIVE / f"{name}.h") for name in OWN_HEADERS)


def test_own_functions_are_bound() -> None:
    headers = own_headers()
    names = set(re.findall(r"\b(lc_\w+)\s*\([^)]*\)\s*;", headers))
    assert len(names) > 15
    assert names <= set(dir(lib))


def test_the_stub_knows_our_functions() -> None:
    root = Path(__file__).parents[2]
    stub = (root / "core" / "llamacpp_core" / "native" / "_native.pyi").read_text(encoding="utf-8")
    headers = own_headers()
    declared = {
        name: [part for part in arguments.split(",") if part.strip() not in ("", "void")]
        for name, arguments in re.findall(r"\b(lc_\w+)\s*\(([^)]*)\)\s*;", headers)
    }
    typed = {
        name: [part for part in arguments.split(",") if part.strip() not in ("", "self")]
        for name, arguments in re.findall(r"def (lc_\w+)\(([^)]*)\)", stub)
    }
    assert {name: len(arguments) for name, arguments in declared.items()}.items() <= {
        name: len(arguments) for name, arguments in typed.items()
    }.items()
