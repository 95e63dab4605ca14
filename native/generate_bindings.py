"""Writes ``_native.c``, the cffi binding of llama.cpp's C API and of our own headers.

Bound are all functions, types and integer constants of ``llama.h`` and of our own headers, the few functions
that are used of ``ggml.h``, and every type that these need. CMake runs this file at build time;
``c_headers.py`` reads the declarations, and ``exception_guards.py`` puts a guard around each of llama.cpp's
functions.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import cffi

from c_headers import (
    Compiler,
    Declarations,
    HeaderError,
    count_kinds,
    integer_constants,
    strip_comments,
    to_c,
)
from exception_guards import write_guards

HERE = Path(__file__).resolve().parent
MODULE = "llamacpp_core.native._native"

EVERYTHING = re.compile(".*")
HEADERS: dict[str, tuple[str, re.Pattern[str]]] = {
    "llama.h": ("include", EVERYTHING),
    "ggml.h": ("ggml/include", re.compile(r"ggml_type_name")),
}
OWN_HEADERS = (
    "error.h",
    "log_records.h",
    "lowlevel.h",
    "cores.h",
    "selftest.h",
    "engine.h",
    "plan.h",
    "parser.h",
    "slots.h",
    "adapters.h",
    "chooser.h",
)
# Where types may come from although none of their functions is bound.
TYPE_HEADERS = ("ggml-alloc.h", "ggml-backend.h", "ggml-cpu.h", "ggml-opt.h")

# The macro that marks a public function, for the check that none was missed.
API_MARKS = {"llama.h": "LLAMA_API"}


def declared_functions(header_text: str, mark: str) -> set[str]:
    """Names of the C functions that an API macro marks in a header's plain text (no `std::` ones)."""
    code = re.sub(r"^[ \t]*#[^\n]*$", "", strip_comments(header_text), flags=re.MULTILINE)
    code = re.sub(r"\b\w*DEPRECATED\s*\(", " ", code)
    return set(re.findall(rf"\b{mark}\b[^;(:]*?\b(\w+)\s*\(", code))


def main(argv: list[str] | None = None) -> int:
    """Generates the binding; returns the exit status."""
    options = _arguments().parse_args(argv)
    source: Path = options.llama_cpp
    paths = {(source / folder / name).resolve(): name for name, (folder, _) in HEADERS.items()}
    paths |= {(HERE / name).resolve(): name for name in OWN_HEADERS}
    paths |= {(source / "ggml/include" / name).resolve(): name for name in TYPE_HEADERS}
    bound = {name: pattern for name, (_, pattern) in HEADERS.items()} | dict.fromkeys(OWN_HEADERS, EVERYTHING)
    preamble = "#include <stdio.h>\n" + "".join(f'#include "{name}"\n' for name in bound)

    compiler = Compiler(options.compiler, options.msvc, tuple(options.include), tuple(options.define))
    try:
        declarations = Declarations.parse(compiler.preprocess(preamble), paths)
        nodes = declarations.select(bound)
        _check_complete(declarations, paths)
    except HeaderError as error:
        print(f"generate_bindings.py: {error}", file=sys.stderr)
        return 1
    constants = [
        name
        for path, header in paths.items()
        if header in bound and bound[header] is EVERYTHING
        for name in integer_constants(path.read_text(encoding="utf-8"))
    ]
    # our own functions catch what they throw
    foreign = [node for file, node in declarations.nodes if file not in OWN_HEADERS and node in nodes]
    n_guards = write_guards(foreign, [*HEADERS], options.output.parent)

    ffi = cffi.FFI()
    ffi.cdef(to_c(nodes))
    ffi.cdef("".join(f"#define {name} ...\n" for name in constants))
    ffi.cdef(strip_comments((HERE / "callbacks.h").read_text(encoding="utf-8")))
    ffi.set_source(MODULE, preamble + '#include "_guards.h"\n', py_limited_api=True)
    ffi.emit_c_code(str(options.output))
    _report(
        declarations, bound, {**count_kinds(nodes), "macro constants": len(constants), "guards": n_guards}
    )
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write the cffi binding of llama.cpp.")
    parser.add_argument("output", type=Path, help="the C file to write")
    parser.add_argument("--llama-cpp", type=Path, required=True, help="llama.cpp's source folder")
    parser.add_argument("--compiler", default="cc", help="the C compiler, for its preprocessor")
    parser.add_argument("--msvc", action="store_true", help="the compiler takes Microsoft's options")
    parser.add_argument("-I", dest="include", type=Path, action="append", default=[])
    parser.add_argument("-D", dest="define", action="append", default=[])
    return parser


def _check_complete(declarations: Declarations, paths: dict[Path, str]) -> None:
    for path, header in paths.items():
        if header not in API_MARKS:
            continue
        declared = declared_functions(path.read_text(encoding="utf-8"), API_MARKS[header])
        missing = sorted(declared - set(declarations.functions(header)))
        if missing or not declared:
            raise HeaderError(
                f"{header}: not every function was found; missing: {', '.join(missing) or 'all'}"
            )


def _report(declarations: Declarations, bound: dict[str, re.Pattern[str]], counts: dict[str, int]) -> None:
    per_header = []
    for header, pattern in bound.items():
        names = [name for name in declarations.functions(header) if pattern.fullmatch(name)]
        per_header.append(f"{header} {len(names)}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"-- {MODULE}: {kinds} (functions: {', '.join(per_header)})")


if __name__ == "__main__":
    sys.exit(main())
