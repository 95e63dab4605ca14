"""Reading headers, on small ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cffi
import pytest

COMPILER = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, as the build does")

HEADER = """
#include <stdint.h>
#include <stdbool.h>
#include "needed.h"
#define API __attribute__((visibility("default"))) extern
#define DEPRECATED(f, hint) f __attribute__((deprecated(hint)))
#define ANSWER 42
#define MASK   0xFFu // a mask
#define ALIAS  ANSWER
#define TEXT   "text"
#define WIDTH  (16)
#define CALL(x) (x)
enum color { RED, GREEN = 1 << 2, BLUE = GREEN + 1, };
struct pair { int32_t first; struct needed * second; uint8_t raw[WIDTH * 2]; char rest[64 / sizeof(int)]; };
typedef bool (*callback)(const struct pair * p, void * data);
API int32_t use(struct pair p, enum color c, callback cb);
DEPRECATED(API void old(void), "use the new one");
static inline int hidden(int x) { return x; }
"""
NEEDED = "struct needed { double value; };\nstruct unneeded { int x; };\nint unneeded_function(void);\n"


@pytest.fixture
def declarations(native_script: Callable[[str], ModuleType], tmp_path: Path) -> object:
    headers = native_script("c_headers")
    (tmp_path / "main.h").write_text(HEADER)
    (tmp_path / "needed.h").write_text(NEEDED)
    compiler = headers.Compiler(COMPILER, False, (tmp_path,))
    names = {(tmp_path / name).resolve(): name for name in ("main.h", "needed.h")}
    return headers.Declarations.parse(compiler.preprocess('#include "main.h"\n'), names)


def test_what_is_selected_and_what_it_needs(
    native_script: Callable[[str], ModuleType], declarations: object
) -> None:
    headers = native_script("c_headers")
    nodes = declarations.select({"main.h": re.compile(".*")})  # type: ignore[attr-defined]
    text = headers.to_c(nodes)
    assert "unneeded" not in text
    assert "hidden" not in text
    assert "__attribute__" not in text
    ffi = cffi.FFI()
    ffi.cdef(text)
    assert declarations.functions("main.h") == ["use", "old"]  # type: ignore[attr-defined]
    assert headers.count_kinds(nodes) == {"functions": 2, "structs": 2, "enums": 1, "enum constants": 3}
    assert ffi.typeof("enum color").relements == {"RED": 0, "GREEN": 4, "BLUE": 5}


def test_names_select(native_script: Callable[[str], ModuleType], declarations: object) -> None:
    text = native_script("c_headers").to_c(declarations.select({"main.h": re.compile("old")}))  # type: ignore[attr-defined]
    assert text.split() == ["void", "old(void);"]


def test_integer_macros(native_script: Callable[[str], ModuleType]) -> None:
    assert native_script("c_headers").integer_constants(HEADER) == ["ANSWER", "MASK", "ALIAS", "WIDTH"]


def test_broken_headers_are_errors(native_script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    headers = native_script("c_headers")
    compiler = headers.Compiler(COMPILER, False, (tmp_path,))
    with pytest.raises(headers.HeaderError, match="preprocessor failed"):
        compiler.preprocess('#include "no_such_header.h"\n')
    (tmp_path / "bad.h").write_text("this is not C\n")
    with pytest.raises(headers.HeaderError, match="cannot read"):
        headers.Declarations.parse(
            compiler.preprocess('#include "bad.h"\n'), {(tmp_path / "bad.h").resolve(): "bad.h"}
        )


def test_a_function_that_was_missed_stops_the_build(
    native_script: Callable[[str], ModuleType],
    declarations: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    headers = native_script("c_headers")
    native_script("exception_guards")
    generate = native_script("generate_bindings")
    monkeypatch.setattr(generate, "API_MARKS", {"main.h": "API"})
    path = tmp_path / "main.h"
    generate._check_complete(declarations, {path: "main.h"})
    path.write_text(HEADER + "API int new_one(void);\n")
    with pytest.raises(headers.HeaderError, match="missing: new_one"):
        generate._check_complete(declarations, {path: "main.h"})
